"""Rounds of tests in pairs: who is accused, when, and who is not."""

from __future__ import annotations

import threading
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from konduktor_health.core.invasive_note import Note, Stage, render_note
from konduktor_health.core.pair_tests import Kind, PairOutcome
from konduktor_health.errors import LeadershipLost
from konduktor_health.model import ProbeStatus, Remedy, Severity, Trust
from konduktor_health.runtime.verifying import Verifying
from tests.support.builders import BOOT, NOW, OTHER_BOOT
from tests.support.pair_world import PairWorld
from tests.support.rounds import HOUR_S, RoundScene, pod_of, policy_with_leaves

FAILED, OK, SLOW = PairOutcome.FAILED, PairOutcome.OK, PairOutcome.SLOW


def fleet(leaves: int = 3, size: int = 6) -> dict[str, str]:
    return {f"n{leaf}{number}": f"leaf-{leaf}" for leaf in range(leaves) for number in range(size)}


# ---------------------------------------------------------------- who is accused


def test_where_all_is_well_a_round_an_hour_is_all() -> None:
    scene = RoundScene(PairWorld(fleet()))
    scene.settle_for(2.5 * HOUR_S)
    assert [len(tests) for _, tests in scene.measures.asked] == [9, 9, 9]
    assert scene.findings.faults() == ()
    assert scene.findings.events() == ()
    assert scene.told == []


def test_a_round_of_which_nothing_was_measured_is_done_again_soon_and_not_for_ever() -> None:
    """After an installation the agents have the key once their kubelets have brought it."""
    scene = RoundScene(PairWorld(fleet(), silent=frozenset(fleet())))
    scene.settle_for(80.0)
    tried = len(scene.measures.asked)
    assert 3 <= tried <= 6
    scene.measures.world = PairWorld(fleet())
    scene.settle_for(80.0)
    assert len(scene.measures.asked) == tried + 1
    scene.settle_for(HOUR_S)
    assert len(scene.measures.asked) == tried + 2

    scene = RoundScene(PairWorld(fleet(), silent=frozenset(fleet())))
    scene.settle_for(24 * HOUR_S)
    assert 24 <= len(scene.measures.asked) <= 24 + 12


def test_a_broken_node_is_a_fault_with_both_its_partners_as_evidence() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(300.0)
    (fault,) = scene.findings.faults()
    assert (fault.node, fault.device, fault.boot_id) == ("n13", "eth0", BOOT)
    assert fault.fault_id == "probe/network-pair"
    assert (fault.severity, fault.remedy, fault.trust) == (
        Severity.FATAL, Remedy.INSPECT, Trust.PROBE,
    )  # fmt: skip
    failed = {test.client if test.server == "n13" else test.server for test in scene.measures.pairs
              if "n13" in (test.client, test.server)}  # fmt: skip
    named = {name for name in failed if name in fault.text}
    assert len(named) >= 2, fault.text
    assert scene.told == [{"n13"}]
    assert scene.findings.counts() == {"node": 1}


def test_a_slow_node_is_degraded() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": SLOW}), Kind.BANDWIDTH)
    scene.settle_for(300.0)
    (fault,) = scene.findings.faults()
    assert (fault.fault_id, fault.severity) == ("probe/network-pair-bandwidth", Severity.DEGRADED)


def test_an_all_reduce_names_no_interface() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": SLOW}), Kind.NCCL)
    scene.settle_for(300.0)
    (fault,) = scene.findings.faults()
    assert (fault.fault_id, fault.device) == ("probe/network-pair-nccl", "")


def test_what_goes_on_is_a_fault_again_with_each_round() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(2.5 * HOUR_S)
    faults = scene.findings.faults()
    assert 3 <= len(faults) <= 4
    assert len({fault.identity for fault in faults}) == len(faults)
    assert faults[-1].time_ns - faults[0].time_ns > 1.5 * HOUR_S * 1e9


def test_a_bad_pair_accuses_nobody_and_is_told() -> None:
    scene = RoundScene(PairWorld(fleet()))
    first = scene.rounds._courses[Kind.PING].plan(scene.rounds._takers.now(Kind.PING))[0]
    scene.start()
    scene.world.bad_pairs[frozenset((first.client, first.server))] = FAILED
    scene.settle_for(600.0)
    assert scene.findings.faults() == ()
    assert scene.findings.events() == (), "one cable is no switch"
    assert scene.findings.counts() == {"pair": 1}
    for name in (first.client, first.server):
        (remark,) = scene.findings.remarks(name)
        assert first.client in remark
        assert first.server in remark
    assert scene.findings.remarks("n00" if "n00" not in remark else "n01") == ()


