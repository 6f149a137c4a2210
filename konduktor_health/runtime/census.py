"""How many nodes of each pool are tainted, unavailable, degraded? Kept by changes.

Invariants: a node counts in exactly one pool and there once (``core.standing``); taking it out
again undoes all of it; work per change does not depend on the number of nodes. ``generation``
grows whenever a number changes that a budget or a surge rests on. Not thread-safe: ``Fleet`` is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from konduktor_health.core.pools import driver_of, pool_of
from konduktor_health.core.standing import Standing, Taken, standing_of
from konduktor_health.model import NodeView, Policy, PoolCounts
from konduktor_health.timestamps import NS

Repairing = Callable[[NodeView], bool]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node counts, and as what."""

    view: NodeView
    pool: str
    driver: str
    standing: Standing

    @property
    def counted(self) -> tuple[object, ...]:
        return (self.pool, self.driver, self.standing)


@dataclass(slots=True)
class _Tally:
    """A pool's numbers."""

    managed: int = 0
    taints: int = 0
    unavailable: int = 0
    times_ns: dict[str, int] = field(default_factory=dict)  # node -> when we tainted it
    soft: dict[str, tuple[int, int]] = field(default_factory=dict)  # node -> weakness

    def add(self, name: str, standing: Standing, sign: int) -> None:
        """Count the node, or with -1 no longer."""
        self.managed += sign
        self.taints += sign * standing.taken.a_taint
        self.unavailable += sign * (standing.taken is Taken.UNAVAILABLE)
        self.times_ns.pop(name, None)
        self.soft.pop(name, None)
        if sign > 0 and standing.tainted_ns:
            self.times_ns[name] = standing.tainted_ns
        if sign > 0 and standing.taken is Taken.SOFT:
            self.soft[name] = standing.weakness


class Census:
    """The managed nodes by pool and by driver version."""

    def __init__(self, policy: Policy, in_repair: Repairing) -> None:
        self._policy = policy
        self._in_repair = in_repair
        self._places: dict[str, _Place] = {}
        self._pools: dict[str, _Tally] = {}
        self._drivers: Counter[str] = Counter()
        self._adopted = 0
        self._tainted = 0  # with our key, whether it takes a place or not
        self.generation = 0
        # of a generation, from this time on: nobody was tainted within a minute
        self._quiet: tuple[int, int, Mapping[str, PoolCounts]] | None = None
        self._soft: tuple[int, Mapping[str, tuple[str, ...]]] = (0, {})

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def put(self, view: NodeView) -> None:
        """A node is new, or as it is now."""
        pool = pool_of(view, self._policy)
        standing = standing_of(view, pool, self._policy, in_repair=self._in_repair(view))
        driver = driver_of(view, self._policy)
        place = _Place(view, pool.name, driver, standing)
        known = self._places.get(view.name)
        if known is not None and known.counted == place.counted:
            self._places[view.name] = place
            return
        if known is not None:
            self._count(view.name, known, -1)
        self._places[view.name] = place
        self._count(view.name, place, 1)
        self.generation += 1

    def drop(self, name: str) -> None:
        """A node is gone, or no longer managed."""
        known = self._places.pop(name, None)
        if known is not None:
            self._count(name, known, -1)
            self.generation += 1

    def use(self, policy: Policy) -> None:
        """Count all nodes again by this policy."""
        views = [place.view for place in self._places.values()]
        self._policy = policy
        self._places, self._pools = {}, {}
        self._drivers = Counter()
        self._adopted = self._tainted = 0
        for view in views:
            self.put(view)
        self.generation += 1

    def totals(self) -> tuple[int, int, int]:
        """(managed, tainted, adopted) nodes of all pools."""
        return len(self._places), self._tainted, self._adopted

    def pools(self, now_ns: int) -> Mapping[str, PoolCounts]:
        """The numbers of each pool that has nodes."""
        known = self._quiet
        if known is not None and known[0] == self.generation and known[1] <= now_ns:
            return known[2]
        since_ns = now_ns - 60 * NS
        pools = {
            name: PoolCounts(
                managed=tally.managed,
                tainted=tally.taints,
                taint_times_ns=tuple(sorted(t for t in tally.times_ns.values() if t > since_ns)),
                unavailable=tally.unavailable,
            )
            for name, tally in self._pools.items()
        }
        recent = any(counts.taint_times_ns for counts in pools.values())
        self._quiet = None if recent else (self.generation, now_ns, pools)
        return pools

    def drivers(self) -> Mapping[str, int]:
        """Managed nodes per driver version; those without a label count under ""."""
        return dict(self._drivers)

    def groups(self, names: Iterable[str]) -> Mapping[str, tuple[str, str]]:
        """Pool and driver version of these nodes."""
        places = {name: self._places[name] for name in names if name in self._places}
        return {name: (place.pool, place.driver) for name, place in places.items()}

    def displaceable(self) -> Mapping[str, tuple[str, ...]]:
        """Per pool the nodes that may give their taint up, the weakest proof first."""
        if self._soft[0] != self.generation:
            soft = {
                name: tuple(sorted(tally.soft, key=partial(_weakest, tally.soft)))
                for name, tally in self._pools.items()
                if tally.soft
            }
            self._soft = (self.generation, soft)
        return self._soft[1]

    def _count(self, name: str, place: _Place, sign: int) -> None:
        tally = self._pools.setdefault(place.pool, _Tally())
        tally.add(name, place.standing, sign)
        if not tally.managed:
            del self._pools[place.pool]
        self._drivers[place.driver] += sign
        if not self._drivers[place.driver]:
            del self._drivers[place.driver]
        taken = place.standing.taken
        self._adopted += sign * (taken is Taken.ADOPTED)
        self._tainted += sign * (taken.a_taint or taken is Taken.HELD)


def _weakest(soft: Mapping[str, tuple[int, int]], name: str) -> tuple[int, int, str]:
    trust, first_ns = soft[name]
    return (-trust, -first_ns, name)
