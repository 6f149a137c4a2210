"""What a rule verifies by, and proof that would take hours, is asked for: seldom, in no storm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.record import Missing, Record
from konduktor_health.errors import AgentRefused, AgentUnavailable, LeadershipLost
from konduktor_health.model import NodeView, Severity
from konduktor_health.runtime.verifying import Verifying
from konduktor_health.treatment import (
    DEFAULT_RULES,
    FOUND_BY,
    Match,
    Mode,
    Rule,
    Treatment,
)
from tests.support.builders import NOW, policy
from tests.support.ledgers import record, sick
from tests.support.memory_loki import FakeClock


class Orders:
    """Agents that note what they are asked. ``meanwhile``: happens when one is."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.meanwhile: Callable[[str], None] = lambda _node: None

    def run(self, node: str, *, checks: Sequence[str] = (), tier: Any = None) -> None:
        self.asked.append((node, tier or ",".join(checks)))
        self.meanwhile(node)
        if self.error is not None:
            raise self.error


class Scene:
    def __init__(
        self, *views: NodeView, rules: tuple[Rule, ...] = DEFAULT_RULES, **how: Any
    ) -> None:
        self.clock, self.orders = FakeClock(NOW), Orders()
        self.believed = True
        self.views: Mapping[str, NodeView] = {view.name: view for view in views}
        self.verifying = Verifying(
            self.orders,
            lambda: self.views,
            policy(rules=rules),
            clock=self.clock,
            believed=lambda _name: self.believed,
            **how,
        )
        for view in views:
            self.verifying.changed(None, view)

    def turn(self) -> list[str]:
        self.orders.asked.clear()
        self.verifying.turn()
        return sorted(probe for _, probe in self.orders.asked)


def app(**fields: Any) -> Record:
    return record("xid/13", severity=Severity.APPLICATION, acting=True, **fields)


def waiting(*missing: str, fault_id: str = "xid/79") -> Record:
    waits = tuple(Missing(what, NOW) for what in missing)
    return record(fault_id, rule="fatal", reached=True, missing=waits)


def test_an_application_fault_is_verified_by_the_light_tier() -> None:
    assert Scene(sick(app())).turn() == ["light"]


def test_it_is_asked_for_once_per_interval() -> None:
    scene = Scene(sick(app()))
    assert scene.turn() == ["light"]
    scene.clock.advance(599)
    assert scene.turn() == []
    scene.clock.advance(2)
    assert scene.turn() == ["light"]


def test_proof_that_is_missing_is_asked_for_unless_it_comes_by_itself_or_needs_the_gpus() -> None:
    missing = (
        "repair",
        "probe:boot",
        "probe:light",
        "probe:invasive",
        "probe:dcgm-1+load",
        "quiet",
    )
    assert Scene(sick(waiting(*missing))).turn() == ["boot", "dcgm-1"]


def test_a_rule_may_verify_by_the_check_that_found_the_fault() -> None:
    own = Rule("own", Match(faults=("probe/*",)), Treatment(Mode.OBSERVE, verify=(FOUND_BY,)))
    scene = Scene(sick(record("probe/ping")), rules=(own, *DEFAULT_RULES))
    assert scene.turn() == ["ping"]


def test_invasive_work_is_never_asked_for() -> None:
    own = Rule("own", Match(), Treatment(Mode.OBSERVE, verify=("invasive",)))
    assert Scene(sick(app()), rules=(own,)).turn() == []


def test_a_node_that_a_person_has_in_hand_is_left() -> None:
    assert Scene(sick(app(), hold="{}")).turn() == []
    assert Scene(sick(app(), maintenance="{}")).turn() == []


def test_an_agent_that_is_not_believed_is_not_asked() -> None:
    scene = Scene(sick(app()))
    scene.believed = False
    assert scene.turn() == []
    scene.believed = True
    assert scene.turn() == ["light"]


def test_a_storm_makes_no_more_than_so_many_measure_in_a_minute() -> None:
    views = [sick(app(), name=f"gpu-{n}", uid="uid-gpu-1") for n in range(50)]
    scene = Scene(*views, per_minute=20)
    assert len(scene.turn()) == 20
    assert scene.turn() == []
    scene.clock.advance(60)
    assert len(scene.turn()) == 20