@pytest.mark.parametrize("dead", [True, False], ids=["dead", "cut off"])
def test_a_leaf_that_fails_whole_is_the_switch_and_none_of_its_nodes(dead: bool) -> None:
    leaf = frozenset({"leaf-1"})
    world = PairWorld(fleet(), dead_leaves=leaf) if dead else PairWorld(fleet(), cut_leaves=leaf)
    scene = RoundScene(world)
    scene.settle_for(900.0)
    assert scene.findings.faults() == ()
    (event,) = scene.findings.events()
    assert (event.type, event.reason) == ("Warning", "DomainSuspect")
    assert "topology/leaf=leaf-1" in event.message
    assert scene.view(event.node).label("topology/leaf") == "leaf-1"
    assert event.node_uid == f"uid-{event.node}"
    assert scene.findings.remarks("n10")
    assert scene.findings.remarks("n20") == ()
    scene.settle_for(HOUR_S)
    assert scene.findings.events() == (), "told once while it lasts"
    scene.world.dead_leaves = scene.world.cut_leaves = frozenset()
    scene.settle_for(2 * HOUR_S)
    assert scene.findings.counts() == {}
    assert scene.findings.remarks("n10") == ()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_of_one_thing_that_is_broken_nobody_else_is_accused(data: st.DataObject) -> None:
    names = sorted(fleet())
    bad = data.draw(st.sampled_from(names))
    silent = data.draw(st.booleans())
    outcome = data.draw(st.sampled_from([FAILED, PairOutcome.LOSSY]))
    scene = RoundScene(
        PairWorld(fleet(), bad_nodes={bad: outcome}, silent=frozenset({bad} if silent else ()))
    )
    scene.settle_for(1.2 * HOUR_S)
    assert {fault.node for fault in scene.findings.faults()} == {bad}


def test_a_node_that_worked_in_the_last_round_is_found_in_this_one() -> None:
    scene = RoundScene(PairWorld(fleet()))
    scene.settle_for(HOUR_S / 2)
    scene.world.bad_nodes["n13"] = FAILED
    scene.settle_for(HOUR_S / 2 + 400.0)
    assert {fault.node for fault in scene.findings.faults()} == {"n13"}
    assert scene.findings.counts() == {"node": 1}


@pytest.mark.parametrize("seed", range(12))
def test_of_two_leaves_that_have_not_met_inside_the_dead_one_is_found(seed: int) -> None:
    scene = RoundScene(PairWorld(fleet(2, 3), dead_leaves=frozenset({"leaf-1"})), seed=seed)
    scene.settle_for(600.0)
    assert scene.findings.counts() == {"domain": 1}
    assert scene.findings.faults() == ()


def test_where_nobody_works_with_anybody_nobody_is_accused() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes=dict.fromkeys(fleet(), FAILED)))
    tests = scene.settle_for(HOUR_S - 60.0)
    assert tests <= 5 * 9
    assert scene.findings.faults() == ()
    assert scene.findings.counts() == {}


# ---------------------------------------------------------------- and who is not


def test_nobody_is_accused_before_it_failed_again_after_a_while() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(60.0)
    assert scene.findings.faults() == ()
    scene.world.bad_nodes.clear()  # it was a hiccup
    scene.settle_for(2 * HOUR_S)
    assert scene.findings.faults() == ()


def test_a_node_that_reboots_meanwhile_is_not_accused() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(45.0)
    before = len(scene.measures.pairs)
    scene.change("n13", ready=False)
    scene.settle_for(1.1 * HOUR_S)
    assert len(scene.measures.pairs) > before
    assert not any("n13" in (t.client, t.server) for t in scene.measures.pairs[before:])
    scene.world.bad_nodes.clear()
    scene.change("n13", ready=True, boot_id=OTHER_BOOT)
    scene.settle_for(2 * HOUR_S)
    assert scene.findings.faults() == ()


