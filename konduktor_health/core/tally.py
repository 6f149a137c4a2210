"""How do nodes count in their pools? For those who see all Nodes at once; pure.

The controller keeps the same numbers by changes (``runtime.census``); both rest on
``core.standing``, so that a command says what the controller would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from konduktor_health.core.pools import pool_of
from konduktor_health.core.standing import Standing, Taken, standing_of
from konduktor_health.frozen import replace
from konduktor_health.model import FleetView, NodeView, Policy, Pool, PoolCounts


@dataclass(frozen=True, slots=True)
class Counted:
    """Nodes by pool, and how they stand there."""

    pools: Mapping[str, Pool] = field(default_factory=dict)  # those with nodes
    counts: Mapping[str, PoolCounts] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)  # tainted weakly, for want of a place

    @property
    def fleet(self) -> FleetView:
        """The counts as ``core.budget`` takes them."""
        return replace(FleetView(), pools=self.counts)


def counted(
    views: Iterable[NodeView], policy: Policy, *, tainted_too: Collection[str] = ()
) -> Counted:
    """The managed nodes ``views`` by pool. Nodes named in ``tainted_too`` count as if our taint
    were on them."""
    pools: dict[str, Pool] = {}
    managed: Counter[str] = Counter()
    taken: Counter[tuple[str, Taken]] = Counter()
    times: dict[str, list[int]] = {}
    for view in views:
        pool = pool_of(view, policy)
        standing = standing_of(view, pool, policy)
        if view.name in tainted_too and not standing.taken.a_taint:
            standing = Standing(Taken.TAINT)
        pools[pool.name] = pool
        managed[pool.name] += 1
        taken[pool.name, standing.taken] += 1
        if standing.tainted_ns:
            times.setdefault(pool.name, []).append(standing.tainted_ns)
    counts = {
        name: PoolCounts(
            managed=managed[name],
            tainted=sum(taken[name, each] for each in Taken if each.a_taint),
            taint_times_ns=tuple(sorted(times.get(name, ()))),
            unavailable=taken[name, Taken.UNAVAILABLE],
        )
        for name in pools
    }
    held = {name: taken[name, Taken.HELD] for name in pools}
    return Counted(pools, counts, held)
