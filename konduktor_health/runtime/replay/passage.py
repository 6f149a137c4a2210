"""What was heard in a stretch of the past: polls, their lines, and which of these only repeat?

A passage may be packed: plain values that another process writes and ``marshal`` takes. What lines
say is there once, of each line only what is its own. Beside that it knows chains: lines of one
node that say the same, of one boot by the same start, none before the one before it and none long
after it. What holds of the first of them holds of those that follow, so that a player may count
them at once (``player.Player.pass_by``).

Invariants: unpacked, the polls are those that were packed (property-tested). A poll with a line
that continues no chain is a stop: only the polls between stops can be counted at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.core.record import EPISODE_GAP_NS
from konduktor_health.model import Fault, Remedy, Severity, Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import DecodedRecord, record_of

#: What many lines have in common: node, source, boot id, and the fault.
Said = tuple[Any, ...]
#: Which of these it is, and what is the line's own: time, uptime and its stamp, count, identity.
Line = tuple[int, int, int | None, str, int, str]
#: Places of a chain's lines in the passage, and the polls that they are in.
Links = tuple[list[int], list[int]]
#: Times of polls, ends of their lines, what is said, lines, chains, stops; chains between those.
Packed = tuple[
    list[int], list[int], tuple[Said, ...], list[Line], list[Links], list[int], list[list[int]]
]

Poll = tuple[int, list[LogEntry]]


@dataclass(frozen=True, slots=True)
class Chain:
    """Lines of a chain within some polls, at least one."""

    lines: Sequence[int]
    polls: Sequence[int]


@dataclass(slots=True)
class Passage:
    """Some polls in the order of time, each of at least one line."""

    times_ns: list[int]  # when each poll ended
    _ends: list[int] = field(default_factory=list)  # of the lines of each poll
    _said: list[tuple[str, str, str, list[Fault]]] = field(default_factory=list)
    _lines: list[Line] = field(default_factory=list)
    _chains: list[Links] = field(default_factory=list)
    _stops: list[int] = field(default_factory=list)
    _between: list[list[int]] = field(
        default_factory=list
    )  # chains before each stop, since another
    _heard: dict[int, list[LogEntry]] = field(default_factory=dict)  # polls that were unpacked

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def first_ns(self) -> int:
        """Time of the first line."""
        return self.entries(0)[0].time_ns

    def entries(self, at: int) -> list[LogEntry]:
        """The lines of a poll."""
        known = self._heard.get(at)
        if known is None:
            begin = self._ends[at - 1] if at else 0
            known = [self.entry(place) for place in range(begin, self._ends[at])]
            self._heard = {at: known}  # asked for by several players, one after the other
        return known

    def entry(self, place: int) -> LogEntry:
        """A line of its own."""
        which, time_ns, uptime_us, stamp, count, name = self._lines[place]
        node, source, boot_id, faults = self._said[which]
        record = record_of(faults, time_ns, uptime_us, stamp, boot_id, count)
        trust = faults[0].trust
        return LogEntry(node, time_ns, record, name, source, trust, trust is Trust.POD)

    def quiet_until(self, at: int, until_ns: int) -> int:
        """The first poll from ``at`` on that is a stop, or is later than this."""
        stop = bisect_left(self._stops, at)
        end = self._stops[stop] if stop < len(self._stops) else len(self)
        return bisect_right(self.times_ns, until_ns, at, end)

    def chains(self, at: int, end: int) -> list[Chain]:
        """What polls from ``at`` to before ``end`` consist of, where no stop is among them."""
        found = []
        for number in self._between[bisect_left(self._stops, at)]:
            lines, polls = self._chains[number]
            low, high = bisect_left(polls, at), bisect_left(polls, end)
            if low < high:
                found.append(Chain(lines[low:high], polls[low:high]))
        return found

    def poll_beyond(self, chain: Chain, until_ns: int) -> int:
        """The poll of the chain's first line that is later than this; after all: there is none."""
        later = bisect_right(chain.lines, until_ns, key=lambda place: self._lines[place][1])
        return chain.polls[later] if later < len(chain.lines) else len(self)

    def count(self, chain: Chain) -> int:
        """How often its lines say it."""
        return sum(max(1, self._lines[place][4]) for place in chain.lines)


