"""Since when has each node been heard without a silence, and which nodes are not heard at all?

A node is heard by the lines and heartbeats that are read, and by the roll call (``roll_call``), in
each source apart. Invariants:
- Never more is claimed than is known: an observation begins at the latest time that it may have
  begun, ends ``unobserved_after_s`` after the earliest time that the node may have been heard last,
  and begins anew at the end of each gap of its source. While a source is not read, or its cursor is
  behind, nothing that ships through it is observed.
- A wall clock that is set, forward or back, proves no quiet: every observation begins anew then.
- A source that cannot be read makes no node silent; nor does one of which nobody is heard.
- An outage makes no node due: what was decided about a node while it was not observed is decided
  again once it is, and nothing else.
- All but ``look`` is a dictionary's work; ``look`` goes over the nodes, about once a minute.

All but ``deliver`` is called on the loop's thread.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.observation import Unobserved, unobserved_nodes
from konduktor_health.model import NodeView, Policy, Verdict
from konduktor_health.ports import Attendance, NodeFeed, SourceStatus
from konduktor_health.runtime.checkpoint import short_hash
from konduktor_health.timestamps import NS

LOOK_S = 60.0
FLIP_S = 5.0  # where a source is read again, or no longer, and where a roll was called
LATE_NS = 120 * NS  # a cursor further behind is catching up
STALE_S = 180.0  # without a word of a source's thread for so long, nothing is known of it
MOST_STORED = 1000
#: A wall clock that moves so much more or less than the monotonic one was set, and did not drift.
SET_S = 10.0


@dataclass(slots=True)
class _Ear:
    """One node in one source. Unix ns of log time."""

    log_ns: int  # it was heard at that time or later
    from_ns: int  # and since that time without a silence


@dataclass(slots=True)
class _Source:
    ears: dict[str, _Ear] = field(default_factory=dict)
    whole_ns: int = 0  # end of its newest gap
    reads: bool = False
    good_until_s: float = -math.inf  # its last status says nothing after that (monotonic)
    counted_ns: int | None = None  # end of its last roll call


class Observation:
    """Keeps who was heard. A part of the checkpoint (``Part``)."""

    def __init__(
        self,
        feed: NodeFeed,
        *,
        clock: Clock,
        policy: Policy,
        counted: Collection[str] = (),
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``counted``: names of the sources that have a roll call."""
        self._feed = feed
        self._clock = clock
        self._policy = policy
        self._counted = counted
        self._wake = wake
        self._sources: dict[str, _Source] = {}
        self._answers: deque[Attendance] = deque()
        self._began_ns: int | None = None  # when the log was first read
        self._look_s = -math.inf
        self._found = Unobserved()
        self._blind: set[str] = set()  # with a ledger, and decided about without being observed
        self._stored: dict[str, tuple[str, int]] = {}
        self._published: frozenset[str] = frozenset()
        self._flipped = False  # a source is read again, or no longer
        self._anew_ns = 0  # when the wall clock was set last: no observation began before
        self._offset_ns = self._wall_offset_ns()
        self.observed_nodes = 0

    @property
    def silent_nodes(self) -> int:
        """How many managed nodes are not heard, whatever the reason."""
        return len(self._found.silent)

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on."""
        self._policy = policy

    def deliver(self, answer: Attendance) -> None:
        """Take an answer of the roll call. From any thread."""
        self._answers.append(answer)
        self._wake()

    def heard(self, source: str, name: str, log_ns: int) -> None:
        """A line or heartbeat of a managed node was read."""
        self._hear(source, name, log_ns, log_ns, self._clock.now_ns())

    def read(self, status: SourceStatus) -> None:
        """A source was polled, or could not be."""
        if not status.name:
            return
        source = self._sources.setdefault(status.name, _Source())
        behind_ns = self._clock.now_ns() - status.cursor_ns
        reads = status.ok and behind_ns < LATE_NS + 3 * int(status.poll_interval_s * NS)
        self._flipped = self._flipped or reads is not source.reads
        source.reads = reads
        source.good_until_s = self._clock.monotonic() + STALE_S + 2 * status.poll_interval_s
        source.whole_ns = max([source.whole_ns, *(gap.end_ns for gap in status.gaps)])

    def for_decision(self, views: Mapping[str, NodeView]) -> dict[str, int]:
        """As ``observed_from``, for nodes that are decided about now: those that are not observed
        are due once they are."""
        found = self.observed_from(views)
        for name, view in views.items():
            if view.ledger is not None and name not in found:
                self._blind.add(name)
            else:
                self._blind.discard(name)
        return found

    def observed_from(self, names: Iterable[str]) -> dict[str, int]:
        """Since when these nodes have been observed, Unix ns; those that are not are left out."""
        self._follow_clock()
        now_ns = self._clock.now_ns()
        found = ((name, self._from(name, now_ns)) for name in names)
        return {name: since_ns for name, since_ns in found if since_ns is not None}

    def unobserved(self, views: Iterable[NodeView]) -> frozenset[str]:
        """Those of these nodes that are told to be silent. A node that was told so before a
        restart stays so while others have time to be heard."""
        now_ns = self._clock.now_ns()
        return frozenset(
            view.name
            for view in views
            if (_told(view) if self._look_s == -math.inf else view.name in self._published)
            and not self._is_heard(view.name, now_ns)
        )

    def look(self) -> set[str]:
        """Go over all nodes if it is time to; returns those with something new to decide: they
        begin or cease to be silent, or are observed and were not when they were decided about."""
        self._follow_clock()
        now_s = self._clock.monotonic()
        if self._began_ns is None:
            self._began_ns = self._clock.now_ns()
        pause_s = FLIP_S if self._answers or self._flipped else LOOK_S
        if now_s - self._look_s < pause_s:
            return set()
        while self._answers:
            self._take(self._answers.popleft())
        if not self._sources:
            return set()
        self._look_s, self._flipped = now_s, False
        return self._go_over(self._feed.nodes(), self._clock.now_ns())

    def _go_over(self, nodes: Mapping[str, NodeView], now_ns: int) -> set[str]:
        for source in self._sources.values():
            for name in source.ears.keys() - nodes.keys():
                del source.ears[name]
            for ear in source.ears.values():  # the clock may have been set back
                ear.log_ns, ear.from_ns = min(ear.log_ns, now_ns), min(ear.from_ns, now_ns)
        observed = self.observed_from(nodes)
        found = unobserved_nodes(
            nodes.values(),
            {view.name: self._silent_since(view) for view in nodes.values()},
            self._policy,
            now_ns,
            excused=self._excused(nodes, now_ns),
        )
        published = found.shown | self._still_told(nodes, now_ns)
        self._say(self._found, found, len(nodes))
        due = (self._blind & observed.keys()) | (published ^ self._published)
        self._found, self._published = found, published
        self._blind &= nodes.keys()
        self.observed_nodes = len(observed)
        return due & nodes.keys()

    def _still_told(self, nodes: Mapping[str, NodeView], now_ns: int) -> frozenset[str]:
        """Nodes that another controller told to be silent, until they would be again."""
        if now_ns - (self._began_ns or now_ns) >= self._after_ns():
            return frozenset()
        return frozenset(
            view.name
            for view in nodes.values()
            if _told(view) and not self._is_heard(view.name, now_ns)
        )

    def _wall_offset_ns(self) -> int:
        return self._clock.now_ns() - int(self._clock.monotonic() * NS)

    def _follow_clock(self) -> None:
        """Where the wall clock was set, what was heard keeps its age, and no window goes on."""
        offset_ns = self._wall_offset_ns()
        set_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(set_ns) < SET_S * NS:
            return
        now_ns = self._anew_ns = self._clock.now_ns()
        if self._began_ns is not None:
            self._began_ns += set_ns
        for source in self._sources.values():
            source.whole_ns = min(source.whole_ns, now_ns)
            if source.counted_ns is not None:
                source.counted_ns += set_ns
            for ear in source.ears.values():
                ear.log_ns = min(ear.log_ns + set_ns, now_ns)
                ear.from_ns = min(ear.from_ns, now_ns)

    def _take(self, answer: Attendance) -> None:
        nodes, now_ns = self._feed.nodes(), self._clock.now_ns()
        self._sources.setdefault(answer.source, _Source()).counted_ns = answer.end_ns
        for told in answer.names:
            name = self._feed.resolve(told)
            if name is not None and name in nodes:
                self._hear(answer.source, name, answer.start_ns, answer.end_ns, now_ns)

    def _hear(self, source: str, name: str, start_ns: int, end_ns: int, now_ns: int) -> None:
        """Heard once at least within [start, end] of log time."""
        ears = self._sources.setdefault(source, _Source()).ears
        start_ns, end_ns = min(start_ns, now_ns), min(end_ns, now_ns)
        ear = ears.get(name)
        if ear is None:
            ears[name] = _Ear(start_ns, self._resumed(name, end_ns))
            return
        if end_ns - ear.log_ns > self._after_ns():
            ear.from_ns = end_ns
        ear.log_ns = max(ear.log_ns, start_ns)

    def _resumed(self, name: str, end_ns: int) -> int:
        """Where the observation of a node that is heard for the first time begins: what was stored
        goes on (``restore``)."""
        uid, from_ns = self._stored.get(name, ("", 0))
        view = self._feed.nodes().get(name)
        goes_on = view is not None and uid == short_hash(view.uid)
        return min(from_ns, end_ns) if goes_on else end_ns

    def _after_ns(self) -> int:
        return int(self._policy.unobserved_after_s * NS)

    def _from(self, name: str, now_ns: int) -> int | None:
        """As ``observed_from``: every source that hears the node has to be read without a gap."""
        latest_ns: int | None = None
        for source in self._sources.values():
            ear = source.ears.get(name)
            if ear is None or now_ns - ear.log_ns >= self._after_ns():
                continue
            if not self._is_read(source):
                return None
            latest_ns = max(latest_ns or 0, ear.from_ns, source.whole_ns, self._anew_ns)
        return latest_ns

    def _is_heard(self, name: str, now_ns: int) -> bool:
        ears = (source.ears.get(name) for source in self._sources.values())
        return any(ear and now_ns - ear.log_ns < self._after_ns() for ear in ears)

    def _is_read(self, source: _Source) -> bool:
        return source.reads and self._clock.monotonic() < source.good_until_s

    def _silent_since(self, view: NodeView) -> int:
        """When it was heard last; never heard: when its time to be heard began."""
        latest_ns: int | None = None
        for source in self._sources.values():
            ear = source.ears.get(view.name)
            if ear is not None:
                latest_ns = max(latest_ns or 0, ear.log_ns, source.whole_ns)
        if latest_ns is None:
            return max(self._began_ns or 0, view.created_ns)
        return latest_ns

    def _excused(self, nodes: Mapping[str, NodeView], now_ns: int) -> set[str]:
        """Nodes that may be silent because of a source; a node that was never heard may belong to
        any source that hears somebody."""
        used = {name: source for name, source in self._sources.items() if source.ears}
        mute = [source for name, source in used.items() if not self._speaks(name, source, now_ns)]
        if not mute:
            return set() if used else set(nodes)
        return {
            name
            for name in nodes
            if any(name in source.ears for source in mute)
            or not any(name in source.ears for source in used.values())
        }

    def _speaks(self, name: str, source: _Source, now_ns: int) -> bool:
        """It is read, counted, and somebody is heard."""
        after_ns = self._after_ns()
        counted_ns = source.counted_ns or self._began_ns or now_ns
        return (
            self._is_read(source)
            and (name not in self._counted or now_ns - counted_ns < after_ns)
            and any(now_ns - ear.log_ns < after_ns for ear in source.ears.values())
        )

    @staticmethod
    def _say(before: Unobserved, now: Unobserved, nodes: int) -> None:
        """What concerns more than single nodes is told once, here."""
        silent = len(now.silent)
        if now.crowded and not before.crowded:
            logger.bind(silent=silent, nodes=nodes, hint="docs/concepts/log-reading.md").warning(
                "many nodes are not heard: a common cause is likely, no Node is written"
            )
        elif before.crowded and not now.crowded:
            logger.bind(silent=silent, nodes=nodes).info("most nodes are heard again")

    # ------------------------------------------------------------ as a part of the checkpoint

    def urgent(self) -> bool:
        """Nothing here has to be stored at once."""
        return False

    def saved(self) -> None:
        """What ``state`` gave has been written."""

    def state(self) -> Any:
        """Since when nodes with a ledger have been observed: without it a change of leader would
        begin every wait for quiet anew. Seconds, rounded up."""
        views, now_ns = self._feed.nodes(), self._clock.now_ns()
        kept = [name for name, view in views.items() if view.ledger is not None][:MOST_STORED]
        observed = sorted(self.observed_from(kept).items())
        if not observed:
            return {}
        return {
            "at": now_ns // NS,
            "nodes": {
                name: [short_hash(views[name].uid), -(-since_ns // NS)]
                for name, since_ns in observed
            },
        }

    def restore(self, state: Any) -> None:
        """Go on where another controller stopped, unless that is ``unobserved_after_s`` ago: then
        a node may have been silent in between."""
        try:
            at_ns = int(state["at"]) * NS
            stored = {
                str(name): (str(uid), int(since_s) * NS)
                for name, (uid, since_s) in list(state["nodes"].items())[:MOST_STORED]
            }
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            return
        if 0 <= self._clock.now_ns() - at_ns < self._after_ns():
            self._stored = {n: entry for n, entry in stored.items() if 0 < entry[1] <= at_ns}


def _told(view: NodeView) -> bool:
    return view.health_label == Verdict.UNOBSERVED.value
