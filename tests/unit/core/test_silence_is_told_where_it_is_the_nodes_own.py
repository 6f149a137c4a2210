"""No data heals nothing and accuses nobody; a common cause writes no Node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.observation import may_be_shown, unobserved_nodes
from konduktor_health.core.pools import pool_of
from konduktor_health.model import Pool
from konduktor_health.timestamps import NS
from tests.support.builders import NOW, node, policy

LONG_AGO = NOW - 900 * NS
JUST_NOW = NOW - 899 * NS


def test_one_silent_node_is_told_on_its_node() -> None:
    views = [node(f"gpu-{n}") for n in range(20)]
    since = {view.name: JUST_NOW for view in views} | {"gpu-3": LONG_AGO}
    found = unobserved_nodes(views, since, policy(), NOW)
    assert found.silent == found.shown == {"gpu-3"}
    assert not found.crowded


def test_more_than_the_share_of_a_pool_is_a_common_cause() -> None:
    views = [node(f"gpu-{n}") for n in range(20)]
    since = {"gpu-1": LONG_AGO, "gpu-2": LONG_AGO}
    found = unobserved_nodes(views, since, policy(), NOW)
    assert found.silent == {"gpu-1", "gpu-2"}
    assert not found.shown
    assert found.crowded == {"default"}


def test_pools_are_judged_apart() -> None:
    pools = (Pool("zone", label="zone"),)
    views = [node(f"a-{n}", labels=(("zone", "a"),)) for n in range(4)]
    views += [node(f"b-{n}", labels=(("zone", "b"),)) for n in range(4)]
    since = {"a-0": LONG_AGO, "b-0": LONG_AGO, "b-1": LONG_AGO}
    found = unobserved_nodes(views, since, policy(pools=pools), NOW)
    assert found.shown == {"a-0"}
    assert found.crowded == {"zone/b"}


def test_a_source_that_is_not_read_is_no_nodes_fault() -> None:
    found = unobserved_nodes([node()], {"gpu-1": LONG_AGO}, policy(), NOW, excused={"gpu-1"})
    assert found.silent == {"gpu-1"}
    assert not found.shown


def test_a_node_whose_time_to_be_heard_has_not_begun_is_not_silent() -> None:
    assert not unobserved_nodes([node()], {}, policy(), NOW).silent


def test_shares_are_rounded_up_and_never_below_one() -> None:
    assert [may_be_shown(n, 5.0) for n in (1, 20, 21, 100, 10_000)] == [1, 1, 2, 5, 500]
    assert may_be_shown(10, 0.0) == 1


@given(
    st.dictionaries(
        st.sampled_from([f"gpu-{n}" for n in range(40)]), st.integers(NOW - 2000 * NS, NOW)
    ),
    st.integers(1, 40),
    st.floats(0, 100),
    st.sets(st.sampled_from([f"gpu-{n}" for n in range(40)])),
)
def test_never_more_than_the_share_is_shown(
    since: dict[str, int], size: int, percent: float, excused: set[str]
) -> None:
    views = [node(f"gpu-{n}", labels=(("zone", str(n % 3)),)) for n in range(size)]
    rules = policy(unobserved_percent=percent, pools=(Pool("zone", label="zone"),))
    found = unobserved_nodes(views, since, rules, NOW, excused=excused)
    assert found.shown <= found.silent <= {view.name for view in views}
    assert not found.shown & excused
    for name in {pool_of(view, rules).name for view in views}:
        members = {view.name for view in views if pool_of(view, rules).name == name}
        assert len(found.shown & members) <= may_be_shown(len(members), percent)