@dataclass(slots=True)
class _Newest:
    """The chain that the newest line of a node is in."""

    which: int
    start_ns: int | None
    time_ns: int
    links: Links


class Packer:
    """Packs polls. ``len`` is how many lines there are."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._ends: list[int] = []
        self._said: dict[Said, int] = {}
        self._lines: list[Line] = []
        self._newest: dict[str, _Newest] = {}
        self._chains: list[Links] = []
        self._stops: list[int] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, poll_ns: int, entries: Iterable[LogEntry]) -> None:
        """One more poll. Raises TypeError for a line that was not decoded."""
        at, stops = len(self._times), False
        for entry in entries:
            record, time_ns = entry.record, entry.time_ns
            if not isinstance(record, DecodedRecord):
                raise TypeError("not decoded")
            said = _said_by(entry, record.faults[0])
            which = self._said.setdefault(said, len(self._said))
            uptime_us = record.uptime_us
            stops |= self._link(entry.node_name, which, time_ns, uptime_us, at)
            line = (which, time_ns, uptime_us, record.uptime_stamp, record.repeated, entry.identity)
            self._lines.append(line)
        self._times.append(poll_ns)
        self._ends.append(len(self._lines))
        if stops:
            self._stops.append(at)

    def packed(self) -> Packed:
        """All that was added."""
        between = list(_between(self._stops, [polls for _, polls in self._chains]))
        said = tuple(self._said)
        return self._times, self._ends, said, self._lines, self._chains, self._stops, between

    def _link(self, node: str, which: int, time_ns: int, uptime_us: int | None, at: int) -> bool:
        """Put the next line where it belongs; whether it begins a chain."""
        start_ns = None if uptime_us is None else time_ns - uptime_us * 1000
        newest = self._newest.get(node)
        if (
            newest is not None
            and newest.which == which
            and start_ns is not None
            and newest.start_ns == start_ns
            and 0 <= time_ns - newest.time_ns <= EPISODE_GAP_NS
        ):
            newest.time_ns = time_ns
            lines, polls = newest.links
            lines.append(len(self._lines))
            polls.append(at)
            return False
        links: Links = ([len(self._lines)], [at])
        self._chains.append(links)
        self._newest[node] = _Newest(which, start_ns, time_ns, links)
        return True


def unpacked(packed: Packed) -> Passage:
    """The passage that was packed."""
    times, ends, said, lines, chains, stops, between = packed
    common = [(*each[:3], [_fault_of(each)]) for each in said]
    return Passage(times, ends, common, lines, chains, stops, between)


def one_by_one(polls: Iterable[Poll]) -> Iterator[Passage]:
    """Each poll as a passage: all of its lines have to be heard."""
    for poll_ns, entries in polls:
        yield Passage([poll_ns], _stops=[0], _heard={0: entries})


def _between(stops: list[int], chains: list[list[int]]) -> Iterator[list[int]]:
    """Before each stop, and after the last: the chains with lines since the stop before."""
    found: list[set[int]] = [set() for _ in range(len(stops) + 1)]
    is_stop = set(stops)
    for number, polls in enumerate(chains):
        for poll in polls[1:]:
            if poll not in is_stop:
                found[bisect_left(stops, poll)].add(number)
    return map(sorted, found)


def _fault_of(said: Said) -> Fault:
    fault_id, severity, remedy, device, injected, trust, text, detail = said[3:]
    return Fault(
        fault_id,
        Severity(severity),
        Remedy(remedy),
        device,
        injected=injected,
        trust=Trust(trust),
        text=text,
        detail=dict(detail),
    )


def _said_by(entry: LogEntry, fault: Fault) -> Said:
    return (
        entry.node_name,
        entry.source,
        fault.boot_id,
        fault.fault_id,
        fault.severity.value,
        fault.remedy.value,
        fault.device,
        fault.injected,
        fault.trust.value,
        fault.text,
        tuple(fault.detail.items()),
    )
