"""ping and iperf3 for real, between network namespaces: who is to blame for what is wrong?

The controller's core plans the rounds and judges; each node's checks run in its own namespace, with
the real programs. Between the two stands the wire schema.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from konduktor_health.adapters.pair_results import (
    Rate,
    both,
    ping_outcome,
    rate_outcome,
    rates,
    usual,
)
from konduktor_health.core.accusation import Blamed
from konduktor_health.core.blame import Blame, blame
from konduktor_health.core.pair_tests import Member, PairOutcome, PairResult, PairTest
from konduktor_health.core.rounds import RoundOptions, RoundState, learned, plan_round
from probes.backends.none import NoBackend
from probes.check import Check, Context, NodeFacts
from probes.checks.iperf3_client import Iperf3Client
from probes.checks.iperf3_server import Iperf3Server
from probes.checks.ping import Ping
from probes.errors import BackendError, CheckError, Skipped
from probes.report import Result
from probes.runner import findings
from probes.runner.results import Stamp
from probes.tools.run import ProgramTool
from tests.support.net_world import NetWorld, why_not

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() == 0 and bool(why_not()), reason=why_not() or "-"),
]

LEAF = "topology/leaf"
LEAVES = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "b3": "b"}
#: Above the slow pair's 0.1 Gb/s, far below what a busy machine does between namespaces.
ENOUGH_GBPS = 0.15


@pytest.fixture
def world() -> Iterator[NetWorld]:
    with NetWorld(LEAVES) as made:
        yield made


class Driver:
    """Plans, runs and judges, as the controller does; ``dead``: nodes whose agents it does not
    reach."""

    def __init__(self, world: NetWorld, seed: int, dead: frozenset[str] = frozenset()) -> None:
        self.world = world
        self.dead = dead
        self.options = RoundOptions(seed=seed, most_follow_ups=6)
        self.members = tuple(
            Member(name, ("eth0",), ((LEAF, leaf),)) for name, leaf in world.leaf_of.items()
        )
        self.usual: dict[str, float] = {}

    def settle(self) -> Blame:
        """One round and its follow-ups."""
        state = RoundState()
        while tests := plan_round(state, self.members, self.options, 0):
            state = learned(state, tests, self._run(tests), self.options, 0)
        return blame(state.seen, self.members)

    def _run(self, tests: tuple[PairTest, ...]) -> list[PairResult]:
        told = self._together(tests, self._ping)
        pings = [ping_outcome(t, "eth0", its) for t, its in zip(tests, told, strict=True)]
        works = {t for t, its in zip(tests, pings, strict=True) if its.outcome is PairOutcome.OK}
        told = self._together(tests, lambda test: self._iperf3(test) if test in works else [])
        # What is slow beside others is measured once more, alone.
        slow = [n for n, its in enumerate(told) if its and its[0].outcome == "warn"]
        for number in slow:
            told[number] = self._iperf3(tests[number])
        measured = [rates(test, "eth0", its) for test, its in zip(tests, told, strict=True)]
        self.usual = self.usual or usual(each for each in measured if isinstance(each, Rate))
        rated = [
            rate_outcome(test, "eth0", its, self.usual)
            for test, its in zip(tests, told, strict=True)
        ]
        return [
            ping if rate.outcome is PairOutcome.NOT_MEASURED else both(ping, rate)
            for ping, rate in zip(pings, rated, strict=True)
        ]

    def _together(
        self, tests: tuple[PairTest, ...], run: Callable[[PairTest], list[Result]]
    ) -> list[list[Result]]:
        with ThreadPoolExecutor(len(tests)) as pool:
            return list(pool.map(run, tests))

    def _ping(self, test: PairTest) -> list[Result]:
        address = self.world.address[test.server]
        options = {"count": "15", "interval": "0.05"}
        options |= {"peer": test.server, "addresses": f"eth0={address}"}
        return self._check(test.client, Ping(), options)

    def _iperf3(self, test: PairTest) -> list[Result]:
        address = self.world.address[test.server]
        common = {"seconds": "1", "wait": "10"}
        asked = {"address": address, "peer": test.server, "interface": "eth0"}
        asked |= {"bandwidth": str(ENOUGH_GBPS)}
        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(
                self._check, test.server, Iperf3Server(), common | {"address": address}
            )
            result = self._check(test.client, Iperf3Client(), common | asked)
            assert [each.outcome for each in serving.result()] == ["pass"]
        return result

    def _check(self, node: str, check: Check, options: dict[str, str]) -> list[Result]:
        if node in self.dead:
            return []  # the controller's request runs into its time-out
        context = Context(
            backend=NoBackend(BackendError("no GPUs here")),
            tool=ProgramTool(os.environ),
            node=NodeFacts(node),
            options=options,
        )
        stamp = Stamp(check.spec, "none", False, 1, 0.0)

        def run() -> list[Result]:
            try:
                return [stamp.result(findings.told(each)) for each in check.run(context)]
            except Skipped as reason:
                return [stamp.of("skip", str(reason))]
            except CheckError as error:
                return [stamp.of("error", str(error))]

        return self.world.call(node, run)


def named(found: Blame) -> set[tuple[Blamed, tuple[str, ...], PairOutcome]]:
    return {
        (each.blamed, tuple(v for _, v in each.domains) or each.nodes, each.outcome)
        for each in found.accusations
    }


def pair_of_the_first_round(seed: int) -> tuple[str, str]:
    members = tuple(Member(n, ("eth0",), ((LEAF, leaf),)) for n, leaf in LEAVES.items())
    first = plan_round(RoundState(), members, RoundOptions(seed=seed), 0)[0]
    return first.client, first.server


def test_in_a_healthy_network_nobody_is_named(world: NetWorld) -> None:
    found = Driver(world, seed=1).settle()
    assert (found.accusations, found.undecided) == ((), ())


def test_a_broken_pair_is_named_and_neither_of_its_nodes(world: NetWorld) -> None:
    pair = pair_of_the_first_round(seed=2)
    world.break_pair(*pair)
    found = Driver(world, seed=2).settle()
    assert named(found) == {(Blamed.PAIR, tuple(sorted(pair)), PairOutcome.FAILED)}


def test_a_slow_pair_is_named_and_neither_of_its_nodes(world: NetWorld) -> None:
    pair = pair_of_the_first_round(seed=3)
    world.slow_pair(*reversed(pair))  # from the server to the client: both ways are measured
    found = Driver(world, seed=3).settle()
    assert named(found) == {(Blamed.PAIR, tuple(sorted(pair)), PairOutcome.SLOW)}
    (result,) = found.accusations[0].evidence
    assert float(result.text.split()[0]) < 0.11


def test_a_lossy_pair_is_named_and_neither_of_its_nodes(world: NetWorld) -> None:
    pair = pair_of_the_first_round(seed=4)
    world.lose(*pair, 0.5)
    found = Driver(world, seed=4).settle()
    assert named(found) == {(Blamed.PAIR, tuple(sorted(pair)), PairOutcome.LOSSY)}


@pytest.mark.parametrize("silent", [True, False], ids=["agent silent", "agent answers"])
def test_a_dead_node_is_named_and_nobody_else(world: NetWorld, silent: bool) -> None:
    world.lose_node("a2")
    dead = frozenset({"a2"} if silent else ())
    found = Driver(world, seed=5, dead=dead).settle()
    assert named(found) == {(Blamed.NODE, ("a2",), PairOutcome.FAILED)}


def test_a_dead_leaf_is_named_and_none_of_its_nodes(world: NetWorld) -> None:
    world.kill_leaf("b")
    found = Driver(world, seed=6).settle()
    assert named(found) == {(Blamed.DOMAIN, ("b",), PairOutcome.FAILED)}
    assert found.accusations[0].nodes == ("b1", "b2", "b3")
    assert found.accused() == frozenset()
