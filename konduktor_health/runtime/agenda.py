"""Which nodes have to be looked at again, and when? Held ones and unfinished ones.

A hold without a time (surge, a pause without an end) is looked at again when the counts or the
surges of the fleet change, one by the budget when it is its turn (``runtime.turns``); one with a
time (rate, repeat, a pause) when the time has come; all at the latest after MAX_WAIT_S, but for
the budget, which nothing else can end; an unfinished write after a delay that grows for each node
up to MAX_RETRY_S. Waiting is measured with the monotonic clock: a wall clock that is set back
delays nothing.

What is due is found in a heap, so that a cycle costs by what is due and not by who waits. An entry
of the heap whose time is no longer that of its node is stale, and is dropped when it comes up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable

from konduktor_health.clock import Clock
from konduktor_health.core.pauses import PAUSES
from konduktor_health.model import Hold, HoldReason, Plan
from konduktor_health.runtime.turns import Places, Turns
from konduktor_health.timestamps import NS

_AT_CHANGE = frozenset({HoldReason.SURGE}) | PAUSES
WAITING = _AT_CHANGE | {HoldReason.BUDGET, HoldReason.RATE, HoldReason.REPEAT}
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 10.0
MIN_WAIT_S = 0.05
MAX_WAIT_S = 600.0
IDLE_LOOK_S = 1.0
MOST_STALE = 1000  # entries of the heap beyond those in use


def _no_places(_name: str) -> Places:
    return Places(0)


class Agenda:
    """Nodes to decide again. Used by one thread. ``longest_s``: what waits for a time is looked at
    after so long at the latest."""

    def __init__(self, clock: Clock, *, longest_s: float = MAX_WAIT_S) -> None:
        self._clock = clock
        self._longest_s = longest_s
        self._times: dict[str, float] = {}  # node -> when it is due, monotonic
        self._due: set[str] = set()  # their time has come
        self._later: list[tuple[float, str]] = []  # heap of (monotonic time, node)
        self._at_change: set[str] = set()
        self._delays: dict[str, float] = {}  # nodes with an unfinished write -> last delay
        self._counts: object = None
        self._surges: object = None
        self._turns = Turns()

    def unfinished(self) -> int:
        """How many nodes have a write that has to be tried again."""
        return len(self._delays)

    @property
    def calls(self) -> bool:
        """Somebody who waits for a place in a budget has to be looked at at once."""
        return self._turns.open

    def add(self, names: Iterable[str]) -> None:
        """These are due, until ``note`` says what became of them."""
        self._due.update(names)

    def due(
        self, counts: object, surges: object, places: Callable[[str], Places] = _no_places
    ) -> set[str]:
        """Nodes whose time has come. ``counts``: another value when those that budgets rest on
        have changed; ``places``: what the budget has to give in a node's pool."""
        counted, self._counts = counts != self._counts, counts
        surged, self._surges = surges != self._surges, surges
        now_s = self._clock.monotonic()
        while self._later and self._later[0][0] <= now_s:
            at_s, name = heapq.heappop(self._later)
            if self._times.get(name) == at_s:
                self._due.add(name)
        if counted or self._turns.open:
            self._due |= self._turns.call(places)
        if surged:
            self._due |= self._turns.everyone()
        return self._due | self._at_change if counted or surged else set(self._due)

    def note(self, decided: Iterable[str], plan: Plan, unfinished: Iterable[str]) -> None:
        """Take up what became of the decided nodes; those that are gone are forgotten."""
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        failed = set(unfinished)
        for name in decided:
            self._times.pop(name, None)
            self._due.discard(name)
            self._at_change.discard(name)
            if name not in failed:
                self._delays.pop(name, None)
        for action in plan.actions:
            if isinstance(action, Hold) and action.reason in WAITING:
                if action.reason in _AT_CHANGE:
                    self._at_change.add(action.node)
                if action.until_ns is not None:
                    self._wait_until(action.node, now_s + self._seconds(action.until_ns - now_ns))
                elif action.reason is not HoldReason.BUDGET:
                    self._wait_until(action.node, now_s + self._longest_s)
        self._turns.note(decided, plan)
        for name, at_ns in plan.wakes.items():
            self._wait_until(name, now_s + self._seconds(at_ns - now_ns))
        for name in failed:
            delay = min(2 * self._delays.get(name, FIRST_RETRY_S / 2), MAX_RETRY_S)
            self._delays[name] = delay
            self._wait_until(name, now_s + delay)

    def next_s(self) -> float:
        """When the next node is due, monotonic seconds; infinite when none is."""
        if self._due or self._turns.open:
            return -math.inf
        while self._later:
            at_s, name = self._later[0]
            if self._times.get(name) == at_s:
                return at_s
            heapq.heappop(self._later)
        return math.inf

    def seconds_until_due(self) -> float:
        """How long the loop may sleep if nothing wakes it."""
        return max(0.0, min(IDLE_LOOK_S, self.next_s() - self._clock.monotonic()))

    def _seconds(self, ns: int) -> float:
        """How long to wait for a time that the wall clock tells."""
        return min(max(ns / NS, MIN_WAIT_S), self._longest_s)

    def _wait_until(self, name: str, at_s: float) -> None:
        if at_s >= self._times.get(name, math.inf):
            return
        self._times[name] = at_s
        heapq.heappush(self._later, (at_s, name))
        if len(self._later) > 4 * len(self._times) + MOST_STALE:
            self._later = [(time_s, each) for each, time_s in self._times.items()]
            heapq.heapify(self._later)