def test_what_is_refused_is_asked_for_again_after_the_interval() -> None:
    scene = Scene(sick(app()))
    scene.orders.error = AgentRefused("gpus_busy", status=409)
    assert (scene.turn(), scene.turn()) == (["light"], [])
    scene.clock.advance(599)
    assert scene.turn() == []
    scene.clock.advance(1)
    assert scene.turn() == ["light"]


def test_an_agent_that_was_not_reached_is_asked_again_after_a_minute() -> None:
    scene = Scene(sick(app()))
    scene.orders.error = AgentUnavailable("there is no signing key yet")
    assert (scene.turn(), scene.turn()) == (["light"], [])
    scene.clock.advance(60)
    scene.orders.error = None
    assert scene.turn() == ["light"]
    scene.clock.advance(60)
    assert scene.turn() == []
    assert scene.verifying.drain_counts() == {"failed": 1, "accepted": 1}


def test_nothing_is_wanted_of_a_node_once_its_records_are_gone() -> None:
    scene = Scene(sick(app()))
    scene.verifying.changed(None, sick())
    assert scene.turn() == []
    scene.verifying.changed(sick(app()), None)
    assert scene.turn() == []


def test_another_policy_wants_other_probes() -> None:
    scene = Scene(sick(app()))
    own = Rule("own", Match(), Treatment(Mode.OBSERVE, verify=("ping",)))
    scene.verifying.use(policy(rules=(own,)))
    assert scene.turn() == ["ping"]


def test_a_node_that_is_gone_when_its_turn_comes_is_not_asked() -> None:
    other = replace(sick(app()), name="gpu-2")
    scene = Scene(sick(app()), other, at_once=1)
    scene.orders.meanwhile = lambda _node: scene.verifying.changed(other, None)
    scene.turn()
    assert [node for node, _ in scene.orders.asked] == ["gpu-1"]


def many(count: int) -> list[NodeView]:
    return [sick(app(), name=f"gpu-{n:02}", uid="uid-gpu-1") for n in range(count)]


def test_nobody_is_left_out_where_more_is_wanted_than_may_be_asked_for() -> None:
    scene = Scene(*many(50), per_minute=2, interval_s=600.0)
    asked: set[str] = set()
    for _ in range(30):
        scene.turn()
        asked |= {name for name, _ in scene.orders.asked}
        scene.clock.advance(60)
    assert len(asked) == 50  # in 25 minutes, though the first are due again after ten


def test_agents_that_are_not_reached_take_no_more_than_their_turn() -> None:
    scene = Scene(*many(50), per_minute=5)
    reached = set[str]()

    def answer(node: str) -> None:
        if node < "gpu-40":
            raise AgentUnavailable("no connection within the time-out")
        reached.add(node)

    scene.orders.meanwhile = answer
    for _ in range(10):
        scene.turn()
        scene.clock.advance(60)
    assert len(reached) == 10


def test_agents_that_do_not_answer_do_not_keep_the_others_waiting() -> None:
    scene = Scene(*many(8))
    silent, reached = threading.Event(), threading.Event()

    def answer(node: str) -> None:
        if node == "gpu-07":
            reached.set()
        elif not silent.wait(20):
            raise AssertionError("the last one was not asked beside the others")

    scene.orders.meanwhile = answer
    thread = threading.Thread(target=scene.verifying.turn)
    thread.start()
    assert reached.wait(10)
    silent.set()
    thread.join(10)


def test_whoever_does_not_lead_any_more_asks_for_nothing() -> None:
    scene = Scene(sick(app()))
    scene.orders.error = LeadershipLost("somebody else leads")
    with pytest.raises(LeadershipLost):
        scene.verifying.turn()


def test_where_there_is_no_room_what_others_measure_is_still_handed_on() -> None:
    pairs: list[str] = []

    def elsewhere(name: str, probe: str) -> bool:
        if probe == "network-pair":
            pairs.append(name)
        return probe == "network-pair"

    own = Rule("own", Match(), Treatment(Mode.OBSERVE, verify=("light", "network-pair")))
    scene = Scene(*many(10), rules=(own,), per_minute=1, elsewhere=elsewhere)
    scene.turn()
    assert len(pairs) == 10
