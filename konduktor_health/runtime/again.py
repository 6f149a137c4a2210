"""Does a line only count? A program that fails in a loop, or a GPU that is broken, prints one line
thousands of times, and most lines that a controller ever hears are such.

Of a line like the one before it of its node nothing is new but that it is one more, and when. Such
lines are only counted, and folded into what is kept in one step when that is read or something else
is heard of the node (``Runs.catch_up``). That comes to what is kept when each line is taken by
itself (property-tested): ``Run.takes`` says no wherever a line may do more than count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.core.fold import SightingKey, key_of, owner_of
from konduktor_health.core.record import EPISODE_GAP_NS, Ledger
from konduktor_health.model import Fault, NodeView, Sighting
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.domains import RecentKinds
from konduktor_health.runtime.heard import heard_from
from konduktor_health.runtime.kin import Kin
from konduktor_health.timestamps import NS

#: Event times of one line, read twice, are not farther apart: the start of its boot may be known
#: better by then.
_SAME_LINE_NS = NS


@dataclass(slots=True)
class Run:
    """A line that a node goes on printing: a fault, and nothing else, that is kept as it was heard
    and was not counted by the node's ledger. What comes later may have been: as this very line."""

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
    counted: frozenset[str]  # identities of lines that the node's ledger has counted,
    counted_ns: int  # and the event time of the newest of them, Unix ns
    lines: int = 0  # that are not in ``seen`` yet,
    count: int = 0  # and what they count

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
            and entry.identity not in self.counted
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


class Runs:
    """The runs of all nodes. ``pending``: what is kept of each node. Used by one thread."""

    def __init__(
        self,
        pending: Mapping[str, dict[SightingKey, Sighting]],
        kin: Kin,
        kinds: RecentKinds,
    ) -> None:
        self._pending = pending
        self._kin = kin
        self._kinds = kinds
        self._of: dict[str, Run] = {}

    def begin(
        self, decoded: Fault, fault: Fault, entry: LogEntry, view: NodeView, ledger: Ledger
    ) -> None:
        """This line was taken by itself, and may come again: where it acts, and is kept as it was
        heard. It is for the caller to know that it is no marker, no repair, and blames no peer.
        ``ledger``: the node's."""
        until = self._kin.put_off_until(fault)
        key = key_of(fault, True)
        seen = self._pending.get(view.name, {}).get(key)
        if until is None or seen is None or seen.fault is not fault or fault.event_ns <= 0:
            return
        if seen.episodes[-1][:2] == (fault.event_ns, owner_of(fault)):
            known = (ledger.record(fault.key), ledger.past(fault.key))
            counted = frozenset(each.identity for each in known if each and each.identity)
            counted_ns = max((each.last_ns for each in known if each), default=0)
            self._of[view.name] = Run(
                view, decoded, fault, key, seen, *until, entry, fault.event_ns, counted, counted_ns
            )

    def count(
        self, decoded: list[Fault], entry: LogEntry, event_ns: int, view: NodeView, now_ns: int
    ) -> tuple[Fault, int] | None:
        """Count a line that only counts: a fault like it, and for how many it stands. None: it is
        to be taken by itself, and all before it are where they belong."""
        run = self._of.get(view.name)
        if run is None:
            return None
        if not (self._is_taken(run, decoded, entry, event_ns, view) and self._kin.touch(run.heard)):
            self.catch_up((view.name,))
            del self._of[view.name]
            return None
        self._kinds.note(run.heard, view.name, now_ns, event_ns)
        return run.heard, run.take(entry, event_ns)

    def until(
        self, decoded: list[Fault], entry: LogEntry, event_ns: int, view: NodeView
    ) -> tuple[int, int] | None:
        """Up to which event time (Unix ns) and uptime lines only count that come in order from this
        one on and are like it; None: this one may do more, or has no uptime. Changes nothing."""
        run = self._of.get(view.name)
        if run is None or not self._is_taken(run, decoded, entry, event_ns, view):
            return None
        if event_ns <= run.counted_ns + _SAME_LINE_NS or not self._kin.knows(run.heard):
            return None  # one of those after it may be a line that the ledger has counted
        return None if run.until_us is None else (run.until_ns, run.until_us)

    def count_all(
        self,
        name: str,
        last: LogEntry,
        events_ns: tuple[int, int],
        lines: int,
        count: int,
        now_ns: int,
    ) -> Fault:
        """As ``count`` of so many lines of a node within ``until``, which stand for ``count``.
        ``last`` is heard now; ``events_ns``: event times of the first one and of the last. Returns
        a fault like them."""
        first_ns, last_ns = events_ns
        run = self._of[name]
        self._kinds.note(run.heard, name, now_ns, first_ns)
        self._kin.touch(run.heard)
        run.entry, run.event_ns = last, last_ns
        run.lines += lines
        run.count += count
        return run.heard

    def _is_taken(
        self, run: Run, decoded: list[Fault], entry: LogEntry, event_ns: int, view: NodeView
    ) -> bool:
        seen = self._pending.get(view.name, {}).get(run.key)
        return len(decoded) == 1 and run.takes(decoded[0], entry, event_ns, view, seen)

    def catch_up(self, names: Iterable[str]) -> None:
        """What is kept of these nodes tells all lines now. To be called before it is read."""
        for name in names:
            run = self._of.get(name)
            if run is None or not run.lines:
                continue
            pending = self._pending.get(name, {})
            kept = pending.get(run.key) is run.seen
            fault, lines = run.catch_up()
            self._kin.put_off(fault, lines)
            if kept:
                pending[run.key] = run.seen

    def end(self, names: Iterable[str] | None = None) -> None:
        """No line of these nodes (default: of any) is only counted until one has begun again."""
        ended = list(self._of if names is None else names)
        self.catch_up(ended)
        for name in ended:
            self._of.pop(name, None)


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
