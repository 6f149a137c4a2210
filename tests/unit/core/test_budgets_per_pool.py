"""A pool has a budget of its own; pools of one label bound each other; one node may always go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.budget import Allowance, Budgets, allowance, held_effect_of
from konduktor_health.core.pools import family, pool_of, share
from konduktor_health.model import (
    DEFAULT_POOL,
    FleetView,
    HoldReason,
    NodeView,
    Policy,
    Pool,
    PoolCounts,
)
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect
from tests.support.builders import NOW, node, policy

ZONES = Pool("zone", label="zone", percent=50, max_nodes=3, rate_per_minute=0)
TRAINING = Pool("training", nodes=parse_selector("use=training"), percent=25, max_nodes=2)
POOLS = (TRAINING, ZONES)


def labelled(name: str, **labels: str) -> NodeView:
    return node(name, labels=tuple(sorted(labels.items())))


def spent(budgets: Budgets, view: NodeView, most: int = 100) -> int:
    """How many taints the node's pool allows."""
    for number in range(most):
        if budgets.of(view).refusal():
            return number
        budgets.of(view).spend(NOW)
    return most


def test_a_node_is_in_the_first_pool_that_takes_it() -> None:
    rules = policy(pools=POOLS)
    assert pool_of(labelled("a", use="training", zone="eu"), rules).name == "training"
    assert pool_of(labelled("b", zone="eu"), rules).name == "zone/eu"
    assert pool_of(labelled("c"), rules).name == DEFAULT_POOL
    assert family(pool_of(labelled("b", zone="eu"), rules)) == "zone"
    assert family(TRAINING) == "training"


def test_one_pool_that_is_full_does_not_hold_another() -> None:
    fleet = FleetView(
        managed=30,
        pools={"training": PoolCounts(10, 2), "zone/eu": PoolCounts(20, 0)},
    )
    budgets = Budgets(fleet, policy(pools=POOLS), NOW)
    refusal = budgets.of(labelled("a", use="training")).refusal()
    assert refusal is not None
    assert refusal[0] is HoldReason.BUDGET
    assert "of pool training exhausted" in refusal[1]
    assert budgets.of(labelled("b", zone="eu")).refusal() is None


def test_pools_of_one_label_have_the_absolute_bound_in_common() -> None:
    fleet = FleetView(
        managed=100, pools={f"zone/{n}": PoolCounts(1) for n in range(50)}
    )  # every node in a pool of its own: each may be tainted, all may not
    budgets = Budgets(fleet, policy(pools=POOLS, rate_per_minute=0), NOW)
    assert sum(spent(budgets, labelled(f"gpu-{n}", zone=str(n)), 1) for n in range(50)) == 3
    refusal = budgets.of(labelled("gpu-40", zone="40")).refusal()
    assert refusal is not None
    assert "in all pools of zone together, 3 may be" in refusal[1]


def test_the_rate_is_common_to_pools_of_one_label() -> None:
    zones = Pool("zone", label="zone", rate_per_minute=2)
    taints = (NOW - 10 * NS,)
    fleet = FleetView(
        pools={"zone/a": PoolCounts(90, 0, taints), "zone/b": PoolCounts(90, 0, taints)}
    )
    refusal = Budgets(fleet, policy(pools=(zones,)), NOW).of(labelled("n", zone="a")).refusal()
    assert refusal is not None
    assert (refusal[0], refusal[2]) == (HoldReason.RATE, NOW + 50 * NS)


def test_unavailable_nodes_take_from_the_budget() -> None:
    fleet = FleetView(pools={"training": PoolCounts(8, 1, unavailable=1)})
    refusal = Budgets(fleet, policy(pools=POOLS), NOW).of(labelled("a", use="training")).refusal()
    assert refusal is not None
    assert "2 nodes are tainted or unavailable (1), 2 may be" in refusal[1]


@pytest.mark.parametrize("percent", [1e-9, 0.1, 10.0, 100.0])
@pytest.mark.parametrize("managed", [1, 2, 7])
def test_one_node_may_be_tainted_in_the_smallest_pool(managed: int, percent: float) -> None:
    fleet = FleetView(pools={DEFAULT_POOL: PoolCounts(managed)})
    assert allowance(fleet, policy(budget_percent=percent), NOW).refusal() is None


