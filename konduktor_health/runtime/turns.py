"""Who of those that wait for a place in a budget is looked at now? As many as there are places.

When a count of a pool changes, of those that its budget holds only the best are decided again: as
many as there is room for, and fatal ones for which a degraded node could give way. The others
would be held as before, and they may be hundreds.

Invariants: whoever was called and neither took a place nor waits on makes room for the next one;
nothing is called twice without a change of the counts or somebody leaving, so that a place which
nobody can take keeps nobody busy. The order is that of the decision (``Turn``).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from konduktor_health.model import EditNode, Plan, Turn


@dataclass(frozen=True, slots=True)
class Places:
    """What a pool has to give: places that are free, and degraded nodes that could give way."""

    free: int
    soft: int = 0


class Turns:
    """The nodes that wait, by pool. Used by one thread."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[str, Turn]] = {}
        self._pool_of: dict[str, str] = {}
        self._called: set[str] = set()
        self.open = False  # somebody may have to be called

    def everyone(self) -> set[str]:
        """All that wait."""
        return set(self._pool_of)

    def call(self, places: Callable[[str], Places]) -> set[str]:
        """Those whose turn it is. ``places``: of the pool that this node is in."""
        self.open = False
        self._called = set()
        for waiting in self._pools.values():
            there = places(next(iter(waiting)))
            if there.free or there.soft:
                self._called.update(_best(waiting, there))
        return set(self._called)

    def note(self, decided: Iterable[str], plan: Plan) -> None:
        """Take up what became of the decided nodes."""
        decided = set(decided)
        for name in decided & self._pool_of.keys():
            self._leave(name)
        for name, turn in plan.waits.items():
            self._pools.setdefault(turn.pool, {})[name] = turn
            self._pool_of[name] = turn.pool
        gone = (self._called & decided) - plan.waits.keys()
        if gone:
            taking = {one.node for one in plan.actions if isinstance(one, EditNode)}
            self.open = self.open or (bool(gone - taking) and bool(self._pool_of))
            self._called -= decided

    def _leave(self, name: str) -> None:
        pool = self._pool_of.pop(name)
        waiting = self._pools[pool]
        del waiting[name]
        if not waiting:
            del self._pools[pool]


def _best(waiting: dict[str, Turn], places: Places) -> list[str]:
    """As many as there are places for, the most urgent first; then fatal ones."""
    best = [
        name
        for _, name in heapq.nsmallest(
            places.free + places.soft, [(turn.order, name) for name, turn in waiting.items()]
        )
    ]
    free = best[: places.free]
    return free + [name for name in best[places.free :] if waiting[name].fatal]
