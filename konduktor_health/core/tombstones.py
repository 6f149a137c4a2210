"""What is remembered of a node that was deleted with open records, and for how long?

A machine does not get well by being deleted: when a Node with its system UUID is made again, the
core shows what was open (``Snapshot.tombstones``). Invariants: a UUID that cannot tell machines
apart is no name; of too many tombstones the worst and then the newest stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.model import HoldReason, NodeView, Severity, Tombstone, Trust
from konduktor_health.timestamps import NS
from parsers.printable import printable

KEPT_NS = 30 * 86_400 * NS
MOST = 1000
MAX_BYTES = 256 * 1024  # of all as JSON, about: a ConfigMap holds 1 MiB
MOST_FAULTS = 8  # of one node; worst first
NAME_LIMIT = 253
FAULT_LIMIT = 100
_HEX = re.compile(r"[0-9a-f]{32}\Z")
#: What boards report whose maker never set a UUID; the first two are one, read in either order.
_PLACEHOLDERS = frozenset({
    "03000200040005000006000700080009",
    "00020003000400050006000700080009",
    "123456781234567890abcddeefaabbcc",
})  # fmt: skip
#: A program's own trouble does not follow the machine.
_OF_THE_MACHINE = (Severity.FATAL, Severity.DEGRADED, Severity.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Grave:
    """A tombstone and how bad its worst record was (``Severity.rank``: 0 is the worst)."""

    stone: Tombstone
    rank: int


def machine_of(system_uuid: str) -> str:
    """The UUID as 32 hexadecimal digits; "" where it does not tell one machine from another:
    empty, all digits alike, or a placeholder of firmware."""
    digits = system_uuid.strip().lower().replace("-", "")
    if _HEX.match(digits) is None or len(set(digits)) < 3 or digits in _PLACEHOLDERS:
        return ""
    return digits


def grave_of(view: NodeView, now_ns: int) -> Grave | None:
    """What is to be remembered of a node that is gone; None: nothing was open, or nobody could
    tell that it came back."""
    ledger, _ = read_ledger(view)
    records = [
        record
        for record in ledger.records
        if record.severity in _OF_THE_MACHINE and record.trust is not Trust.POD
    ]
    if not machine_of(view.system_uuid) or not records:
        return None
    faults = tuple(
        printable(f"{record.fault_id}|{record.device}", FAULT_LIMIT)
        for record in records[:MOST_FAULTS]
    )
    rank = min(record.severity.rank for record in records)
    return Grave(Tombstone(view.name, view.uid, now_ns, faults), rank)


def is_settled(stone: Tombstone, view: NodeView) -> bool:
    """The Node that came back shows what was open, or an operator has reset it; or it never was
    another Node."""
    if view.uid == stone.uid:
        return True
    reset = parse_reset_at(view.reset_at)
    if reset is not None and reset.time_ns >= stone.deleted_ns:
        return True
    ledger, corrupt = read_ledger(view)
    return not corrupt and _shows(ledger, stone)


def _shows(ledger: Ledger, stone: Tombstone) -> bool:
    return any(
        record.why == HoldReason.RETURNED.value
        or f"{record.fault_id}|{record.device}" in stone.faults
        for record in ledger.records
    )


def kept(graves: Mapping[str, Grave], now_ns: int) -> dict[str, Grave]:
    """Those of the last 30 days, at most MOST and MAX_BYTES: the worst, then the newest."""
    recent = [each for each in graves.items() if now_ns - each[1].stone.deleted_ns < KEPT_NS]
    recent.sort(key=lambda each: (each[1].rank, -each[1].stone.deleted_ns, each[0]))
    sizes = accumulate(_size(grave) for _, grave in recent)
    fits = sum(1 for size in sizes if size <= MAX_BYTES)
    return dict(recent[: min(MOST, fits)])


def _size(grave: Grave) -> int:
    texts = (grave.stone.node, grave.stone.uid, *grave.stone.faults)
    return 70 + sum(len(json.dumps(text)) + 1 for text in texts)


def to_json(graves: Mapping[str, Grave]) -> dict[str, list[Any]]:
    """By system UUID: [node, Node UID, deleted (Unix s), rank, fault ids with devices]."""
    return {
        machine: [
            grave.stone.node,
            grave.stone.uid,
            grave.stone.deleted_ns // NS,
            grave.rank,
            list(grave.stone.faults),
        ]
        for machine, grave in sorted(graves.items())
    }


def from_json(data: Any) -> dict[str, Grave]:
    """What ``to_json`` made; a damaged entry costs itself alone."""
    if not isinstance(data, Mapping):
        return {}
    read = ((str(machine), _grave(entry)) for machine, entry in list(data.items())[: 2 * MOST])
    return {machine: grave for machine, grave in read if grave and machine_of(machine)}


def _grave(entry: Any) -> Grave | None:
    try:
        node, uid, deleted_s, rank, faults = entry
        if type(deleted_s) is not int or type(rank) is not int or not isinstance(faults, list):
            return None
        if not 0 <= deleted_s < 2**63 // NS or not 0 <= rank < len(Severity):
            return None
        told = tuple(_texts(faults[:MOST_FAULTS], FAULT_LIMIT))
        name, known = _texts([node, uid], NAME_LIMIT)
        return Grave(Tombstone(name, known, deleted_s * NS, told), rank)
    except (TypeError, ValueError):
        return None


def _texts(values: Iterable[Any], limit: int) -> list[str]:
    return [printable(value, limit) for value in values if isinstance(value, str)]