def test_a_pool_without_nodes_allows_nothing_and_does_no_harm() -> None:
    fleet = FleetView(managed=5, pools={"training": PoolCounts(5)})
    empty = allowance(fleet, policy(), NOW)
    assert (empty.limit, empty.tainted) == (0, 0)
    assert empty.refusal() is not None


@pytest.mark.parametrize(
    ("nodes", "percent", "rounded"), [(1000, 1.1, 11), (11, 10, 2), (10, 10, 1), (0, 10, 0)]
)
def test_shares_are_rounded_up(nodes: int, percent: float, rounded: int) -> None:
    assert share(nodes, percent) == rounded


@pytest.mark.parametrize(
    ("set_to", "gives"),
    [
        (None, None),
        (Effect.LABEL, Effect.LABEL),
        (Effect.PREFER_NO_SCHEDULE, Effect.PREFER_NO_SCHEDULE),
        (Effect.NO_SCHEDULE, Effect.PREFER_NO_SCHEDULE),
        (Effect.NO_EXECUTE, Effect.PREFER_NO_SCHEDULE),
    ],
)
def test_what_the_budget_holds_never_keeps_pods_out(
    set_to: Effect | None, gives: Effect | None
) -> None:
    assert held_effect_of(policy(held_effect=set_to), fatal=True) is gives
    assert held_effect_of(policy(held_effect=set_to), fatal=False) is None


counts = st.builds(
    PoolCounts,
    managed=st.integers(0, 200),
    tainted=st.integers(0, 30),
    taint_times_ns=st.lists(st.integers(NOW - 70 * NS, NOW + NS), max_size=12).map(tuple),
    unavailable=st.integers(0, 30),
)
sized = st.fixed_dictionaries(
    {
        "percent": st.floats(0.001, 100),
        "max_nodes": st.integers(1, 40),
        "rate_per_minute": st.integers(0, 12),
    }
)
zones = st.sampled_from(["a", "b", "c"])


@given(
    st.dictionaries(st.sampled_from(["zone/a", "zone/b", "zone/c", "default"]), counts),
    sized,
    st.lists(st.one_of(st.none(), zones), max_size=60),
)
def test_budgets_are_never_exceeded_whatever_the_fleet(
    pools: dict[str, PoolCounts], numbers: dict[str, Any], wanting: list[str | None]
) -> None:
    rules = policy(pools=(Pool("zone", label="zone", **numbers),))
    fleet = FleetView(managed=sum(c.managed for c in pools.values()), pools=pools)
    budgets = Budgets(fleet, rules, NOW)
    added: dict[str, int] = {}
    for number, zone in enumerate(wanting):
        view = labelled(f"n{number}", **({"zone": zone} if zone else {}))
        if budgets.of(view).refusal() is None:
            budgets.of(view).spend(NOW)
            name = pool_of(view, rules).name
            added[name] = added.get(name, 0) + 1
    for name, more in added.items():
        before = pools[name]
        assert before.tainted + before.unavailable + more <= budgets.by_pool[name].share
    together = [c for name, c in pools.items() if name.startswith("zone/")]
    in_zones = sum(more for name, more in added.items() if name.startswith("zone/"))
    if in_zones:
        taken = sum(c.tainted + c.unavailable for c in together)
        assert taken + in_zones <= numbers["max_nodes"]
        recent = sum(NOW - 60 * NS < t <= NOW for c in together for t in c.taint_times_ns)
        rate = numbers["rate_per_minute"]
        assert rate == 0 or recent + in_zones <= rate


@given(counts, sized)
def test_the_refusal_of_a_pool_is_what_its_numbers_say(
    found: PoolCounts, numbers: dict[str, Any]
) -> None:
    pool = Pool("training", **numbers)
    fleet = FleetView(pools={"training": found})
    one: Allowance = allowance(fleet, Policy(), NOW, pool)
    refusal = one.refusal()
    if found.managed and not found.tainted and not found.unavailable and not one.too_fast():
        assert refusal is None
    if found.tainted + found.unavailable >= max(1, one.limit):
        assert refusal is not None
        assert refusal[0] is HoldReason.BUDGET
