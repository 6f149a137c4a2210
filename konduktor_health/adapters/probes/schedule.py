"""Which agents are to be asked now? A heap of times, and who is being asked.

Nodes to watch closely (open records, a boot, a repair) every ``close_s``, others every ``wide_s``,
each with jitter, so that 10,000 agents are not asked at one moment. A silent one is asked less
often each time, from ``close_s`` up to ``wide_s``: it may be back at any moment, and its node may
be the ill one. No agent is asked twice at a time. Not thread-safe.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

_MOST_STALE = 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how patiently agents are asked. Seconds."""

    close_s: float = 30.0  # nodes with open records, or that have just booted
    wide_s: float = 300.0  # all others
    timeout_s: float = 5.0  # of one request, all of it
    light_s: float = 60.0  # how often agents run the light tier; 0: they do not
    workers: int = 16


class Schedule:
    """When each node's agent is due, by the monotonic clock."""

    def __init__(self, *, close_s: float, wide_s: float, jitter: Callable[[], float]) -> None:
        """``jitter``: uniform in [0, 1)."""
        self._close_s = close_s
        self._wide_s = max(wide_s, close_s)
        self._jitter = jitter
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._asking: set[str] = set()
        self._again: set[str] = set()  # wanted while they were being asked

    def __len__(self) -> int:
        return len(self._due)

    def add(self, name: str, now_s: float, *, closely: bool) -> None:
        """A node that was not known: at once where it is to be watched closely, else within
        ``close_s``."""
        if name not in self._due and name not in self._asking:
            self._at(name, now_s + (0.0 if closely else self._close_s * self._jitter()))

    def spread(self, now_s: float) -> None:
        """Asking begins only now: those that are late are asked within ``close_s``, not at once."""
        for name, due_s in list(self._due.items()):
            if due_s <= now_s:
                self._at(name, now_s + self._close_s * self._jitter())

    def hasten(self, name: str, now_s: float) -> None:
        """Ask this one now."""
        if name in self._asking:
            self._again.add(name)
        elif self._due.get(name, math.inf) > now_s:
            self._at(name, now_s)

    def drop(self, name: str) -> None:
        """Ask it no more."""
        self._due.pop(name, None)
        self._asking.discard(name)
        self._again.discard(name)

    def take(self, now_s: float) -> list[str]:
        """Those that are due; they are being asked until ``asked`` says that it is over."""
        found = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, name = heapq.heappop(self._heap)
            if self._due.get(name) == at_s:
                del self._due[name]
                self._asking.add(name)
                found.append(name)
        return found

    def asked(self, name: str, now_s: float, *, closely: bool, failures: int) -> None:
        """It was asked. ``failures``: how many times in a row it did not answer."""
        if name not in self._asking:
            return  # dropped meanwhile
        self._asking.discard(name)
        if name in self._again:
            self._again.discard(name)
            self._at(name, now_s)
            return
        pause_s = self._close_s if closely else self._wide_s
        if failures:
            pause_s = min(self._wide_s, self._close_s * 2.0 ** min(failures - 1, 16))
        self._at(name, now_s + pause_s * (0.9 + 0.2 * self._jitter()))

    def next_s(self) -> float:
        """When the next one is due; infinite when none is."""
        while self._heap:
            at_s, name = self._heap[0]
            if self._due.get(name) == at_s:
                return at_s
            heapq.heappop(self._heap)
        return math.inf

    def _at(self, name: str, at_s: float) -> None:
        self._due[name] = at_s
        heapq.heappush(self._heap, (at_s, name))
        if len(self._heap) > 4 * len(self._due) + _MOST_STALE:
            self._heap = [(due_s, each) for each, due_s in self._due.items()]
            heapq.heapify(self._heap)
