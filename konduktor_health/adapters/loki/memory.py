"""Which lines have not been handed out before, and when is it enough for one poll?

Invariants: what is remembered is bounded in number and time; a poll's harvest is bounded in
number, size and time, but for the last page read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from konduktor_health.adapters.loki.answers import Line
from konduktor_health.adapters.loki.entries import Unwrap, entry_of
from konduktor_health.adapters.loki.pace import Lag
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.clock import NS, Clock
from konduktor_health.ports import LogEntry

MOST_CHARACTERS = 8 * 1024 * 1024  # of text in one poll; several polls wait in a queue
_GENERATIONS = 8  # of the bound in number
_MOST_GENERATIONS = 64
_SPAN_NS = 1800 * NS


@dataclass(slots=True)
class _Generation:
    begun_ns: int
    newest_ns: int = 0  # newest log time of its lines
    hashes: set[bytes] = field(default_factory=set)


class Seen:
    """Identities handed out, in generations that are forgotten as a whole.

    An identity is known until its log time will not be read again (``forget_before``), unless
    more than ``most`` would be kept: then the oldest eighth goes, and may be handed out again.
    """

    def __init__(self, *, most: int = 1_000_000) -> None:
        self._size = max(1, most // _GENERATIONS)
        self._generations: deque[_Generation] = deque([_Generation(0)])

    def __len__(self) -> int:
        return sum(len(generation.hashes) for generation in self._generations)

    def add(self, name: str, time_ns: int) -> bool:
        """Remember an identity (hex) of a line of that log time; False when it was known."""
        key = bytes.fromhex(name)
        for generation in self._generations:  # a generator would cost more than the look-ups
            if key in generation.hashes:
                return False
        last = self._generations[-1]
        if len(last.hashes) >= self._size:
            self._begin(last.begun_ns)
            last = self._generations[-1]
        last.hashes.add(key)
        last.newest_ns = max(last.newest_ns, time_ns)
        return True

    def forget_before(self, horizon_ns: int, now_ns: int) -> None:
        """Nothing before the horizon will be read again."""
        kept = [one for one in self._generations if one.newest_ns >= horizon_ns]
        self._generations = deque(kept)
        if not kept or now_ns - kept[-1].begun_ns > _SPAN_NS:
            self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        self._generations.append(_Generation(now_ns))
        while len(self._generations) > _MOST_GENERATIONS or len(self) > self._size * (
            _GENERATIONS - 1
        ):
            self._generations.popleft()


class NewestHeartbeat:
    """Heartbeats are worth only their newest per node: remembered by time, not by identity."""

    def __init__(self, *, most: int = 20_000) -> None:
        self._most = most
        self._newest: dict[str, int] = {}

    def is_news(self, entry: LogEntry) -> bool:
        """True when no later heartbeat of the node has been handed out."""
        if entry.time_ns <= self._newest.get(entry.node_name, -1):
            return False
        if len(self._newest) >= self._most and entry.node_name not in self._newest:
            self._newest.pop(next(iter(self._newest)))
        self._newest[entry.node_name] = entry.time_ns
        return True


class Memory:
    """What a source has handed out so far."""

    def __init__(self, spec: SourceSpec, unwrap: Unwrap) -> None:
        self._spec = spec
        self._unwrap = unwrap
        self._seen = Seen()
        self._heartbeats = NewestHeartbeat()
        self.newest_ns = 0  # newest log time of any line

    def forget_before(self, horizon_ns: int, now_ns: int) -> None:
        """Nothing before the horizon will be read again."""
        self._seen.forget_before(horizon_ns, now_ns)

    def new_entry(self, line: Line) -> LogEntry | None:
        """The line's entry, or None when it was handed out before."""
        entry = entry_of(line, self._spec, self._unwrap)
        self.newest_ns = max(self.newest_ns, entry.time_ns)
        if entry.record.heartbeat:
            return entry if self._heartbeats.is_news(entry) else None
        return entry if self._seen.add(entry.identity, entry.time_ns) else None


class Harvest:
    """The new entries of one poll."""

    def __init__(self, memory: Memory, clock: Clock, *, most: int, budget_s: float) -> None:
        self._memory = memory
        self._clock = clock
        self._most = most
        self._end_s = clock.monotonic() + budget_s
        self._entries: list[LogEntry] = []
        self._characters = 0

    @property
    def full(self) -> bool:
        """True when the poll should end: number, size or time is used up."""
        return (
            len(self._entries) >= self._most
            or self._characters >= MOST_CHARACTERS
            or self._clock.monotonic() >= self._end_s
        )

    def take(self, lines: Iterable[Line], lag: Lag | None, now_ns: int) -> None:
        """Keep what is new; ``lag`` learns how old it was."""
        now_s = self._clock.monotonic()
        for line in lines:
            entry = self._memory.new_entry(line)
            if entry is None:
                continue
            self._entries.append(entry)
            self._characters += len(entry.record.text)
            if lag is not None:
                lag.add(now_s, (now_ns - entry.time_ns) / NS)

    def in_order(self) -> tuple[LogEntry, ...]:
        """The entries in time order."""
        return tuple(sorted(self._entries, key=lambda entry: entry.time_ns))
