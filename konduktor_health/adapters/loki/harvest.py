"""Which lines of a poll have not been handed out before, and when is it enough?"""

from __future__ import annotations

from collections.abc import Iterable

from konduktor_health.adapters.loki.answers import Line
from konduktor_health.adapters.loki.entries import NewestHeartbeat, Seen, Unwrap, entry_of
from konduktor_health.adapters.loki.lag import Lag
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.clock import NS, Clock
from konduktor_health.ports import LogEntry

MOST_CHARACTERS = 32 * 1024 * 1024  # of text in one poll


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
