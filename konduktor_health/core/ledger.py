"""Which faults are open on a node? The ledger: a node's records, kept in one annotation.

Invariants:
- ``parse(render(ledger)) == ledger`` as long as the ledger fits MAX_BYTES; beyond that texts
  are cut, then the least severe, latest opened records go and ``dropped`` says how many at least.
- The order of records, and what of them is shown, does not depend on repeats: a fault that
  repeats changes counts and times, nothing else.
- ``owned`` lists the taint effects that we put on the node. A taint with our key that is not
  listed is not ours to clear (docs/concepts/safety.md 5).
- Times are Unix nanoseconds of event time unless said otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from konduktor_health.model import Remedy, Severity, Sighting, Trust

VERSION = 1
MAX_BYTES = 16 * 1024  # docs/reference/keys.md
TEXT_LIMIT = 200
TEXT_LIMIT_CROWDED = 80  # of a ledger that would not fit otherwise
_TIMES = range(2**63)


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
    rebooted_ns: int = 0  # the last reboot that we know of happened after this
    noticed_ns: int = 0  # and before this

    def record(self, key: tuple[str, str]) -> Record | None:
        """The record of (device, fault_id), if open."""
        return next((record for record in self.records if record.key == key), None)

    def with_record(self, record: Record) -> Ledger:
        """This ledger with the record added or replaced; order is worst first, then oldest."""
        others = [other for other in self.records if other.key != record.key]
        ordered = sorted([*others, record], key=worst_first)
        return replace(self, records=tuple(ordered))


def worst_first(record: Record) -> tuple[bool, int, int, str, str]:
    """Sort key of records: acting first, then the worst, then the oldest."""
    return (
        not record.acting,
        record.severity.rank,
        record.first_ns,
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
    """A known record seen again. It keeps the worst severity and never stops acting by itself.

    What may not act adds nothing to a record that acts, neither severity nor time; and what
    acts replaces what was only visible. The text is that of the line that opened the record,
    or made it worse.
    """
    if record.acting is not newer.acting:
        return record if record.acting else newer
    worst = min(record, newer, key=lambda each: each.severity.rank)
    newest = newer if newer.last_ns >= record.last_ns else record
    same_boot = record.boot_id == newer.boot_id
    uptimes = [each.uptime_us for each in (record, newer) if each.uptime_us is not None]
    return replace(
        worst,
        first_ns=min(record.first_ns, newer.first_ns),
        last_ns=max(record.last_ns, newer.last_ns),
        log_ns=max(record.log_ns, newer.log_ns),
        count=record.count + newer.count,
        uptime_us=max(uptimes, default=None) if same_boot else newest.uptime_us,
        boot_id=newest.boot_id,
        identity=newest.identity,
        source=newest.source,
        injected=record.injected and newer.injected,
    )


def render(ledger: Ledger) -> str:
    """The annotation's text: compact JSON, at most MAX_BYTES."""
    return _dumps(_to_json(fitted(ledger)))


def fitted(ledger: Ledger) -> Ledger:
    """What of the ledger the annotation can hold: itself, if it fits."""
    head = len(_dumps(_to_json(replace(ledger, records=(), dropped=10**9))))
    for limit in (TEXT_LIMIT, TEXT_LIMIT_CROWDED):
        records = tuple(
            record if len(record.text) <= limit else replace(record, text=record.text[:limit])
            for record in ledger.records
        )
        sizes = [len(_dumps(_record_to_json(record))) + 1 for record in records]
        if head + sum(sizes) <= MAX_BYTES:
            return replace(ledger, records=records)
    fits = sum(1 for total in accumulate(sizes) if head + total <= MAX_BYTES)
    # Those left out before may be the ones that are seen again: the count is the least there are.
    dropped = max(ledger.dropped, len(records) - fits)
    return replace(ledger, records=records[:fits], dropped=dropped)


def parse(text: str) -> Ledger:
    """Read the annotation. Raises CorruptLedger for anything that is not version 1."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("v") != VERSION:
            raise CorruptLedger("not a ledger of version 1")
        return _from_json(data)
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise CorruptLedger(f"ledger: {str(error)[:120]}") from error
    except RecursionError as error:
        raise CorruptLedger("ledger: nested too deeply") from error


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))


def _number(value: Any) -> int:
    """A time or a count. Numbers that no clock shows would break arithmetic far from here."""
    number = int(value)
    if number not in _TIMES:
        raise ValueError("a number out of range")
    return number


def _to_json(ledger: Ledger) -> dict[str, Any]:
    data: dict[str, Any] = {
        "v": VERSION,
        "uid": ledger.uid,
        "boot": ledger.boot_id,
        "written": ledger.written_ns,
        "since": ledger.since_ns,
        "owned": list(ledger.owned),
        "records": [_record_to_json(record) for record in ledger.records],
    }
    for name, value in (
        ("tainted", ledger.tainted_ns),
        ("removed", ledger.removed_ns),
        ("dropped", ledger.dropped),
        ("rebooted", ledger.rebooted_ns),
        ("noticed", ledger.noticed_ns),
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
        written_ns=_number(data["written"]),
        since_ns=_number(data["since"]),
        owned=tuple(str(effect) for effect in data["owned"]),
        tainted_ns=_number(data.get("tainted", 0)),
        removed_ns=_number(data.get("removed", 0)),
        dropped=_number(data.get("dropped", 0)),
        rebooted_ns=_number(data.get("rebooted", 0)),
        noticed_ns=_number(data.get("noticed", 0)),
        records=tuple(_record_from_json(record) for record in data["records"]),
    )


def _record_from_json(data: Mapping[str, Any]) -> Record:
    visible_only = data.get("visible_only", False)
    return Record(
        device=str(data["device"]),
        fault_id=str(data["fault"]),
        severity=Severity(data["severity"]),
        remedy=Remedy(data["remedy"]),
        first_ns=_number(data["first"]),
        last_ns=_number(data["last"]),
        count=_number(data["count"]),
        log_ns=_number(data["log"]),
        uptime_us=_number(data["uptime"]) if "uptime" in data else None,
        boot_id=str(data["boot"]),
        identity=str(data["id"]),
        acting=not visible_only,
        why=visible_only if isinstance(visible_only, str) else "",
        injected=bool(data.get("injected", False)),
        trust=Trust(data["trust"]),
        source=str(data["source"]),
        text=str(data["text"])[:TEXT_LIMIT],
    )
