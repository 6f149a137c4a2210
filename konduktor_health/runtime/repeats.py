"""Up to when do lines of a chain only count? For who plays a past and knows what comes next.

What ``Observer.take`` does with a line that only counts (``again.Runs``) is done here for many of
them at once. They are to be a chain: one node, one text, one boot by the same start, none before
the one before it, and none more than ``EPISODE_GAP_NS`` after it (``replay.passage``). Where the
first of them is taken by the node's run, so is each that is within the run's bounds, as long as
nothing else is heard of the node and its Node stays as it is.

Invariant: what is kept is what ``take`` would have kept line by line (property-tested).
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.clock import Clock
from konduktor_health.model import NodeView
from konduktor_health.ports import LogEntry, NodeFeed
from konduktor_health.runtime.again import Runs
from konduktor_health.runtime.boots import BootTimes
from konduktor_health.runtime.decoders import Decoders
from konduktor_health.runtime.fault_counts import FaultCounts


@dataclass(frozen=True, slots=True)
class Repeats:
    """The parts of an Observer that a line which only counts concerns."""

    feed: NodeFeed
    boots: BootTimes
    decoders: Decoders
    runs: Runs
    faults: FaultCounts
    clock: Clock

    def until_ns(self, entry: LogEntry) -> int | None:
        """Log time (Unix ns) up to which lines of the chain that goes on with this one only count;
        None: this one may do more. Changes nothing."""
        view, boot_id = self._home(entry), entry.record.boot_id
        uptime_us = entry.record.uptime_us
        if view is None or uptime_us is None or not boot_id:
            return None
        decoded = self.decoders.faults(entry.source, entry, view.name)
        event_ns = self.boots.event_ns(view.name, boot_id, entry)
        until = self.runs.until(decoded, entry, event_ns, view)
        if until is None:
            return None
        event_until_ns, uptime_until_us = until
        later_ns = entry.time_ns - event_ns  # the same for all of them: one start
        return min(event_until_ns + later_ns, entry.time_ns + (uptime_until_us - uptime_us) * 1000)

    def count(self, first: LogEntry, last: LogEntry, lines: int, count: int) -> None:
        """Count so many lines within ``until_ns``, which stand for ``count``. It is the time now at
        which the last of them is heard."""
        view, boot_id = self._home(last), last.record.boot_id
        if view is None:
            raise LookupError(f"bug: no Node {last.node_name}")
        name = view.name
        self.boots.note(name, boot_id, last)
        first_ns = self.boots.event_ns(name, boot_id, first)
        last_ns = self.boots.event_ns(name, boot_id, last)
        now_ns = self.clock.now_ns()
        heard = self.runs.count_all(name, last, (first_ns, last_ns), lines, count, now_ns)
        self.faults.add(heard, count)

    def _home(self, entry: LogEntry) -> NodeView | None:
        name = self.feed.resolve(entry.node_name) if entry.node_name else None
        return self.feed.nodes().get(name) if name else None
