"""Rounds of tests in pairs with agents that answer over HTTP: their own API, signatures, checks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from konduktor_health.adapters.probes.pair_measuring import Bandwidth
from konduktor_health.core.pair_tests import Kind, PairOutcome, PairTest
from tests.support.agent import Asking
from tests.support.pair_agents import AgentFleet, settle
from tests.support.pair_world import PairWorld

FAILED, OK = PairOutcome.FAILED, PairOutcome.OK
LEAVES = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b", "b3": "b"}


class Fleets:
    """Agents of a test, ended with it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.stop = threading.Event()

    def of(self, **wrong: object) -> AgentFleet:
        world = PairWorld(dict(LEAVES), **wrong)  # type: ignore[arg-type]
        return AgentFleet(self.stack, self.folder, world)


@pytest.fixture
def fleets(tmp_path: Path) -> Iterator[Fleets]:
    with ExitStack() as stack:
        yield Fleets(stack, tmp_path)


def first_pair(fleet: AgentFleet) -> frozenset[str]:
    rounds, _ = fleet.rounds()
    course = rounds._courses[Kind.PING]
    test = course.plan(rounds._takers.now(Kind.PING))[0]
    return frozenset((test.client, test.server))


def test_a_broken_node_is_accused_after_two_partners(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"a2": FAILED})
    rounds, _ = fleet.rounds()
    settle(rounds, fleets.stop)
    (fault,) = rounds.findings.faults()
    assert (fault.node, fault.device, fault.fault_id) == ("a2", "eth0", "probe/network-pair")
    partners = {name for name in LEAVES if name != "a2" and name in fault.text}
    assert len(partners) >= 2, fault.text
    assert "loss 100 %" in fault.text


def test_so_is_one_whose_agent_does_not_answer_at_all(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"b3": FAILED}, silent=frozenset({"b3"}))
    rounds, _ = fleet.rounds()
    settle(rounds, fleets.stop)
    assert {fault.node for fault in rounds.findings.faults()} == {"b3"}


def test_an_agent_that_does_not_answer_is_no_broken_node(fleets: Fleets) -> None:
    fleet = fleets.of(silent=frozenset({"b3"}))
    rounds, _ = fleet.rounds()
    settle(rounds, fleets.stop)
    assert rounds.findings.faults() == ()
    assert rounds.findings.counts() == {}


def test_one_bad_pair_accuses_nobody(fleets: Fleets) -> None:
    fleet = fleets.of()
    pair = first_pair(fleet)
    fleet.world.bad_pairs[pair] = FAILED
    rounds, _ = fleet.rounds()
    settle(rounds, fleets.stop)
    assert rounds.findings.faults() == ()
    assert rounds.findings.counts() == {"pair": 1}


def test_a_leaf_is_the_switch(fleets: Fleets) -> None:
    fleet = fleets.of(dead_leaves=frozenset({"b"}))
    rounds, _ = fleet.rounds()
    settle(rounds, fleets.stop)
    assert rounds.findings.faults() == ()
    (event,) = rounds.findings.events()
    assert "topology/leaf=b" in event.message
    assert rounds.findings.counts() == {"domain": 1}


def test_a_controller_that_is_restarted_in_a_round_loses_nothing_and_accuses_nobody(
    fleets: Fleets,
) -> None:
    fleet = fleets.of(bad_nodes={"a2": FAILED})
    rounds, _ = fleet.rounds()
    first = rounds._courses[Kind.PING].plan(rounds._takers.now(Kind.PING))
    for agent in fleet.agents.values():
        agent.runner.gate.clear()
    ended = threading.Event()
    thread = threading.Thread(target=rounds.turn, args=(ended,), daemon=True)
    thread.start()
    while sum(len(agent.runner.orders) for agent in fleet.agents.values()) < len(first):
        assert not ended.wait(0.02)
    ended.set()  # SIGTERM, while agents measure
    thread.join(10)
    assert not thread.is_alive()
    assert rounds.findings.faults() == ()
    stored = rounds.state()
    for agent in fleet.agents.values():
        agent.runner.gate.set()  # they go on, and nobody looks

    again, _ = fleet.rounds()
    again.restore(stored)
    again.turn(fleets.stop)
    assert again.findings.faults() == (), "one round accuses nobody"
    settle(again, fleets.stop)
    assert {fault.node for fault in again.findings.faults()} == {"a2"}


