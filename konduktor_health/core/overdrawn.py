"""Does a person's taint go beyond a pool's budget? It is not asked; it is told.

The numbers are those of ``core.budget``: managed nodes of the pool, and those with our key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from konduktor_health.core.budget import allowance
from konduktor_health.core.managed import is_managed
from konduktor_health.core.pools import pool_of
from konduktor_health.core.reset import our_taints
from konduktor_health.model import FleetView, NodeView, Policy, Pool, PoolCounts


def overdrawn(
    views: Iterable[NodeView], more: Collection[str], policy: Policy, now_ns: int
) -> tuple[str, ...]:
    """A sentence for each pool that has more tainted nodes than its budget allows once the nodes
    named ``more`` are tainted too; only pools of those nodes."""
    if not policy.budget_enabled:
        return ()
    managed: Counter[str] = Counter()
    tainted: Counter[str] = Counter()
    pools: dict[str, Pool] = {}
    for view in views:
        named = view.name in more
        if not (named or is_managed(view, policy.keys)):
            continue
        pool = pool_of(view, policy)
        managed[pool.name] += 1
        tainted[pool.name] += named or bool(our_taints(view, policy.keys))
        if named:
            pools[pool.name] = pool
    counts = {name: PoolCounts(managed[name], tainted[name]) for name in pools}
    fleet = replace(FleetView(), pools=counts)
    told = []
    for name, pool in sorted(pools.items()):
        budget = allowance(fleet, policy, now_ns, pool)
        if budget.tainted > budget.limit:
            told.append(
                f"budget exceeded in pool {name}: {budget.tainted} nodes are then tainted, "
                f"{budget.limit} may be; the controller taints no other until there is room"
            )
    return tuple(told)
