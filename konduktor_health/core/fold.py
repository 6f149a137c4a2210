"""How do many faults become few sightings, and a record counts each line once?

Folding bounds memory: however many lines a node logs, it has one Sighting per (device, fault id)
and kind of evidence. Evidence of different kinds never mixes: a pod's line must neither hide a
kernel line nor lend it a severity. Counting once has two parts: the reader hands each identity
out once in a process, and ``already_counted`` compares with the ledger after a restart.
"""

from __future__ import annotations

from konduktor_health.core.record import (
    EPISODE_GAP_NS,
    Episode,
    Ledger,
    Past,
    Record,
    joined,
    united,
)
from konduktor_health.frozen import replace
from konduktor_health.model import Fault, HoldReason, Sighting, Trust
from konduktor_health.timestamps import NS
from parsers.places import place_of

#: Most sightings kept for one node between two decisions.
MAX_SIGHTINGS = 256
#: The same record has log times that differ by so much when two shippers deliver it.
SHIPPER_SKEW_NS = 30 * NS

_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}

OWNER_LIMIT = 32

#: (device, fault id) and what kind of evidence it is; the source last.
SightingKey = tuple[str, str, Trust, bool, bool, str, bool, str]


def key_of(fault: Fault, acting: bool) -> SightingKey:
    """What a sighting is kept by. Lines are judged by the newest of their sighting, so all that
    a judgement rests on is part of it."""
    stamped = fault.uptime_us is not None
    return (
        fault.device,
        fault.fault_id,
        fault.trust,
        fault.injected,
        acting,
        fault.boot_id,
        stamped,
        fault.source,
    )


def already_counted(ledger: Ledger, fault: Fault, node_boot_id: str) -> bool:
    """True when the record of this fault has counted this line before.

    With a kernel uptime: within one boot uptimes only grow, so one that is not above the
    record's is a replay (a second shipper, a re-read ring). Without: the log timestamp. Stronger
    evidence than the record's is never a replay of it.
    """
    key = fault.key
    record = ledger.record(key)
    past = ledger.past(key) if ledger.history else None
    if record is not None and _was_denied(record) and fault.trust is Trust.ATTESTED:
        return False  # the agent has confirmed it meanwhile
    if past is not None and _covers(past, fault, node_boot_id):
        return True
    if record is None:
        return False
    if fault.identity and fault.identity == record.identity:
        return True
    if not record.acting and _outranks(fault, record):
        return False
    return _replays(record, fault, node_boot_id)


def _covers(past: Past, fault: Fault, node_boot_id: str) -> bool:
    """The line was counted before its record was cleared. Sources are not kept in the history:
    any may be another shipper."""
    if fault.identity and fault.identity == past.identity:
        return True
    if past.shown and fault.trust is not Trust.POD and not fault.injected:
        return False  # it may act, where what was shown could not
    if fault.uptime_us is not None and past.uptime_us is not None:
        boot_id = fault.boot_id or node_boot_id
        return boot_id == past.boot_id and fault.uptime_us <= past.uptime_us
    return fault.time_ns <= past.log_ns + SHIPPER_SKEW_NS


def _replays(record: Record, fault: Fault, node_boot_id: str) -> bool:
    if fault.uptime_us is not None and record.uptime_us is not None:
        boot_id = fault.boot_id or node_boot_id
        return boot_id == record.boot_id and fault.uptime_us <= record.uptime_us
    skew_ns = 0 if fault.source == record.source else SHIPPER_SKEW_NS
    return fault.time_ns <= record.log_ns + skew_ns


def add(
    sightings: dict[SightingKey, Sighting],
    fault: Fault,
    acting: bool,
    key: SightingKey | None = None,
) -> None:
    """Fold one more fault into a node's sightings, in place. ``key``: its own, if known.

    Beyond MAX_SIGHTINGS the weakest, least severe, oldest sighting goes.
    """
    key = key or key_of(fault, acting)
    known = sightings.get(key)
    event_ns = fault.event_ns or fault.time_ns
    episode, place = (event_ns, owner_of(fault), event_ns), place_of(fault)
    if known is None:
        sightings[key] = Sighting(
            fault, event_ns, event_ns, fault.count, acting, (episode,), (place,)
        )
        if len(sightings) > MAX_SIGHTINGS:
            del sightings[max(sightings, key=lambda each: _unimportance(sightings[each]))]
        return
    later = event_ns >= known.last_ns
    newest = fault if later else known.fault
    other = known.fault
    if fault.severity is not other.severity or fault.remedy is not other.remedy:
        worst = min(fault, other, key=lambda each: each.severity.rank)
        if worst is not newest:
            newest = replace(newest, severity=worst.severity, remedy=worst.remedy)
    sightings[key] = Sighting(
        newest,
        known.first_ns if known.first_ns <= event_ns else event_ns,
        event_ns if later else known.last_ns,
        known.count + fault.count,
        acting,
        _with_episode(known.episodes, episode),
        known.places if place in known.places else united(known.places, (place,)),
    )


def owner_of(fault: Fault) -> str:
    """What a repeat is counted by: the program that was hit, or its pid where no name is told. Each
    boot is its own."""
    detail = fault.detail
    return (detail.get("process") or detail.get("pid") or detail.get("boot") or "")[:OWNER_LIMIT]


def _with_episode(known: tuple[Episode, ...], newer: Episode) -> tuple[Episode, ...]:
    """The usual case first: one more line of the newest episode."""
    time_ns, owner, oldest_ns = known[-1]
    if owner == newer[1] and 0 <= newer[0] - time_ns <= EPISODE_GAP_NS:
        return (*known[:-1], (newer[0], owner, oldest_ns))
    return joined(known, (newer,))


def _was_denied(record: Record) -> bool:
    return not record.acting and record.why == HoldReason.UNCORROBORATED.value


def _outranks(fault: Fault, record: Record) -> bool:
    """Could this line be proof where the record's was not?"""
    if _was_denied(record) and fault.trust is not Trust.POD:
        return True  # whatever stamp a forged line had, the kernel's own may have a smaller one
    if fault.trust is not Trust.POD and record.trust is Trust.POD:
        return True
    if record.injected and not fault.injected:
        return True
    dated = fault.uptime_us is not None or bool(fault.boot_id)
    return dated and record.why == HoldReason.NO_IDENTITY.value


def _unimportance(sighting: Sighting) -> tuple[bool, int, int, int]:
    fault = sighting.fault
    return (
        not sighting.acting,
        _TRUST_RANK[fault.trust],
        fault.severity.rank,
        -sighting.last_ns,
    )