def test_requests_are_as_many_as_pairs(fleets: Fleets) -> None:
    fleet = fleets.of()
    rounds, http = fleet.rounds()
    pairs = settle(rounds, fleets.stop)
    assert pairs == len(LEAVES) // 2
    assert http.posts == pairs
    assert rounds.requests() == {"accepted": pairs}
    assert http.gets <= 20 * pairs, "looked for each 50 ms here"
    counts = rounds.drain_counts()
    assert (counts.tests, counts.rounds) == ({("ping", "ok"): pairs}, {"ping": 1})
    rounds.turn(fleets.stop)
    assert (http.posts, rounds.requests()) == (pairs, {"accepted": pairs}), "nothing is due"


# ---------------------------------------------------------------- iperf3


def test_a_slow_node_is_accused_after_it_was_measured_alone(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"a2": PairOutcome.SLOW})
    rounds, _ = fleet.rounds(Kind.BANDWIDTH, bandwidth=Bandwidth(seconds=1, gbps=0.5))
    settle(rounds, fleets.stop)
    (fault,) = rounds.findings.faults()
    assert (fault.node, fault.fault_id) == ("a2", "probe/network-pair-bandwidth")
    assert "Gb/s" in fault.text


def test_both_ends_are_asked_for_iperf3_with_addresses_of_each_other(fleets: Fleets) -> None:
    fleet = fleets.of()
    measuring, _ = fleet.measuring()
    test = PairTest("a1", "b1", ("eth0",))
    (result,) = measuring.measure(Kind.BANDWIDTH, [test], at_once=1, stop=fleets.stop)
    assert result.outcome is OK
    ping, client = fleet.agents["a1"].runner.orders
    (server,) = fleet.agents["b1"].runner.orders
    assert ping.options == {"ping.peer": "b1", "ping.addresses": "eth0=10.9.0.4"}
    assert server.options == {
        "iperf3-server.address": "10.9.0.4", "iperf3-server.seconds": "1",
        "iperf3-server.wait": "45",
    }  # fmt: skip
    assert client.options == {
        "iperf3-client.address": "10.9.0.4", "iperf3-client.bind": "10.9.0.1",
        "iperf3-client.peer": "b1", "iperf3-client.interface": "eth0",
        "iperf3-client.seconds": "1", "iperf3-client.wait": "30", "iperf3-client.parallel": "1",
    }  # fmt: skip


def test_a_pair_that_does_not_answer_ping_is_not_measured_further(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"b1": FAILED})
    measuring, _ = fleet.measuring()
    test = PairTest("a1", "b1", ("eth0",))
    (result,) = measuring.measure(Kind.BANDWIDTH, [test], at_once=1, stop=fleets.stop)
    assert (result.outcome, result.text) == (FAILED, "loss 100 %")
    assert fleet.agents["b1"].runner.orders == []


# ---------------------------------------------------------------- what is not measured


def test_a_pod_that_is_replaced_meanwhile_says_nothing(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"b1": FAILED})
    fleet.agents["a1"].runner.gate.clear()
    measuring, _ = fleet.measuring()
    found = []
    test = PairTest("a1", "b1", ("eth0",))
    thread = threading.Thread(
        target=lambda: found.extend(
            measuring.measure(Kind.PING, [test], at_once=1, stop=fleets.stop)
        )
    )
    thread.start()
    while not fleet.agents["a1"].runner.orders:
        fleets.stop.wait(0.02)
    fleet.pods.put("b1", replace(fleet.pod("b1"), uid="another"))
    fleet.agents["a1"].runner.gate.set()
    thread.join(10)
    assert [each.outcome for each in found] == [PairOutcome.NOT_MEASURED]
    assert "replaced" in found[0].text


def test_a_report_of_another_boot_says_nothing(fleets: Fleets) -> None:
    fleet = fleets.of(bad_nodes={"b1": FAILED})
    fleet.nodes.put(replace(fleet.nodes.views["a1"], boot_id="b" * 32))
    measuring, _ = fleet.measuring()
    looked = measuring.asked
    with pytest.raises(Exception, match="not believed"):
        looked.look("a1", "pair-x")


def test_an_agent_refuses_what_no_request_may_set(fleets: Fleets) -> None:
    fleet = fleets.of()
    body = json.dumps({"node": "a1"}).encode()
    assert Asking(fleet.agents["a1"].port).post("/v1/run", body).status == 401
    measuring, _ = fleet.measuring()
    with pytest.raises(Exception, match="not_for_requests"):
        measuring.runs._orders.run("a1", checks=("ping",), options={"ping.program": "/bin/sh"})
