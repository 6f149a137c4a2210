"""Is a line the one before it of its node once more? Then it only counts.

A program that fails in a loop, or a GPU that is broken, prints one line thousands of times, and
most lines that a controller ever hears are such. What they have in common is found out once.

Invariant: ``Run.counted`` makes of a sighting what ``core.roots.add_related`` makes of it, or says
None. It knows nothing of the ledger, nor of other faults: those are asked as for any line.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.core.fold import SightingKey, owner_of
from konduktor_health.core.record import EPISODE_GAP_NS, Ledger
from konduktor_health.model import Fault, Severity, Sighting, Trust
from konduktor_health.ports import LogEntry


@dataclass(slots=True)
class Run:
    """The newest line of a node, of a fault that is kept as it was heard."""

    decoded: Fault
    heard: Fault  # with what the stream tells
    key: SightingKey
    acting: bool
    kind: tuple[str, Severity, str]  # that it is counted as
    owner: str
    ledger: Ledger | None = None  # that has not counted the newest line

    def is_again(self, decoded: Fault, entry: LogEntry) -> bool:
        """The same line from the same place, whatever time it is."""
        before, heard, record = self.decoded, self.heard, entry.record
        return (
            (decoded is before or _alike(decoded, before))
            and record.boot_id == heard.boot_id
            and (record.uptime_us is None) is (heard.uptime_us is None)
            and entry.source == heard.source
            and entry.trust is heard.trust
            and not entry.pod
        )

    def counted(self, seen: Sighting | None, fault: Fault) -> Sighting | None:
        """The sighting with one more of these lines; None where that is more than to count it."""
        event_ns = fault.event_ns
        if seen is None or seen.fault is not self.heard or event_ns < seen.last_ns:
            return None
        newest_ns, owner, oldest_ns = seen.episodes[-1]
        if owner != self.owner or not 0 <= event_ns - newest_ns <= EPISODE_GAP_NS:
            return None
        episode = (event_ns, owner, oldest_ns)
        episodes = (*seen.episodes[:-1], episode) if len(seen.episodes) > 1 else (episode,)
        count = seen.count + fault.count
        return Sighting(fault, seen.first_ns, event_ns, count, seen.acting, episodes, seen.places)

    def is_newer(self, fault: Fault, ledger: Ledger) -> bool:
        """A ledger that has not counted a line has not counted one that is later than it, of a boot
        that both name."""
        before = self.heard
        if ledger is not self.ledger or fault.time_ns < before.time_ns or not fault.boot_id:
            return False
        return (
            fault.uptime_us is None
            or before.uptime_us is None
            or fault.uptime_us >= before.uptime_us
        )

    def goes_on(self, decoded: Fault, heard: Fault) -> None:
        """This is the newest line now."""
        self.decoded, self.heard = decoded, heard


def run_of(decoded: Fault, heard: Fault, key: SightingKey, acting: bool) -> Run | None:
    """The run that a line begins, if it may; None for what is dated by nothing, and for a pod's."""
    if heard.trust is Trust.POD or not heard.event_ns:
        return None
    kind = (heard.fault_id, heard.severity, heard.source)
    return Run(decoded, heard, key, acting, kind, owner_of(heard))


def _alike(one: Fault, other: Fault) -> bool:
    """All that a line itself says is the same."""
    return (
        one.text == other.text
        and one.fault_id == other.fault_id
        and one.device == other.device
        and one.severity is other.severity
        and one.remedy is other.remedy
        and one.injected is other.injected
        and one.detail == other.detail
    )
