"""What is a decoded fault once the stream has told the rest, and is a sighting news?"""

from __future__ import annotations

from konduktor_health.core.roots import ROOT
from konduktor_health.model import Fault, Sighting, Trust
from konduktor_health.ports import LogEntry


def heard_from(fault: Fault, name: str, entry: LogEntry, event_ns: int) -> Fault:
    """The decoded fault with what the stream tells. ``dataclasses.replace`` would take longer than
    to decode the line."""
    record = entry.record
    return Fault(
        fault.fault_id,
        fault.severity,
        fault.remedy,
        fault.device,
        name,
        entry.time_ns,
        event_ns,
        record.uptime_us,
        record.boot_id,
        entry.identity,
        fault.injected,
        entry.source,
        Trust.POD if entry.pod else entry.trust,
        fault.text,
        max(1, record.repeated),
        fault.detail,
    )


def differ(one: Sighting, other: Sighting | None) -> bool:
    """In more than counts and times."""
    if other is None:
        return True
    ours, others = one.fault, other.fault
    return (
        ours.severity is not others.severity
        or ours.remedy is not others.remedy
        or ours.detail.get(ROOT) != others.detail.get(ROOT)
        or [each[1] for each in one.episodes] != [each[1] for each in other.episodes]
        or one.places != other.places
    )