def test_what_was_measured_while_a_node_went_away_says_nothing() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}), confirm_s=0.0)
    scene.measures.meanwhile = lambda: scene.change("n13", ready=False)
    scene.settle_for(300.0)
    assert scene.findings.faults() == ()


def test_nodes_in_maintenance_or_without_an_agent_are_left_alone() -> None:
    scene = RoundScene(PairWorld(fleet()))
    scene.change("n00", maintenance='{"since": "2026-01-01T00:00:00Z"}')
    scene.change("n01", ready=False)
    scene.pods.put("n02", None)
    scene.settle()
    met = {name for test in scene.measures.pairs for name in (test.client, test.server)}
    assert met.isdisjoint({"n01", "n02"})
    assert len(met) >= 14


def test_what_loads_a_node_waits_while_its_gpus_are_tested() -> None:
    note = Note(Stage.TESTING, since_ns=NOW, run_id="job-1")
    scene = RoundScene(PairWorld(fleet()), Kind.PING, Kind.BANDWIDTH)
    scene.change("n00", testing=render_note(note))
    scene.settle()
    met = {
        kind: {name for test in tests for name in (test.client, test.server)}
        for kind, tests in scene.measures.asked
    }
    assert "n00" in met[Kind.PING]
    assert "n00" not in met[Kind.BANDWIDTH]


def test_a_controller_that_leads_no_more_measures_nothing_more() -> None:
    scene = RoundScene(PairWorld(fleet()))

    def lost() -> None:
        raise LeadershipLost("another one leads")

    scene.measures.meanwhile = lost
    with pytest.raises(LeadershipLost):
        scene.rounds.turn(scene.stop)


def test_a_round_that_is_broken_off_teaches_nothing() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes=dict.fromkeys(fleet(), FAILED)))
    scene.measures.meanwhile = scene.stop.set
    scene.rounds.turn(scene.stop)
    assert scene.rounds._courses[Kind.PING].state.seen == {}
    assert scene.rounds.drain_counts().tests == Counter()


# ---------------------------------------------------------------- restarts


def test_a_restart_in_the_middle_loses_nothing_and_accuses_nobody() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.rounds.turn(scene.stop)  # the round, without its follow-ups
    stored = scene.rounds.state()
    scene.start()
    scene.rounds.restore(stored)
    assert scene.findings.faults() == ()
    scene.settle_for(300.0)
    assert {fault.node for fault in scene.findings.faults()} == {"n13"}


def test_rounds_that_load_the_network_are_not_made_again_by_a_restart() -> None:
    scene = RoundScene(PairWorld(fleet()), Kind.PING, Kind.BANDWIDTH)
    scene.settle()
    stored = scene.rounds.state()
    assert {kind.value for kind in scene.kinds} == stored.keys()
    scene.clock.advance(600.0)
    scene.start()
    scene.rounds.restore(stored)
    scene.settle()
    assert [kind for kind, _ in scene.measures.asked] == [Kind.PING]
    scene.settle_for(HOUR_S - 600.0)
    assert Kind.BANDWIDTH in [kind for kind, _ in scene.measures.asked]


@pytest.mark.parametrize(
    "stored",
    [None, [], "x", {"ping": 3}, {"ping": {"rounds": -1, "due_ns": 2}},
     {"ping": {"rounds": True, "due_ns": "x"}}, {"bandwidth": {"rounds": 1, "due_ns": 2**200}}],
)  # fmt: skip
def test_damaged_state_is_none(stored: object) -> None:
    scene = RoundScene(PairWorld(fleet()), Kind.PING, Kind.BANDWIDTH)
    scene.rounds.restore(stored)
    assert scene.settle() >= 9
    scene.settle_for(1.1 * HOUR_S)
    assert Kind.BANDWIDTH in [kind for kind, _ in scene.measures.asked]


def test_state_changes_only_with_what_was_done() -> None:
    scene = RoundScene(PairWorld(fleet()))
    scene.settle()
    before = scene.rounds.state()
    scene.settle_for(600.0)
    assert scene.rounds.state() == before


# ---------------------------------------------------------------- suspicions of agents


def test_a_pair_that_an_agent_speaks_against_is_measured_at_once() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.world.bad_nodes.clear()
    scene.settle()
    scene.world.bad_nodes["n13"] = FAILED
    before = len(scene.measures.asked)
    scene.rounds.suspect([("n01", "n13", "eth0"), ("n02", "n13", "eth0"), ("n03", "gone", "eth0")])
    scene.settle_for(300.0)
    (first,) = scene.measures.asked[before][1]
    assert (first.client, first.server, first.follow_up) == ("n01", "n13", True)
    assert {fault.node for fault in scene.findings.faults()} == {"n13"}


