"""Which kernel lines came from a name that is no managed Node yet? Kept until it is one.

A machine logs before it is a Node, a Node exists before its GPUs are known to Kubernetes, and
the node watch may be behind the log. The lines wait for a quarter of an hour, as long as a first
start looks back; then they stay counted and are forgotten. Bounded per name and in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from konduktor_health.ports import LogEntry

WAIT_S = 900.0
MOST_PER_NAME = 64
MOST_NAMES = 256


@dataclass(slots=True)
class _Line:
    until_s: float
    entry: LogEntry


@dataclass(slots=True)
class WaitingRoom:
    """Lines by the name in their stream. Not thread-safe."""

    wait_s: float = WAIT_S
    _lines: dict[str, list[_Line]] = field(default_factory=dict)

    def add(self, entry: LogEntry, now_s: float) -> None:
        """Keep a line; of one name the oldest goes, of all names the one that waits longest."""
        kept = self._lines.setdefault(entry.node_name, [])
        kept.append(_Line(now_s + self.wait_s, entry))
        if len(kept) > MOST_PER_NAME:
            del kept[0]
        if len(self._lines) > MOST_NAMES:
            del self._lines[next(iter(self._lines))]

    def leave(
        self, known: Callable[[str], bool], unwanted: Callable[[str], bool], now_s: float
    ) -> list[LogEntry]:
        """Lines whose name is a managed Node by now; the unwanted and the expired go unread."""
        left: list[LogEntry] = []
        for name in list(self._lines):
            if known(name):
                left.extend(line.entry for line in self._lines.pop(name))
            elif unwanted(name):
                del self._lines[name]
            else:
                kept = [line for line in self._lines.pop(name) if now_s < line.until_s]
                if kept:
                    self._lines[name] = kept
        return left

    def oldest_ns(self) -> int | None:
        """Log time of the oldest line that waits; None: none does."""
        times = (line.entry.time_ns for kept in self._lines.values() for line in kept)
        return min(times, default=None)
