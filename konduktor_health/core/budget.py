"""How many more nodes may be tainted now, and is this a mass event? (docs/concepts/safety.md 4)

Budgets count the managed nodes; rounding is up, so that one node may always be tainted.
They never block clearing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from konduktor_health.core.pools import pool_of
from konduktor_health.model import FleetView, HoldReason, NodeView, Policy, Pool
from konduktor_health.timestamps import NS


@dataclass(slots=True)
class Allowance:
    """What is left to spend within one Plan; spend() is called for each taint planned."""

    policy: Policy
    limit: int  # nodes that may carry our taint
    tainted: int
    recent_ns: list[int]  # when we tainted within the last minute, oldest first
    rate: int  # taints a minute; 0: no limit

    def refusal(self) -> tuple[HoldReason, str, int | None] | None:
        """Why one more taint may not be: reason, sentence, when to look again (ns)."""
        if self.policy.budget_enabled and self.tainted >= self.limit:
            return (
                HoldReason.BUDGET,
                f"budget exhausted: {self.tainted} nodes are tainted, {self.limit} may be",
                None,
            )
        rate = self.rate
        if rate and len(self.recent_ns) >= rate:
            return (
                HoldReason.RATE,
                f"{rate} nodes were tainted within the last minute",
                self.recent_ns[-rate] + 60 * NS,
            )
        return None

    def spend(self, now_ns: int) -> None:
        """Count one more taint."""
        self.tainted += 1
        self.recent_ns.append(now_ns)


def allowance(fleet: FleetView, policy: Policy, now_ns: int, pool: Pool | None = None) -> Allowance:
    """What may be spent in a pool, given how the fleet is now; default: the pool ``default``."""
    pool = pool or policy.default_pool()
    counts = fleet.pool(pool.name)
    share = _share(counts.managed, pool.percent)
    # a time to come is of a clock that was set back since; it must not stop us until then
    recent = sorted(time for time in counts.taint_times_ns if now_ns - 60 * NS < time <= now_ns)
    return Allowance(
        policy=policy,
        limit=min(share, pool.max_nodes),
        tainted=counts.tainted + counts.unavailable,
        recent_ns=recent,
        rate=pool.rate_per_minute,
    )


@dataclass(slots=True)
class Budgets:
    """The allowances of all pools within one Plan."""

    fleet: FleetView
    policy: Policy
    now_ns: int
    by_pool: dict[str, Allowance] = field(default_factory=dict)

    def of(self, view: NodeView) -> Allowance:
        """What may be spent in the node's pool."""
        pool = pool_of(view, self.policy)
        known = self.by_pool.get(pool.name)
        if known is None:
            known = self.by_pool[pool.name] = allowance(self.fleet, self.policy, self.now_ns, pool)
        return known


def surges(fleet: FleetView, policy: Policy, now_ns: int) -> frozenset[str]:
    """Fault ids that so many nodes show at once that a common cause is likely.

    One fault id on max(surge_min_nodes, surge_percent of the managed nodes) within the window.
    """
    if not policy.surge_enabled:
        return frozenset()
    threshold = max(policy.surge_min_nodes, _share(fleet.managed, policy.surge_percent))
    oldest = now_ns - int(policy.surge_window_s * NS)
    return frozenset(
        fault_id
        for fault_id, nodes in fleet.fatal_sightings.items()
        if sum(1 for seen_ns in nodes.values() if seen_ns >= oldest) >= threshold
    )


def _share(nodes: int, percent: float) -> int:
    """Rounded up, but not because 1.1 * 1000 is a little more than 1100."""
    return math.ceil(round(nodes * percent / 100, 6))
