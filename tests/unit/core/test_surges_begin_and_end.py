"""One fault on many nodes is held: on the fleet, in a pool, with one driver; until it is quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.budget import surges
from konduktor_health.core.ledger import Ledger, Record
from konduktor_health.core.resumed import (
    name_of,
    parse_request,
    parse_surges,
    released,
    render_request,
    render_surges,
)
from konduktor_health.core.surge import MAX_SURGES, follow, only_in_surge, surging, told
from konduktor_health.model import FleetView, Pool, PoolCounts, Remedy, Scope, Severity, Surge
from konduktor_health.timestamps import NS
from tests.support.builders import NOW, node, policy

ZONES = (Pool("zone", label="zone"),)
DRIVER = "nvidia.com/cuda.driver-version.full"


def fleet(
    sightings: dict[str, dict[str, int]],
    groups: dict[str, tuple[str, str]] | None = None,
    known: tuple[Surge, ...] = (),
) -> FleetView:
    """A thousand nodes: two zones, of 100 and of 900; one driver on 50 of them."""
    return FleetView(
        managed=1000,
        fatal_sightings=sightings,
        pools={"zone/eu": PoolCounts(100), "zone/us": PoolCounts(900)},
        groups=groups or {},
        drivers={"580.1": 50, "570.2": 950},
        surges=known,
    )


def showing(nodes: int, pool: str, driver: str, at_ns: int = NOW) -> Any:
    names = [f"{pool}-{driver}-{n}" for n in range(nodes)]
    return dict.fromkeys(names, at_ns), dict.fromkeys(names, (pool, driver))


def test_five_nodes_of_a_small_pool_are_a_surge_there_and_nowhere_else() -> None:
    seen, groups = showing(5, "zone/eu", "570.2")
    (surge,) = follow(fleet({"xid/79": seen}, groups), policy(), NOW)
    assert (surge.scope, surge.name, surge.nodes) == (Scope.POOL, "zone/eu", 5)
    held = surging(fleet({"xid/79": seen}, groups), policy(pools=ZONES), NOW)
    assert held.of(node(labels=(("zone", "eu"),))) == {"xid/79"}
    assert held.of(node(labels=(("zone", "us"),))) == frozenset()


def test_a_driver_that_breaks_its_nodes_is_a_surge_of_that_driver() -> None:
    seen: dict[str, int] = {}
    groups: dict[str, tuple[str, str]] = {}
    for pool in ("zone/eu", "zone/us"):
        some = showing(3, pool, "580.1")
        seen |= some[0]
        groups |= some[1]
    (surge,) = follow(fleet({"xid/119": seen}, groups), policy(), NOW)
    assert (surge.scope, surge.name) == (Scope.DRIVER, "580.1")
    held = surging(fleet({"xid/119": seen}, groups), policy(pools=ZONES), NOW)
    assert held.of(node(labels=((DRIVER, "580.1"),))) == {"xid/119"}
    assert held.of(node(labels=((DRIVER, "570.2"),))) == frozenset()


def test_a_surge_of_the_fleet_makes_narrower_ones_needless() -> None:
    seen, groups = showing(40, "zone/us", "580.1")
    (surge,) = follow(fleet({"xid/79": seen}, groups), policy(), NOW)
    assert (surge.scope, surge.name) == (Scope.FLEET, "")


def test_the_only_pool_and_the_only_driver_are_the_fleet() -> None:
    seen, groups = showing(5, "default", "570.2")
    one = FleetView(
        managed=1000,
        fatal_sightings={"xid/79": seen},
        pools={"default": PoolCounts(1000)},
        groups=groups,
        drivers={"570.2": 1000},
    )
    assert follow(one, policy(), NOW) == ()  # 5 of 1000 are not 3 %


def test_it_lasts_until_no_further_node_has_come_for_the_quiet_time() -> None:
    seen, _ = showing(40, "zone/us", "570.2")
    now = follow(fleet({"xid/79": seen}), policy(), NOW)
    late = NOW + 1700 * NS
    now = follow(fleet({"xid/79": {"one-more": late}}, known=now), policy(), late)
    assert [each.last_ns for each in now] == [late]
    assert now[0].since_ns == NOW
    still = follow(fleet({}, known=now), policy(), late + 1799 * NS)
    assert [each.key for each in still] == [each.key for each in now]
    assert follow(fleet({}, known=now), policy(), late + 1800 * NS) == ()


def test_one_node_long_after_a_surge_does_not_bring_it_back() -> None:
    stale = Surge("xid/79", Scope.FLEET, "", NOW - 9000 * NS, NOW - 8000 * NS, 40)
    assert follow(fleet({"xid/79": {"a": NOW}}, known=(stale,)), policy(), NOW) == ()


def test_released_surge_acts_and_does_not_begin_anew() -> None:
    seen, _ = showing(40, "zone/us", "570.2")
    now = follow(fleet({"xid/79": seen}), policy(), NOW)
    now = released(now, frozenset(map(name_of, now)), NOW + NS)
    later = NOW + 60 * NS
    more = seen | {f"more-{n}": later for n in range(40)}
    assert surges(fleet({"xid/79": more}, known=now), policy(), later) == frozenset()


def test_released_pool_does_not_release_the_fleet() -> None:
    seen, groups = showing(5, "zone/eu", "570.2")
    now = follow(fleet({"xid/79": seen}, groups), policy(), NOW)
    now = released(now, frozenset(map(name_of, now)), NOW)
    seen |= showing(40, "zone/us", "570.2")[0]
    assert surges(fleet({"xid/79": seen}, groups, now), policy(), NOW) == {"xid/79"}


def test_request_for_an_earlier_surge_releases_no_later_one() -> None:
    first = Surge("xid/79", Scope.FLEET, "", NOW, NOW, 40)
    second = replace(first, since_ns=NOW + 9000 * NS)
    request = parse_request(render_request([name_of(first)]))
    assert released((second,), request, NOW) == (second,)
    assert released((first,), request, NOW)[0].released_ns == NOW


def test_clock_set_back_does_not_make_a_surge_last_longer() -> None:
    ahead = Surge("xid/79", Scope.FLEET, "", NOW + 3600 * NS, NOW + 3600 * NS, 40)
    (now,) = follow(fleet({}, known=(ahead,)), policy(), NOW)
    assert now.last_ns == NOW
    assert follow(fleet({}, known=(now,)), policy(), NOW + 1800 * NS) == ()


def test_switched_off_nothing_is_held() -> None:
    seen, _ = showing(400, "zone/us", "570.2")
    known = (Surge("xid/48", Scope.FLEET, "", NOW, NOW, 40),)
    assert follow(fleet({"xid/79": seen}, known=known), policy(surge_enabled=False), NOW) == ()


@pytest.mark.parametrize(
    ("surge", "words"),
    [
        (Surge("xid/79", Scope.FLEET, "", 1, 1, 34), "xid/79 on 34 nodes"),
        (Surge("xid/79", Scope.POOL, "zone/eu", 1, 1, 5), "xid/79 on 5 nodes of pool zone/eu"),
        (Surge("xid/79", Scope.DRIVER, "\x1b[2J5", 1, 1, 5), "xid/79 on 5 nodes with driver"),
    ],
)
def test_a_surge_is_told_in_printable_words(surge: Surge, words: str) -> None:
    assert told(surge).startswith(words)
    assert told(surge).isprintable()


# ---------------------------------------------------------------- what it keeps from the Nodes


def record(fault_id: str, **fields: Any) -> Record:
    known: dict[str, Any] = {"severity": Severity.DEGRADED, "remedy": Remedy.NONE}
    return Record("", fault_id, first_ns=1, last_ns=1, count=1, **(known | fields))


def test_storm_of_node_writes_degraded_records_of_a_mass_event_are_not_news() -> None:
    held = frozenset({"xid/92"})
    before = Ledger(records=(record("xid/48"),))
    after = before.with_record(record("xid/92"))
    assert only_in_surge(before, after, held)
    assert only_in_surge(Ledger(), Ledger(records=(record("xid/92"),)), held)
    assert not only_in_surge(before, after.with_record(record("xid/31")), held)
    assert not only_in_surge(before, before, held)  # nothing new
    more = Ledger(records=(replace(record("xid/48"), count=7),))
    assert not only_in_surge(before, more, held)  # counts are no news


# ---------------------------------------------------------------- properties

known_surges = st.builds(
    Surge,
    st.sampled_from(["xid/79", "xid/48", "kernel/x"]),
    st.sampled_from(Scope),
    st.sampled_from(["", "zone/eu", "580.1"]),
    st.integers(NOW - 4000 * NS, NOW),
    st.integers(NOW - 4000 * NS, NOW + 4000 * NS),
    st.integers(0, 50),
    st.sampled_from([0, NOW]),
)
pairs = st.tuples(st.sampled_from(["zone/eu", "zone/us", ""]), st.sampled_from(["580.1", "570.2"]))


@given(
    st.dictionaries(
        st.sampled_from(["xid/79", "xid/48"]),
        st.dictionaries(
            st.integers(0, 60).map(str), st.integers(NOW - 900 * NS, NOW + 900 * NS), max_size=50
        ),
    ),
    st.dictionaries(st.integers(0, 60).map(str), pairs, max_size=60),
    st.lists(known_surges, max_size=5).map(tuple),
    st.floats(1, 4000),
)
def test_following_twice_is_following_once(
    seen: dict[str, dict[str, int]],
    groups: dict[str, tuple[str, str]],
    known: tuple[Surge, ...],
    quiet_s: float,
) -> None:
    rules = policy(surge_quiet_s=quiet_s, surge_percent=0.5)
    once = follow(fleet(seen, groups, known), rules, NOW)
    assert follow(fleet(seen, groups, once), rules, NOW) == once
    assert len(once) <= MAX_SURGES
    assert all(NOW - quiet_s * NS < each.last_ns <= NOW for each in once)


@given(st.lists(known_surges, max_size=5).map(tuple))
def test_stored_surges_come_back(known: tuple[Surge, ...]) -> None:
    assert parse_surges(render_surges(known)) == known
    names = {name_of(each) for each in known}
    assert parse_request(render_request(names)) == names


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=8,
)


@given(json_values, st.text())
def test_damaged_state_and_requests_count_as_none(stored: Any, text: str) -> None:
    assert parse_surges(stored) == ()
    assert parse_request(text) == frozenset()
