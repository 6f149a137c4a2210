"""Does a person's taint go beyond a pool's budget? It is not asked; it is told.

The numbers are the budgets' own (``core.tally``): nodes that are unavailable count, and a weak
taint that stands for a place which there was not does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from konduktor_health.core.budget import Allowance, allowance
from konduktor_health.core.managed import is_managed
from konduktor_health.core.pools import family, pool_of
from konduktor_health.core.tally import counted
from konduktor_health.model import NodeView, Policy


def overdrawn(
    views: Iterable[NodeView], more: Collection[str], policy: Policy, now_ns: int
) -> tuple[str, ...]:
    """A sentence for each pool that has more nodes taken than its budget allows once the nodes
    named ``more`` are tainted too; only pools of those nodes."""
    if not policy.budget_enabled:
        return ()
    every = [view for view in views if view.name in more or is_managed(view, policy.keys)]
    found = counted(every, policy, tainted_too=more)
    pools = {pool_of(view, policy).name for view in every if view.name in more}
    told: list[str] = []
    for name in sorted(pools):
        told += _beyond(allowance(found.fleet, policy, now_ns, found.pools[name]))
    return tuple(dict.fromkeys(told))


def _beyond(budget: Allowance) -> Iterator[str]:
    end = "the controller taints no other until there is room"
    if budget.tainted > budget.limit:
        counted_as = "tainted" + (
            f" or unavailable ({budget.unavailable})" if budget.unavailable else ""
        )
        yield (
            f"budget exceeded in pool {budget.pool.name}: {budget.tainted} nodes are then "
            f"{counted_as}, {budget.limit} may be; {end}"
        )
    elif budget.common.taken > budget.common.max_nodes:
        yield (
            f"budget exceeded in all pools of {family(budget.pool)} together: "
            f"{budget.common.taken} nodes are then taken, {budget.common.max_nodes} may be; {end}"
        )
