"""Counts per pool follow each change; a node counts in one pool, once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.ledger import Ledger, Record, render
from konduktor_health.model import NodeView, Pool, PoolCounts, Remedy, Severity, Taint, Trust
from konduktor_health.runtime.census import Census
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, node, policy

POOLS = (
    Pool("gold", nodes=parse_selector("tier=gold"), count_unready=True, count_cordoned=True),
    Pool("zone", label="zone"),
)
SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")
HARD = Taint(KEYS.taint, "true", "NoSchedule")


def view(name: str, **fields: Any) -> NodeView:
    labels = fields.pop("labels", {})
    return node(name, labels=tuple(sorted(labels.items())), **fields)


def owned(
    name: str, *, first_ns: int = NOW, trust: Trust = Trust.KERNEL, **fields: Any
) -> NodeView:
    record = Record(
        "", "xid/92", Severity.DEGRADED, Remedy.NONE, first_ns, first_ns, 1, trust=trust
    )
    ledger = Ledger(f"uid-{name}", owned=(SOFT.effect,), tainted_ns=NOW, records=(record,))
    return view(name, taints=(SOFT,), ledger=render(ledger), **fields)


def made(*views: NodeView, **rules: Any) -> Fleet:
    fleet = Fleet(KEYS, lambda: NOW, policy=policy(**rules))
    for each in views:
        fleet.changed(None, each)
    return fleet


def test_each_pool_has_its_numbers() -> None:
    fleet = made(
        view("a", labels={"tier": "gold", "zone": "eu"}, ready=False),
        view("b", labels={"zone": "eu"}, ready=False),
        owned("c", labels={"zone": "eu"}),
        view("d", taints=(HARD,)),
        pools=POOLS,
    )
    assert fleet.view(NOW, {}).pools == {
        "gold": PoolCounts(1, 0, (), 1),
        "zone/eu": PoolCounts(2, 1, (NOW,), 0),
        "default": PoolCounts(1, 1, (), 0),
    }
    assert fleet.counts() == (4, 2, 1)


def test_what_wakes_held_nodes_changes_with_any_pools_counts_and_with_nothing_else() -> None:
    gold = view("a", labels={"tier": "gold"})
    other = view("b")
    fleet = made(gold, other, pools=POOLS)

    def moved(old: NodeView, new: NodeView | None) -> bool:
        before = fleet.generation()
        fleet.changed(old, new)
        return fleet.generation() != before

    assert not moved(gold, view("a", labels={"tier": "gold"}, resource_version="2"))
    assert moved(gold, view("a", labels={"tier": "gold"}, ready=False))
    assert moved(gold, view("a", labels={"tier": "gold"}, unschedulable=False))
    assert not moved(other, view("b", ready=False))  # the pool does not count it
    assert moved(other, view("b", labels={"zone": "eu"}))  # into another pool
    assert moved(other, None)
    assert fleet.view(NOW, {}).pools == {"gold": PoolCounts(1)}


def test_other_policy_counts_all_nodes_again() -> None:
    fleet = made(view("a", labels={"zone": "eu"}), owned("b", labels={"zone": "us"}))
    before = fleet.generation()
    assert set(fleet.view(NOW, {}).pools) == {"default"}
    fleet.use(policy(pools=POOLS))
    assert fleet.generation() != before
    assert fleet.view(NOW, {}).pools == {
        "zone/eu": PoolCounts(1),
        "zone/us": PoolCounts(1, 1, (NOW,)),
    }
    assert fleet.counts() == (2, 1, 0)


def test_own_write_counts_in_its_pool_at_once() -> None:
    plain = view("a", labels={"zone": "eu"})
    fleet = made(plain, pools=POOLS)
    fleet.wrote(owned("a", labels={"zone": "eu"}))
    assert fleet.view(NOW, {}).pools["zone/eu"] == PoolCounts(1, 1, (NOW,))
    fleet.wrote(owned("gone", labels={"zone": "eu"}))
    assert fleet.counts() == (1, 1, 0)


def test_taints_of_more_than_a_minute_ago_are_no_rate() -> None:
    fleet = made(owned("a"))
    assert fleet.view(NOW + 61 * NS, {}).pools["default"] == PoolCounts(1, 1)


def test_degraded_nodes_are_listed_with_the_weakest_first() -> None:
    fleet = made(
        owned("old", first_ns=NOW - NS),
        owned("young"),
        owned("probed", first_ns=NOW - 9 * NS, trust=Trust.PROBE),
        owned("young-too"),
    )
    assert fleet.displaceable() == {"default": ("probed", "young", "young-too", "old")}


def test_nodes_in_repair_are_unavailable() -> None:
    fleet = Fleet(KEYS, lambda: NOW, policy=policy(), in_repair=lambda each: each.name == "a")
    fleet.changed(None, view("a"))
    fleet.changed(None, view("b"))
    assert fleet.view(NOW, {}).pools["default"] == PoolCounts(2, unavailable=1)


def test_where_sighted_nodes_are_comes_with_the_counts() -> None:
    driver = "nvidia.com/cuda.driver-version.full"
    fleet = made(view("a", labels={"zone": "eu", driver: "580.1"}), view("b"), pools=POOLS)
    found = fleet.view(NOW, {"xid/79": {"a": NOW, "b": NOW, "gone": NOW}})
    assert found.groups == {"a": ("zone/eu", "580.1"), "b": ("default", "")}
    assert found.drivers == {"580.1": 1, "": 1}


names = st.integers(0, 5).map(lambda n: f"n{n}")
views = st.builds(
    lambda name, labels, ready, cordoned, kind: (
        owned(name, labels=labels, ready=ready, unschedulable=cordoned)
        if kind == "owned"
        else view(
            name,
            labels=labels,
            ready=ready,
            unschedulable=cordoned,
            taints=(HARD,) if kind == "adopted" else (),
        )
    ),
    names,
    st.dictionaries(st.sampled_from(["tier", "zone"]), st.sampled_from(["gold", "eu"])),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["plain", "owned", "adopted"]),
)
changes = st.lists(st.one_of(views, names), max_size=40)


def counted(census: Census, now_ns: int = NOW) -> tuple[object, ...]:
    return census.totals(), census.pools(now_ns), census.drivers(), census.displaceable()


def afresh(there: dict[str, NodeView]) -> Census:
    fresh = Census(policy(pools=POOLS), lambda _view: False)
    for each in there.values():
        fresh.put(each)
    return fresh


@given(st.lists(st.tuples(st.one_of(views, names), st.sampled_from([0, 59, 61, 300])), max_size=12))
def test_counts_that_are_asked_for_again_are_those_of_now(
    history: list[tuple[NodeView | str, int]],
) -> None:
    """Whatever was kept of the answer before; the clock may go back."""
    census = Census(policy(pools=POOLS), lambda _view: False)
    there: dict[str, NodeView] = {}
    for each, after_s in history:
        if isinstance(each, str):
            there.pop(each, None)
            census.drop(each)
        else:
            there[each.name] = each
            census.put(each)
        for seconds in (after_s, 300, after_s):
            now_ns = NOW + seconds * NS
            assert counted(census, now_ns) == counted(afresh(there), now_ns)


@given(changes)
def test_counts_by_change_are_those_of_counting_afresh(history: list[NodeView | str]) -> None:
    rules = policy(pools=POOLS)
    census = Census(rules, lambda _view: False)
    there: dict[str, NodeView] = {}
    for each in history:
        if isinstance(each, str):
            there.pop(each, None)
            census.drop(each)
        else:
            there[each.name] = each
            census.put(each)
    fresh = Census(rules, lambda _view: False)
    for each in there.values():
        fresh.put(each)
    assert counted(census) == counted(fresh)
    pools = census.pools(NOW).values()
    assert sum(pool.managed for pool in pools) == len(there)  # exactly one pool each
    assert all(pool.tainted + pool.unavailable <= pool.managed for pool in pools)  # and once
    census.use(rules)
    assert counted(census) == counted(fresh)
