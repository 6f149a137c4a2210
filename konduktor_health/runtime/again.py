"""Does a line only count? A program that fails in a loop, or a GPU that is broken, prints one line
thousands of times, and most lines that a controller ever hears are such.

Of a line like the one before it of its node nothing is new but that it is one more, and when. Such
lines are only counted, and made one step of what is kept when somebody asks, or something else is
heard of the node (``Observer._catch_up``). That comes to what is kept when each line is taken by
itself (property-tested): ``Run.takes`` says no wherever a line may do more than count.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.core.fold import SightingKey
from konduktor_health.core.record import EPISODE_GAP_NS
from konduktor_health.model import Fault, NodeView, Severity, Sighting
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.heard import heard_from


@dataclass(slots=True)
class Run:
    """A line that a node goes on printing: a fault, and nothing else, that is kept as it was heard
    and was not counted by the node's ledger."""

    view: NodeView
    decoded: Fault
    heard: Fault  # the newest of ``seen``
    key: SightingKey
    seen: Sighting  # as it stands among what is kept
    # up to this event time (Unix ns) and uptime its relations need not look at each line
    until_ns: int
    until_us: int | None
    entry: LogEntry  # the newest line
    event_ns: int  # of the newest line
    lines: int = 0  # that are not in ``seen`` yet,
    count: int = 0  # and what they count

    @property
    def kind(self) -> tuple[str, Severity, str]:
        """What it is counted as."""
        return (self.heard.fault_id, self.heard.severity, self.heard.source)

    def takes(
        self,
        decoded: Fault,
        entry: LogEntry,
        event_ns: int,
        view: NodeView,
        seen: Sighting | None,
    ) -> bool:
        """The line is the one before it once more, neither earlier nor much later, on a Node that
        is as it was (so is its ledger), and what it was folded into is still kept."""
        before, record = self.entry, entry.record
        uptime_us, before_us = record.uptime_us, before.record.uptime_us
        if uptime_us is None or before_us is None or self.until_us is None:
            in_order = uptime_us is before_us is self.until_us
        else:
            in_order = before_us <= uptime_us <= self.until_us
        return (
            in_order
            and view is self.view
            and seen is self.seen
            and self.event_ns <= event_ns <= self.until_ns
            and event_ns - self.event_ns <= EPISODE_GAP_NS
            and entry.time_ns >= before.time_ns
            and record.boot_id == before.record.boot_id
            and entry.source == before.source
            and entry.trust is before.trust
            and not entry.pod
            and (decoded is self.decoded or _alike(decoded, self.decoded))
        )

    def take(self, entry: LogEntry, event_ns: int) -> int:
        """Count the line. Returns for how many it stands."""
        repeated = entry.record.repeated
        count = repeated if repeated > 1 else 1
        self.entry, self.event_ns = entry, event_ns
        self.lines += 1
        self.count += count
        return count

    def catch_up(self) -> tuple[Fault, int]:
        """Fold the lines since into the sighting. Returns the newest, and how many there were."""
        fault = heard_from(self.decoded, self.view.name, self.entry, self.event_ns)
        seen, lines = self.seen, self.lines
        _, owner, oldest_ns = seen.episodes[-1]
        self.seen = Sighting(
            fault,
            seen.first_ns,
            self.event_ns,
            seen.count + self.count,
            seen.acting,
            (*seen.episodes[:-1], (self.event_ns, owner, oldest_ns)),
            seen.places,
        )
        self.heard = fault
        self.lines = self.count = 0
        return fault, lines


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
