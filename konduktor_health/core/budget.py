"""How many more nodes may be tainted now? (docs/concepts/safety.md 4, docs/design/budgets.md)

Budgets count the managed nodes of a pool; rounding is up, so that in every pool one node may be
tainted, however small the pool. The pools of one label have ``max_nodes`` and the rate in common.
Budgets never block clearing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from konduktor_health.core.pools import family, pool_of, share
from konduktor_health.core.surge import surges
from konduktor_health.model import (
    DEFAULT_POOL,
    FleetView,
    HoldReason,
    NodeView,
    Policy,
    Pool,
    PoolCounts,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect

__all__ = ["Allowance", "Budgets", "Refusal", "allowance", "held_effect_of", "surges"]

Refusal = tuple[HoldReason, str, int | None]  # reason, sentence, when to look again (ns)


@dataclass(slots=True)
class Common:
    """What the pools of one label spend together."""

    max_nodes: int
    taken: int  # nodes that are tainted or unavailable
    recent_ns: list[int]  # when we tainted within the last minute, oldest first
    rate: int  # taints a minute; 0: no limit


@dataclass(slots=True)
class Allowance:
    """What is left to spend in a pool within one Plan; spend() is called for each taint planned."""

    policy: Policy
    pool: Pool
    share: int  # nodes of the pool that may be taken
    tainted: int  # nodes of the pool that are taken: tainted or unavailable
    unavailable: int  # how many of these we have not tainted
    common: Common
    pool_size: int = 0

    @property
    def limit(self) -> int:
        """Nodes of the pool that may be tainted."""
        return min(self.share, self.common.max_nodes)

    @property
    def room(self) -> int:
        """How many more nodes the counts allow to be tainted, whatever the rate."""
        if not self.policy.budget_enabled:
            return self.pool_size
        left = min(self.limit - self.tainted, self.common.max_nodes - self.common.taken)
        return max(0, left)

    def refusal(self) -> Refusal | None:
        """Why one more taint may not be: reason, sentence, when to look again (ns)."""
        return self._full() or self.too_fast()

    def too_fast(self) -> Refusal | None:
        """The refusal for the rate alone: what holds a node that has its place already."""
        rate, recent = self.common.rate, self.common.recent_ns
        if rate and len(recent) >= rate:
            sentence = f"{rate} nodes{self._where()} were tainted within the last minute"
            return (HoldReason.RATE, sentence, recent[-rate] + 60 * NS)
        return None

    def spend(self, now_ns: int) -> None:
        """Count one more taint."""
        self.tainted += 1
        self.common.taken += 1
        self.common.recent_ns.append(now_ns)

    def hasten(self, now_ns: int) -> None:
        """Count a taint that was made stronger: it has its place, and counts for the rate."""
        self.common.recent_ns.append(now_ns)

    def _full(self) -> Refusal | None:
        if not self.policy.budget_enabled:
            return None
        if self.tainted >= self.limit:
            counted = f"{self.tainted} nodes are tainted"
            if self.unavailable:
                counted += f" or unavailable ({self.unavailable})"
            sentence = f"budget{self._where()} exhausted: {counted}, {self.limit} may be"
            return (HoldReason.BUDGET, sentence, None)
        if self.common.taken >= self.common.max_nodes:
            together = f" in all pools of {family(self.pool)} together"
            sentence = f"budget exhausted: {self.common.taken} nodes are tainted{together}, "
            return (HoldReason.BUDGET, f"{sentence}{self.common.max_nodes} may be", None)
        return None

    def _where(self) -> str:
        return "" if self.pool.name == DEFAULT_POOL else f" of pool {self.pool.name}"


def allowance(fleet: FleetView, policy: Policy, now_ns: int, pool: Pool | None = None) -> Allowance:
    """What may be spent in a pool, given how the fleet is now; default: the pool ``default``."""
    pool = pool or policy.default_pool()
    return _allowance(fleet, policy, pool, _common(fleet, now_ns, pool))


@dataclass(slots=True)
class Budgets:
    """The allowances of all pools within one Plan."""

    fleet: FleetView
    policy: Policy
    now_ns: int
    by_pool: dict[str, Allowance] = field(default_factory=dict)
    by_family: dict[str, Common] = field(default_factory=dict)

    def of(self, view: NodeView) -> Allowance:
        """What may be spent in the node's pool."""
        pool = pool_of(view, self.policy)
        known = self.by_pool.get(pool.name)
        if known is None:
            common = self.by_family.get(family(pool))
            if common is None:
                common = self.by_family[family(pool)] = _common(self.fleet, self.now_ns, pool)
            known = _allowance(self.fleet, self.policy, pool, common)
            self.by_pool[pool.name] = known
        return known


def held_effect_of(policy: Policy, *, fatal: bool) -> Effect | None:
    """What a node gets that the budget holds; None: nothing. Never an effect that keeps pods off
    the node: that is what the budget is for."""
    effect = policy.held_effect if fatal else None
    if effect is not None and effect.rank > Effect.PREFER_NO_SCHEDULE.rank:
        return Effect.PREFER_NO_SCHEDULE
    return effect


def _allowance(fleet: FleetView, policy: Policy, pool: Pool, common: Common) -> Allowance:
    counts = fleet.pool(pool.name)
    return Allowance(
        policy=policy,
        pool=pool,
        share=max(1, share(counts.managed, pool.percent)) if counts.managed else 0,
        tainted=counts.tainted + counts.unavailable,
        unavailable=counts.unavailable,
        common=common,
        pool_size=counts.managed,
    )


def _common(fleet: FleetView, now_ns: int, pool: Pool) -> Common:
    together = list(_together(fleet, pool))
    times = [time for counts in together for time in counts.taint_times_ns]
    return Common(
        max_nodes=pool.max_nodes,
        taken=sum(counts.tainted + counts.unavailable for counts in together),
        # a time to come is of a clock that was set back since; it must not stop us until then
        recent_ns=sorted(time for time in times if now_ns - 60 * NS < time <= now_ns),
        rate=pool.rate_per_minute,
    )


def _together(fleet: FleetView, pool: Pool) -> Iterable[PoolCounts]:
    """The counts of all pools that spend together with this one."""
    if not pool.label or not fleet.pools:
        return [fleet.pool(pool.name)]
    start = f"{family(pool)}/"
    return (counts for name, counts in fleet.pools.items() if name.startswith(start))
