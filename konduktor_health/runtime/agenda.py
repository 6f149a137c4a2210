"""Which nodes have to be looked at again, and when? Held ones and unfinished ones.

A hold without a time (budget) is looked at again when the fleet changes; one with a time
(rate, repeat, surge) when the time has come; an unfinished write at once, then with growing
delays up to MAX_RETRY_S.
"""

from __future__ import annotations

from collections.abc import Iterable

from konduktor_health.model import Hold, HoldReason, Plan
from konduktor_health.timestamps import NS

WAITING = frozenset({HoldReason.BUDGET, HoldReason.RATE, HoldReason.SURGE, HoldReason.REPEAT})
SURGE_LOOK_S = 10
FIRST_RETRY_S = 0.05
MAX_RETRY_S = 10.0
IDLE_LOOK_S = 1.0


class Agenda:
    """Nodes to decide again. Used by one thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, int | None] = {}  # node -> look again at (ns); None: at a change
        self._again: set[str] = set()
        self._retry_at_ns = 0
        self._retry_s = FIRST_RETRY_S

    def forget(self, name: str) -> None:
        """The node is gone."""
        self._waiting.pop(name, None)
        self._again.discard(name)

    def unfinished(self) -> bool:
        """True while a write has to be tried again."""
        return bool(self._again)

    def postpone(self, names: Iterable[str]) -> None:
        """Keep these names until ``note`` says what became of them."""
        self._again |= set(names)

    def due(self, now_ns: int, fleet_changed: bool) -> set[str]:
        """Nodes whose time has come; unfinished ones are handed out once."""
        names = {
            name
            for name, until_ns in self._waiting.items()
            if (fleet_changed if until_ns is None else until_ns <= now_ns)
        }
        if now_ns >= self._retry_at_ns:
            names |= self._again
            self._again = set()
        return names

    def note(self, plan: Plan, unfinished: Iterable[str], now_ns: int) -> None:
        """Take up what a Plan held and what could not be finished."""
        for name in {action.node for action in plan.actions} | plan.settled:
            self._waiting.pop(name, None)
        for action in plan.actions:
            if isinstance(action, Hold) and action.reason in WAITING:
                surge = action.reason is HoldReason.SURGE
                self._waiting[action.node] = (
                    now_ns + SURGE_LOOK_S * NS if surge else action.until_ns
                )
        names = set(unfinished)
        self._again = names
        self._retry_s = min(self._retry_s * 2, MAX_RETRY_S) if names else FIRST_RETRY_S
        self._retry_at_ns = now_ns + int(self._retry_s * NS) if names else 0

    def seconds_until_due(self, now_ns: int) -> float:
        """How long the loop may sleep if nothing wakes it."""
        times = [until_ns for until_ns in self._waiting.values() if until_ns is not None]
        if self._again:
            times.append(self._retry_at_ns)
        return max(0.0, min([IDLE_LOOK_S, *((time - now_ns) / NS for time in times)]))
