"""Is the right node, pair or switch named, and nobody else?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from konduktor_health.core.accusation import Accusation, Blamed
from konduktor_health.core.blame import blame
from konduktor_health.core.pair_tests import (
    Member,
    PairKey,
    PairOutcome,
    PairResult,
    Seen,
    pair_key,
)
from konduktor_health.core.rounds import RoundOptions, RoundState, Shape, learned, plan_round
from tests.support.pair_world import LEAF, PairWorld, settle

BAD = (PairOutcome.SLOW, PairOutcome.LOSSY, PairOutcome.FAILED)


def leaves(sizes: Mapping[str, int]) -> dict[str, str]:
    return {f"{leaf}-{i:03}": leaf for leaf, size in sizes.items() for i in range(size)}


def named(accusations: tuple[Accusation, ...]) -> set[tuple[Blamed, tuple[str, ...]]]:
    """What is named: nodes by name, switches by the value of their label."""
    return {
        (each.blamed, tuple(v for _, v in each.domains) if each.domains else each.nodes)
        for each in accusations
    }


@st.composite
def topologies(draw: st.DrawFn, least: int = 3) -> dict[str, str]:
    """Two to five leaves of 3 to 9 nodes."""
    sizes = draw(st.lists(st.integers(least, 9), min_size=2, max_size=5))
    return leaves({f"leaf{i}": size for i, size in enumerate(sizes)})


options = st.builds(
    RoundOptions,
    shape=st.sampled_from(Shape),
    seed=st.integers(0, 2**32),
    most_follow_ups=st.just(20),
)


# ---------------------------------------------------------------- one culprit


@given(topologies(), options, st.data())
def test_a_healthy_network_accuses_nobody_and_asks_no_more(
    topology: dict[str, str], how: RoundOptions, data: st.DataObject
) -> None:
    found, _, planned = settle(PairWorld(topology), how, rounds=data.draw(st.integers(1, 3)))
    assert found.accusations == ()
    assert found.undecided == ()
    assert not any(test.follow_up for tests in planned for test in tests)


@given(topologies(), options, st.sampled_from(BAD), st.booleans(), st.data())
def test_a_bad_node_is_named_and_nobody_else(
    topology: dict[str, str],
    how: RoundOptions,
    kind: PairOutcome,
    silent: bool,
    data: st.DataObject,
) -> None:
    culprit = data.draw(st.sampled_from(sorted(topology)))
    world = PairWorld(topology, {culprit: kind}, silent=frozenset({culprit} if silent else ()))
    found, _, planned = settle(world, how)
    left_out = not any(culprit in (t.client, t.server) for tests in planned for t in tests)
    assert named(found.accusations) == (set() if left_out else {(Blamed.NODE, (culprit,))})
    assert all(each.outcome is kind for each in found.accusations)
    partners = {p for e in found.accusations for r in e.evidence for p in (r.client, r.server)}
    assert len(partners - {culprit}) >= 2 or left_out


@given(topologies(), options, st.sampled_from(BAD), st.data())
def test_a_bad_pair_is_named_and_neither_of_its_nodes(
    topology: dict[str, str], how: RoundOptions, kind: PairOutcome, data: st.DataObject
) -> None:
    pair = data.draw(
        st.lists(st.sampled_from(sorted(topology)), min_size=2, max_size=2, unique=True)
    )
    world = PairWorld(topology, bad_pairs={frozenset(pair): kind})
    found, _, planned = settle(world, how)
    met = any({t.client, t.server} == set(pair) for tests in planned for t in tests)
    assert named(found.accusations) == ({(Blamed.PAIR, tuple(sorted(pair)))} if met else set())
    assert found.accused() == frozenset()


@given(topologies(), options, st.data())
def test_a_dead_leaf_is_named_and_none_of_its_nodes(
    topology: dict[str, str], how: RoundOptions, data: st.DataObject
) -> None:
    leaf = data.draw(st.sampled_from(sorted(set(topology.values()))))
    found, _, planned = settle(PairWorld(topology, dead_leaves=frozenset({leaf})), how)
    others = {n for n, its in topology.items() if its != leaf}
    if any({t.client, t.server} <= others for t in planned[0]):  # else nobody is known to work
        assert named(found.accusations) == {(Blamed.DOMAIN, (leaf,))}
    assert found.accused() == frozenset()


@given(topologies(), options, st.data())
def test_a_leaf_that_is_cut_off_is_named_where_there_are_two_others(
    topology: dict[str, str], how: RoundOptions, data: st.DataObject
) -> None:
    values = sorted(set(topology.values()))
    leaf = data.draw(st.sampled_from(values))
    found, _, planned = settle(PairWorld(topology, cut_leaves=frozenset({leaf})), how)
    crossed = any(
        leaf in (topology[t.client], topology[t.server])
        and topology[t.client] != topology[t.server]
        for tests in planned
        for t in tests
    )
    if len(values) == 2:
        expected = {(Blamed.APART, tuple(values))} if crossed else set()
    else:
        expected = {(Blamed.DOMAIN, (leaf,))} if crossed else set()
    assert named(found.accusations) <= expected
    assert found.accused() == frozenset()


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("seed", range(20))
def test_a_cut_leaf_is_found_within_two_rounds(shape: Shape, seed: int) -> None:
    topology = leaves({"a": 6, "b": 6, "c": 6})
    world = PairWorld(topology, cut_leaves=frozenset({"b"}))
    how = RoundOptions(shape=shape, seed=seed, most_follow_ups=20)
    found, _, _ = settle(world, how, rounds=2)
    assert named(found.accusations) == {(Blamed.DOMAIN, ("b",))}


# ---------------------------------------------------------------- two culprits


@given(topologies(), options, st.sampled_from(BAD), st.sampled_from(BAD), st.data())
def test_two_bad_nodes_are_both_named_and_nobody_else(
    topology: dict[str, str],
    how: RoundOptions,
    one: PairOutcome,
    two: PairOutcome,
    data: st.DataObject,
) -> None:
    names = st.lists(st.sampled_from(sorted(topology)), min_size=2, max_size=2, unique=True)
    culprits = data.draw(names)
    world = PairWorld(topology, dict(zip(culprits, (one, two), strict=True)))
    found, _, planned = settle(world, how)
    met = {n for tests in planned for t in tests for n in (t.client, t.server)}
    assert named(found.accusations) == {(Blamed.NODE, (c,)) for c in culprits if c in met}


@given(topologies(4), options, st.data())
def test_a_bad_node_beside_a_dead_leaf(
    topology: dict[str, str], how: RoundOptions, data: st.DataObject
) -> None:
    leaf = data.draw(st.sampled_from(sorted(set(topology.values()))))
    others = sorted(n for n, its in topology.items() if its != leaf)
    culprit = data.draw(st.sampled_from(others))
    world = PairWorld(topology, {culprit: PairOutcome.FAILED}, dead_leaves=frozenset({leaf}))
    found, _, planned = settle(world, how)
    allowed = {(Blamed.DOMAIN, (leaf,)), (Blamed.NODE, (culprit,))}
    assert named(found.accusations) <= allowed
    known = {
        n for t in planned[0] for n in (t.client, t.server) if {t.client, t.server} <= set(others)
    }
    if len(known - {culprit}) >= 4:
        assert (Blamed.DOMAIN, (leaf,)) in named(found.accusations)


# ---------------------------------------------------------------- rules, one by one


def seen(*results: tuple[str, str, PairOutcome]) -> dict[PairKey, Seen]:
    return {
        pair_key(a, b, "eth0"): Seen(PairResult(a, b, "eth0", outcome), 0)
        for a, b, outcome in results
    }


def plain(*names: str) -> tuple[Member, ...]:
    return tuple(Member(name) for name in names)


OK, FAILED = PairOutcome.OK, PairOutcome.FAILED


def test_one_failing_pair_accuses_nobody() -> None:
    found = blame(seen(("a", "b", FAILED), ("c", "d", OK)), plain(*"abcd"))
    assert found.accusations == ()
    assert [each.node for each in found.questions] == ["a", "b"]
    assert len(found.undecided) == 1


def test_two_partners_that_work_with_nobody_accuse_nobody() -> None:
    found = blame(seen(("a", "b", FAILED), ("a", "c", FAILED), ("b", "c", FAILED)), plain(*"abc"))
    assert found.accusations == ()


def test_two_partners_that_work_with_others_accuse() -> None:
    results = seen(("a", "b", FAILED), ("a", "c", FAILED), ("b", "d", OK), ("c", "d", OK))
    (accusation,) = blame(results, plain(*"abcd")).accusations
    assert (accusation.blamed, accusation.nodes) == (Blamed.NODE, ("a",))
    assert accusation.message == "a: failed with b, c, which work with others"


def test_who_fails_with_two_dead_nodes_is_not_dead_itself() -> None:
    results = seen(("a", "dead1", FAILED), ("a", "dead2", FAILED), ("a", "b", OK), ("b", "c", OK))
    found = blame(results, plain("a", "b", "c", "dead1", "dead2"))
    assert "a" not in found.accused()


def test_a_node_that_works_with_more_than_it_fails_with_has_bad_pairs() -> None:
    results = seen(
        ("a", "b", FAILED), ("a", "c", FAILED), ("b", "x", OK), ("c", "x", OK),
        ("a", "d", OK), ("a", "e", OK), ("a", "f", OK),
    )  # fmt: skip
    found = blame(results, plain(*"abcdefx"))
    assert named(found.accusations) == {(Blamed.PAIR, ("a", "b")), (Blamed.PAIR, ("a", "c"))}


def test_what_was_not_measured_accuses_nobody() -> None:
    missing = PairOutcome.NOT_MEASURED
    results = seen(("a", "b", missing), ("a", "c", missing), ("b", "d", OK), ("c", "d", OK))
    found = blame(results, plain(*"abcd"))
    assert found.accusations == ()
    assert [each.node for each in found.questions] == ["a"]


def test_a_node_whose_tests_never_run_is_not_asked_for_ever() -> None:
    missing = PairOutcome.NOT_MEASURED
    results = seen(*(("a", other, missing) for other in "bcd"), ("b", "c", OK), ("d", "e", OK))
    assert blame(results, plain(*"abcde")).questions == ()


def test_the_same_on_two_interfaces_is_told_once() -> None:
    results = {
        pair_key(a, b, interface): Seen(PairResult(a, b, interface, outcome, "loss 100 %"), 0)
        for interface in ("eth0", "net1")
        for a, b, outcome in (
            ("a", "b", FAILED),
            ("a", "c", FAILED),
            ("b", "d", OK),
            ("c", "d", OK),
        )
    }
    (accusation,) = blame(results, plain(*"abcd")).accusations
    assert accusation.interfaces == ("eth0", "net1")
    assert accusation.message == (
        "a: failed with b, c, which work with others (loss 100 %) (on eth0, net1)"
    )


def test_an_interface_of_its_own_is_judged_by_itself() -> None:
    results = seen(("a", "b", OK), ("c", "d", OK), ("a", "c", OK)) | {
        pair_key(a, b, "net1"): Seen(PairResult(a, b, "net1", outcome), 0)
        for a, b, outcome in (("a", "b", FAILED), ("a", "c", FAILED), ("b", "c", OK))
    }
    (accusation,) = blame(results, plain(*"abcd")).accusations
    assert (accusation.nodes, accusation.interfaces) == (("a",), ("net1",))


def test_a_dead_leaf_explains_its_racks() -> None:
    racks = {f"n{i}": (f"leaf{i // 4}", f"rack{i // 2}") for i in range(12)}
    members = tuple(
        Member(n, ("eth0",), ((LEAF, leaf), ("topology/rack", rack)))
        for n, (leaf, rack) in racks.items()
    )
    results = [(f"n{i}", f"n{i + 4}", FAILED) for i in range(4)]
    results += [("n0", "n1", FAILED), ("n2", "n3", FAILED)]
    results += [(f"n{i}", f"n{i + 4}", OK) for i in range(4, 8)]
    (accusation,) = blame(seen(*results), members).accusations
    assert accusation.domains == ((LEAF, "leaf0"),)


@given(st.randoms(use_true_random=False), topologies(), options)
def test_the_order_of_results_does_not_matter(
    random: object, topology: dict[str, str], how: RoundOptions
) -> None:
    culprit = sorted(topology)[0]
    world = PairWorld(topology, {culprit: FAILED})
    _, state, _ = settle(world, how)
    items = list(state.seen.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert blame(dict(items), world.members) == blame(state.seen, world.members)


def test_a_pair_that_heals_is_no_longer_named() -> None:
    topology = leaves({"a": 3, "b": 3})
    how = RoundOptions(seed=3)
    world = PairWorld(topology, {"a-000": FAILED})
    found, state, _ = settle(world, how)
    assert found.accused() == {"a-000"}
    healed = replace(world, bad_nodes={})
    found, state, _ = settle(healed, how, rounds=3, state=state)
    assert found.accusations == ()


def test_a_plan_for_a_node_that_has_gone_is_not_made() -> None:
    world = PairWorld(leaves({"a": 3, "b": 3}), {"a-000": FAILED})
    how = RoundOptions(seed=3)
    tests = plan_round(_started(world, how), world.members, how, 0)
    assert any(test.server == "a-000" for test in tests)
    remaining = tuple(m for m in world.members if m.name != "a-000")
    tests = plan_round(_started(world, how), remaining, how, 0)
    assert not any("a-000" in (test.client, test.server) for test in tests)


def _started(world: PairWorld, how: RoundOptions) -> RoundState:
    tests = plan_round(RoundState(), world.members, how, 0)
    return learned(RoundState(), tests, world.run(tests), how, 0)
