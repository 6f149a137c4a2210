"""Which nodes have to be looked at again, and when? Held ones and unfinished ones.

A hold without a time (budget, surge, a pause without an end) is looked at again when the counts or
the surges of the fleet change; one with a time (rate, repeat, a pause) when the time has come; both
at the latest after MAX_WAIT_S, but for the budget, which nothing else can end; an unfinished write
after a delay that grows for each node up to MAX_RETRY_S. Waiting is measured
with the monotonic clock: a wall clock that is set back delays nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from konduktor_health.clock import Clock
from konduktor_health.core.pauses import PAUSES
from konduktor_health.model import Hold, HoldReason, Plan
from konduktor_health.timestamps import NS

_BY_FLEET = frozenset({HoldReason.BUDGET, HoldReason.SURGE}) | PAUSES
WAITING = _BY_FLEET | {HoldReason.RATE, HoldReason.REPEAT}
FIRST_RETRY_S = 0.1
MAX_RETRY_S = 10.0
MIN_WAIT_S = 0.05
MAX_WAIT_S = 600.0
IDLE_LOOK_S = 1.0


@dataclass(slots=True)
class _Wait:
    at_s: float = math.inf  # monotonic
    at_change: bool = False


class Agenda:
    """Nodes to decide again. Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, _Wait] = {}
        self._delays: dict[str, float] = {}  # nodes with an unfinished write -> last delay
        self._counts: object = None

    def unfinished(self) -> int:
        """How many nodes have a write that has to be tried again."""
        return len(self._delays)

    def add(self, names: Iterable[str]) -> None:
        """These are due, until ``note`` says what became of them."""
        for name in names:
            self._waiting.setdefault(name, _Wait()).at_s = -math.inf

    def due(self, counts: object) -> set[str]:
        """Nodes whose time has come; ``counts``: whatever budgets depend on."""
        changed, self._counts = counts != self._counts, counts
        now_s = self._clock.monotonic()
        return {
            name
            for name, wait in self._waiting.items()
            if wait.at_s <= now_s or (changed and wait.at_change)
        }

    def note(self, decided: Iterable[str], plan: Plan, unfinished: Iterable[str]) -> None:
        """Take up what became of the decided nodes; those that are gone are forgotten."""
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        failed = set(unfinished)
        for name in decided:
            self._waiting.pop(name, None)
            if name not in failed:
                self._delays.pop(name, None)
        for action in plan.actions:
            if isinstance(action, Hold) and action.reason in WAITING:
                wait = self._waiting.setdefault(action.node, _Wait())
                if action.reason in _BY_FLEET:
                    wait.at_change = True
                if action.until_ns is None:
                    late_s = math.inf if action.reason is HoldReason.BUDGET else MAX_WAIT_S
                    wait.at_s = min(wait.at_s, now_s + late_s)
                else:
                    wait.at_s = min(wait.at_s, now_s + _seconds(action.until_ns - now_ns))
        for name, at_ns in plan.wakes.items():
            wait = self._waiting.setdefault(name, _Wait())
            wait.at_s = min(wait.at_s, now_s + _seconds(at_ns - now_ns))
        for name in failed:
            delay = min(2 * self._delays.get(name, FIRST_RETRY_S / 2), MAX_RETRY_S)
            self._delays[name] = delay
            wait = self._waiting.setdefault(name, _Wait())
            wait.at_s = min(wait.at_s, now_s + delay)

    def seconds_until_due(self) -> float:
        """How long the loop may sleep if nothing wakes it."""
        next_s = min((wait.at_s for wait in self._waiting.values()), default=math.inf)
        return max(0.0, min(IDLE_LOOK_S, next_s - self._clock.monotonic()))


def _seconds(ns: int) -> float:
    """How long to wait for a time that the wall clock tells."""
    return min(max(ns / NS, MIN_WAIT_S), MAX_WAIT_S)
