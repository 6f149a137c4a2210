"""Which faults are open on a node? The ledger: a node's records, kept in one annotation.

Invariants:
- ``parse(render(ledger)) == ledger`` as long as the ledger fits MAX_BYTES; beyond that the
  least severe, oldest records go first and ``dropped`` counts them.
- ``owned`` lists the taint effects that we put on the node. A taint with our key that is not
  listed is not ours to clear (DESIGN 5).
- Times are Unix nanoseconds of event time unless said otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from konduktor_health.model import Remedy, Severity, Sighting, Trust

VERSION = 1
MAX_BYTES = 16 * 1024  # DESIGN, "Keys on the cluster"
TEXT_LIMIT = 200


class CorruptLedger(ValueError):
    """The annotation is not a ledger that this version can read."""


@dataclass(frozen=True, slots=True)
class Record:
    """An open fault on (node, device, fault_id)."""

    device: str
    fault_id: str
    severity: Severity
    remedy: Remedy
    first_ns: int
    last_ns: int
    count: int
    log_ns: int = 0  # log timestamp of the last counted line
    uptime_us: int | None = None  # highest kernel uptime counted in ``boot_id``
    boot_id: str = ""
    identity: str = ""  # of the last counted line
    acting: bool = True  # False: visible, never the reason of a taint
    why: str = ""  # why it does not act
    injected: bool = False
    trust: Trust = Trust.KERNEL
    source: str = ""
    text: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """(device, fault_id): unique within a ledger."""
        return (self.device, self.fault_id)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A node's records and what we did about them."""

    uid: str = ""  # Node UID it was written for
    boot_id: str = ""  # the node's boot id when it was written
    written_ns: int = 0
    since_ns: int = 0  # last change of what is done about the node; names its Events
    owned: tuple[str, ...] = ()  # effects of our key that we put there
    tainted_ns: int = 0  # when we tainted; feeds the rate limit after a restart
    removed_ns: int = 0  # when we found that somebody had removed our taint
    records: tuple[Record, ...] = ()
    dropped: int = 0  # records left out for size

    def record(self, key: tuple[str, str]) -> Record | None:
        """The record of (device, fault_id), if open."""
        return next((record for record in self.records if record.key == key), None)

    def with_record(self, record: Record) -> Ledger:
        """This ledger with the record added or replaced; order is worst first, then newest."""
        others = [other for other in self.records if other.key != record.key]
        ordered = sorted([*others, record], key=_order)
        return replace(self, records=tuple(ordered))


def _order(record: Record) -> tuple[bool, int, int, str, str]:
    return (
        not record.acting,
        record.severity.rank,
        -record.last_ns,
        record.device,
        record.fault_id,
    )


def open_record(sighting: Sighting, boot_id: str, acting: bool, why: str) -> Record:
    """A new record. ``boot_id`` is the node's, for lines that carry none."""
    fault = sighting.fault
    return Record(
        device=fault.device,
        fault_id=fault.fault_id,
        severity=fault.severity,
        remedy=fault.remedy,
        first_ns=sighting.first_ns,
        last_ns=sighting.last_ns,
        count=sighting.count,
        log_ns=fault.time_ns,
        uptime_us=fault.uptime_us,
        boot_id=fault.boot_id or boot_id,
        identity=fault.identity,
        acting=acting,
        why=why,
        injected=fault.injected,
        trust=fault.trust,
        source=fault.source,
        text=fault.text[:TEXT_LIMIT],
    )


def merge(record: Record, newer: Record) -> Record:
    """A known record seen again. It keeps the worst severity and never stops acting by itself."""
    worst = min(record, newer, key=lambda each: each.severity.rank)
    if newer.acting and not record.acting:
        worst = newer  # what was only visible has now been proven
    same_boot = record.boot_id == newer.boot_id
    uptimes = [
        u for u in (record.uptime_us if same_boot else None, newer.uptime_us) if u is not None
    ]
    newest = newer if newer.last_ns >= record.last_ns else record
    return replace(
        newest,
        severity=worst.severity,
        remedy=worst.remedy,
        acting=record.acting or newer.acting,
        why="" if record.acting or newer.acting else newer.why,
        first_ns=min(record.first_ns, newer.first_ns),
        last_ns=max(record.last_ns, newer.last_ns),
        log_ns=max(record.log_ns, newer.log_ns),
        count=record.count + newer.count,
        uptime_us=max(uptimes) if uptimes else None,
    )


def render(ledger: Ledger) -> str:
    """The annotation's text: compact JSON, at most MAX_BYTES."""
    records = list(ledger.records)
    dropped = ledger.dropped
    while True:
        text = json.dumps(_to_json(ledger, records, dropped), separators=(",", ":"))
        if len(text) <= MAX_BYTES or not records:
            return text
        records.pop()  # ordered worst first: the last one matters least
        dropped += 1


def parse(text: str) -> Ledger:
    """Read the annotation. Raises CorruptLedger for anything that is not version 1."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("v") != VERSION:
            raise CorruptLedger("not a ledger of version 1")
        return _from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptLedger(f"ledger: {str(error)[:120]}") from error


def _to_json(ledger: Ledger, records: list[Record], dropped: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "v": VERSION,
        "uid": ledger.uid,
        "boot": ledger.boot_id,
        "written": ledger.written_ns,
        "since": ledger.since_ns,
        "owned": list(ledger.owned),
        "records": [_record_to_json(record) for record in records],
    }
    for name, value in (
        ("tainted", ledger.tainted_ns),
        ("removed", ledger.removed_ns),
        ("dropped", dropped),
    ):
        if value:
            data[name] = value
    return data


def _record_to_json(record: Record) -> dict[str, Any]:
    data: dict[str, Any] = {
        "device": record.device,
        "fault": record.fault_id,
        "severity": record.severity.value,
        "remedy": record.remedy.value,
        "first": record.first_ns,
        "last": record.last_ns,
        "count": record.count,
        "log": record.log_ns,
        "boot": record.boot_id,
        "id": record.identity,
        "trust": record.trust.value,
        "source": record.source,
        "text": record.text,
    }
    if record.uptime_us is not None:
        data["uptime"] = record.uptime_us
    if not record.acting:
        data["visible_only"] = record.why or True
    if record.injected:
        data["injected"] = True
    return data


def _from_json(data: Mapping[str, Any]) -> Ledger:
    return Ledger(
        uid=str(data["uid"]),
        boot_id=str(data["boot"]),
        written_ns=int(data["written"]),
        since_ns=int(data["since"]),
        owned=tuple(str(effect) for effect in data["owned"]),
        tainted_ns=int(data.get("tainted", 0)),
        removed_ns=int(data.get("removed", 0)),
        dropped=int(data.get("dropped", 0)),
        records=tuple(_record_from_json(record) for record in data["records"]),
    )


def _record_from_json(data: Mapping[str, Any]) -> Record:
    visible_only = data.get("visible_only", False)
    return Record(
        device=str(data["device"]),
        fault_id=str(data["fault"]),
        severity=Severity(data["severity"]),
        remedy=Remedy(data["remedy"]),
        first_ns=int(data["first"]),
        last_ns=int(data["last"]),
        count=int(data["count"]),
        log_ns=int(data["log"]),
        uptime_us=int(data["uptime"]) if "uptime" in data else None,
        boot_id=str(data["boot"]),
        identity=str(data["id"]),
        acting=not visible_only,
        why=visible_only if isinstance(visible_only, str) else "",
        injected=bool(data.get("injected", False)),
        trust=Trust(data["trust"]),
        source=str(data["source"]),
        text=str(data["text"])[:TEXT_LIMIT],
    )
