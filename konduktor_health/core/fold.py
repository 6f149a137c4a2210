"""How do many faults become few sightings, and a record counts each line once?

Folding bounds memory: however many lines a node logs, it has one Sighting per
(device, fault id). Counting once has two parts: the reader hands each identity out once in a
process, and ``already_counted`` compares with the ledger after a restart.
"""

from __future__ import annotations

from dataclasses import replace

from konduktor_health.core.ledger import Ledger
from konduktor_health.model import Fault, Sighting

#: Most (device, fault id) pairs kept for one node between two decisions.
MAX_SIGHTINGS = 256


def already_counted(ledger: Ledger, fault: Fault, node_boot_id: str) -> bool:
    """True when the record of this fault has counted this line before.

    With a kernel uptime: within one boot uptimes only grow, so one that is not above the
    record's is a replay (a second shipper, a re-read ring). Without: the log timestamp.
    """
    record = ledger.record(fault.key)
    if record is None:
        return False
    if fault.identity and fault.identity == record.identity:
        return True
    if fault.uptime_us is not None and record.uptime_us is not None:
        boot_id = fault.boot_id or node_boot_id
        return boot_id == record.boot_id and fault.uptime_us <= record.uptime_us
    return fault.time_ns <= record.log_ns


def add(sightings: dict[tuple[str, str], Sighting], fault: Fault, acting: bool) -> None:
    """Fold one more fault into a node's sightings, in place.

    Beyond MAX_SIGHTINGS the least severe, oldest sighting goes.
    """
    known = sightings.get(fault.key)
    event_ns = fault.event_ns or fault.time_ns
    if known is None:
        sightings[fault.key] = Sighting(fault, event_ns, event_ns, fault.count, acting)
        if len(sightings) > MAX_SIGHTINGS:
            del sightings[max(sightings, key=lambda key: _unimportance(sightings[key]))]
        return
    newest = fault if event_ns >= known.last_ns else known.fault
    worst = min(fault, known.fault, key=lambda each: each.severity.rank)
    if worst is not newest:
        newest = replace(newest, severity=worst.severity, remedy=worst.remedy)
    sightings[fault.key] = Sighting(
        fault=newest,
        first_ns=min(known.first_ns, event_ns),
        last_ns=max(known.last_ns, event_ns),
        count=known.count + fault.count,
        acting=known.acting or acting,
    )


def _unimportance(sighting: Sighting) -> tuple[int, int]:
    return (sighting.fault.severity.rank, -sighting.last_ns)
