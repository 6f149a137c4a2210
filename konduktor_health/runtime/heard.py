"""What is a decoded fault once the stream has told the rest, and is a sighting news?

Also what else than a fault of its node a line may be.
"""

from __future__ import annotations

from konduktor_health.core.roots import ROOT
from konduktor_health.model import Fault, Sighting, Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.repairs import repair_of
from parsers.tables import Tables, concerns_node


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
        record.repeated if record.repeated > 1 else 1,
        fault.detail,
    )


def differ(one: Sighting, other: Sighting | None) -> bool:
    """In more than counts and times."""
    if other is None:
        return True
    ours, others = one.fault, other.fault
    if ours.severity is not others.severity or ours.remedy is not others.remedy:
        return True
    if one.places != other.places or ours.detail.get(ROOT) != others.detail.get(ROOT):
        return True
    if len(one.episodes) != len(other.episodes):
        return True
    return any(
        mine is not theirs and mine[1] != theirs[1]
        for mine, theirs in zip(one.episodes, other.episodes, strict=True)
    )


def is_marker(fault: Fault, read: Tables) -> bool:
    """A rule's line that opens no record, whoever wrote it."""
    rules = read.pod if fault.trust is Trust.POD else read.kernel
    rule = rules.rule(fault.fault_id)
    return rule is not None and not concerns_node(rule)


def is_only_a_fault(fault: Fault, read: Tables) -> bool:
    """It opens a record, and tells of no repair."""
    return not is_marker(fault, read) and repair_of(fault, read) is None