def test_a_suspicion_that_does_not_hold_comes_to_nothing() -> None:
    scene = RoundScene(PairWorld(fleet()))
    scene.settle()
    before = len(scene.measures.pairs)
    scene.rounds.suspect([("n01", "n13", "eth0")])
    scene.settle_for(300.0)
    assert len(scene.measures.pairs) == before + 1
    assert scene.findings.faults() == ()


# ---------------------------------------------------------------- proof of recovery


def test_a_node_that_was_mended_proves_it_with_partners_that_work() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(300.0)
    scene.findings.faults()
    scene.world.bad_nodes.clear()
    for _ in range(3):
        assert scene.rounds.want("n13", "network-pair")
        scene.settle_for(600.0)
    results = scene.findings.results(["n13", "n00"])
    assert set(results) == {"n13"}
    proofs = results["n13"]
    assert len(proofs) == 3
    assert {each.status for each in proofs} == {ProbeStatus.PASS}
    assert {(each.check, each.device, each.boot_id) for each in proofs} == {
        ("network-pair", "eth0", BOOT)
    }
    assert len({each.run_id for each in proofs}) == 3
    assert scene.findings.faults() == ()


def test_a_node_that_was_not_mended_passes_nothing_and_is_accused_anew() -> None:
    scene = RoundScene(PairWorld(fleet(), bad_nodes={"n13": FAILED}))
    scene.settle_for(300.0)
    assert len(scene.findings.faults()) == 1
    scene.rounds.want("n13", "network-pair")
    scene.settle_for(300.0)
    assert {fault.node for fault in scene.findings.faults()} == {"n13"}
    statuses = {each.status for each in scene.findings.results(["n13"])["n13"]}
    assert statuses == {ProbeStatus.WARN}


def test_a_check_that_no_agent_has_is_not_asked_of_one() -> None:
    class Orders:
        asked: list[str] = []  # noqa: RUF012 - of this test alone

        def run(self, node: str, *, checks: object = (), tier: object = None) -> None:
            self.asked.append(node)

    scene = RoundScene(PairWorld(fleet()))
    verifying = Verifying(
        Orders(), scene.nodes.nodes, policy_with_leaves(), clock=scene.clock,
        believed=lambda _name: True, elsewhere=scene.rounds.want,
    )  # fmt: skip
    verifying._want("n01", frozenset({"network-pair", "pcie-bandwidth"}))
    verifying.turn()
    assert Orders.asked == ["n01"], "for pcie-bandwidth alone"
    assert scene.rounds._wanted == {(Kind.PING, "n01"): None}
    verifying.turn()
    assert Orders.asked == ["n01"]


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("count", [40, 400])
def test_the_number_of_tests_grows_with_the_number_of_nodes(count: int) -> None:
    names = {f"n{number:04}": f"leaf-{number // 20}" for number in range(count)}
    scene = RoundScene(PairWorld(names, bad_nodes={"n0007": FAILED}))
    tests = scene.settle_for(300.0)
    assert count // 2 <= tests <= count // 2 + 12
    assert {fault.node for fault in scene.findings.faults()} == {"n0007"}


def test_a_pod_is_seen_with_all_its_interfaces() -> None:
    scene = RoundScene(PairWorld(fleet(1, 2)))
    more = (("eth0", ("10.0.0.9",)), ("net1", ("10.1.0.9", "fd00::9")), ("odd name", ("10.2.0.9",)))
    for number, name in enumerate(("n00", "n01")):
        scene.pods.put(name, pod_of(name, number, interfaces=more))
    scene.settle()
    (test,) = scene.measures.pairs
    assert test.interfaces == ("eth0", "net1")


def test_a_thread_ends_with_its_controller() -> None:
    scene = RoundScene(PairWorld(fleet(1, 2)))
    scene.measures.meanwhile = scene.stop.set
    scene.rounds.start(scene.stop)
    assert scene.stop.wait(10)
    for thread in threading.enumerate():
        if thread.name == "rounds":
            thread.join(10)
            assert not thread.is_alive()
