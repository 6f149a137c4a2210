"""Which nodes test each other: each once at a time, all of them, the same each time."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from konduktor_health.core.pair_tests import Member, PairOutcome, PairResult, PairTest
from konduktor_health.core.pairings import random_pairs, ring_pairs
from konduktor_health.core.rounds import (
    RoundOptions,
    RoundState,
    Shape,
    batches,
    forget,
    learned,
    plan_round,
    taking_part,
)
from tests.support.pair_world import PairWorld, settle

HOUR = 3600 * 10**9


def members(count: int) -> tuple[Member, ...]:
    return tuple(Member(f"n{i:05}") for i in range(count))


def nodes(tests: tuple[PairTest, ...]) -> list[str]:
    return [name for test in tests for name in (test.client, test.server)]


@given(st.integers(0, 60), st.sampled_from(Shape), st.integers(0, 99), st.integers(0, 400))
def test_a_node_is_in_one_test_at_a_time_and_nobody_is_left_out(
    count: int, shape: Shape, seed: int, turn: int
) -> None:
    state = RoundState(rounds=turn)
    tests = plan_round(state, members(count), RoundOptions(shape=shape, seed=seed), 0)
    used = Counter(nodes(tests))
    assert max(used.values(), default=1) == 1
    if shape is Shape.RANDOM:
        assert len(tests) == count // 2


@given(st.integers(2, 25))
def test_a_ring_lets_all_meet_all_and_neighbours_first(count: int) -> None:
    met: list[frozenset[int]] = []
    for turn in range(3 * count):
        pairs = ring_pairs(range(count), turn)
        assert len({node for pair in pairs for node in pair}) == 2 * len(pairs)
        met += [frozenset(pair) for pair in pairs]
    everybody = {frozenset((a, b)) for a in range(count) for b in range(a)}
    assert set(met) == everybody
    neighbours = {frozenset((i, (i + 1) % count)) for i in range(count)}
    assert set(met[: len(neighbours)]) == neighbours


def test_random_rounds_differ_and_leave_out_another_node_each_time() -> None:
    plans = [random_pairs(range(9), 7, turn) for turn in range(40)]
    assert len({tuple(plan) for plan in plans}) == 40
    left_out = {next(iter(set(range(9)) - {n for pair in plan for n in pair})) for plan in plans}
    assert left_out == set(range(9))


def test_another_process_plans_the_same() -> None:
    code = (
        "from konduktor_health.core.pairings import random_pairs;"
        "print(random_pairs(['a','b','c','d','e','f'], 5, 3))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert said == {f"{random_pairs(list('abcdef'), 5, 3)}\n"}


def test_the_client_changes() -> None:
    how = RoundOptions(seed=1)
    clients = Counter(
        test.client
        for turn in range(200)
        for test in plan_round(RoundState(rounds=turn), members(6), how, 0)
    )
    assert all(60 <= clients[f"n{i:05}"] <= 140 for i in range(6))


def test_a_round_comes_when_it_is_due() -> None:
    how = RoundOptions(interval_ns=HOUR)
    world = PairWorld(dict.fromkeys("abcd", "leaf"))
    tests = plan_round(RoundState(), world.members, how, 5)
    state = learned(RoundState(), tests, world.run(tests), how, 5)
    assert plan_round(state, world.members, how, HOUR + 4) == ()
    assert plan_round(state, world.members, how, HOUR + 5) != ()


def test_an_interval_of_nothing_is_no_round() -> None:
    assert plan_round(RoundState(), members(4), RoundOptions(interval_ns=0), 10 * HOUR) == ()


def test_only_shared_interfaces_are_tested() -> None:
    pair = (Member("a", ("eth0", "net1", "net2")), Member("b", ("net2", "eth0")))
    (test,) = plan_round(RoundState(), pair, RoundOptions(), 0)
    assert set(test.interfaces) == {"eth0", "net2"}
    nothing = (Member("a", ("net1",)), Member("b", ("net2",)))
    assert plan_round(RoundState(), nothing, RoundOptions(), 0) == ()


def test_hosts_are_chosen_and_nodes_in_a_test_are_left_alone() -> None:
    chosen = taking_part(
        [Member("c"), Member("a"), Member("b"), Member("a")],
        hosts=frozenset({"a", "b", "nobody"}),
        without=frozenset({"b"}),
    )
    assert chosen == (Member("a"),)
    assert len(taking_part(members(4), without=frozenset())) == 4


@given(st.integers(0, 50), st.integers(0, 20))
def test_batches_hold_all_tests_in_order(count: int, size: int) -> None:
    tests = tuple(PairTest(f"a{i}", f"b{i}", ("eth0",)) for i in range(count))
    parts = list(batches(tests, size))
    assert tuple(test for part in parts for test in part) == tests
    assert all(0 < len(part) <= (size or count) for part in parts)


def test_a_plan_is_no_larger_than_asked() -> None:
    how = RoundOptions(most_pairs=3)
    assert len(plan_round(RoundState(), members(100), how, 0)) == 3


def test_what_was_not_measured_does_not_take_the_place_of_a_result() -> None:
    how = RoundOptions()
    good = PairResult("a", "b", "eth0", PairOutcome.OK)
    state = learned(RoundState(), (PairTest("a", "b", ("eth0",)),), [good], how, 1)
    missing = PairResult("b", "a", "eth0", PairOutcome.NOT_MEASURED)
    state = learned(state, (PairTest("b", "a", ("eth0",)),), [missing], how, 2)
    assert [each.result for each in state.seen.values()] == [good]


def test_old_results_are_forgotten_and_repaired_nodes_begin_anew() -> None:
    how = RoundOptions(window_ns=HOUR)
    world = PairWorld(dict.fromkeys("abcd", "leaf"))
    tests = plan_round(RoundState(), world.members, how, 0)
    state = learned(RoundState(), tests, world.run(tests), how, 0)
    assert len(state.seen) == 2
    assert len(forget(state, frozenset("a")).seen) == 1
    assert learned(state, (), (), how, HOUR + 1).seen == {}


def test_follow_ups_end_where_nobody_is_known_to_work() -> None:
    world = PairWorld({f"n{i}": f"leaf{i % 2}" for i in range(8)})
    world.dead_leaves = frozenset({"leaf0", "leaf1"})
    found, _, planned = settle(world, RoundOptions())
    assert (len(planned), found.accusations) == (1, ())
    assert len(found.undecided) == 4


def test_follow_ups_are_bounded() -> None:
    """Half of all pairs fail at random: no explanation fits, and it ends all the same."""
    world = PairWorld({f"n{i:02}": f"leaf{i % 4}" for i in range(24)})
    names = sorted(world.leaf_of)
    world.bad_pairs = {
        frozenset((a, b)): PairOutcome.LOSSY
        for i, a in enumerate(names)
        for b in names[:i]
        if (i * 7 + int(b[1:]) * 13) % 2
    }
    _, _, planned = settle(world, RoundOptions(most_follow_ups=5))
    assert len(planned) <= 6


@pytest.mark.parametrize("count", [100, 1000, 4000])
def test_tests_grow_with_the_nodes_and_no_faster(count: int) -> None:
    """Ten bad nodes, whatever the size: a round is n/2 tests, and follow-ups are few."""
    world = PairWorld({f"n{i:05}": f"leaf{i // 20}" for i in range(count)})
    world.bad_nodes = {f"n{i * count // 10:05}": PairOutcome.FAILED for i in range(10)}
    found, state, planned = settle(world, RoundOptions(seed=count))
    assert found.accused() == set(world.bad_nodes)
    assert len(planned[0]) == count // 2
    assert sum(len(tests) for tests in planned[1:]) <= 60
    assert len(state.seen) <= count // 2 + 60
