"""A fatal fault that taints nobody is held with its reason, once, and told in words."""

from __future__ import annotations

from typing import Any

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import Record, parse
from konduktor_health.core.wording import why_not
from konduktor_health.model import Hold, HoldReason, NodeView, Policy, Remedy, Severity
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Mode, Repeat, Rule, Treatment
from tests.support.builders import (
    NOW,
    OUR_TAINT,
    after,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)
from tests.support.ledgers import record

HOUR = 3600


def rules(treatment: Treatment, name: str = "site") -> Policy:
    return policy(rules=(Rule(name, treatment=treatment),))


WATCHES = rules(Treatment(Mode.OBSERVE))
THRICE = rules(Treatment(repeat=Repeat(3, 24 * HOUR)))


def seen(hours: float = 0, **fields: Any) -> Any:
    time_ns = NOW + int(hours * HOUR) * NS
    return sighting(
        fault(
            time_ns=time_ns,
            event_ns=time_ns,
            uptime_us=1_000_000 * (1000 + int(hours * HOUR)),
            identity=f"at {hours}",
            **fields,
        )
    )


def step(view: NodeView, by: Policy, *heard: Any) -> tuple[NodeView, list[tuple[HoldReason, str]]]:
    plan = decide(snapshot([view], {view.name: heard}), by, NOW + 12 * HOUR * NS)
    holds = [each for each in plan.actions if isinstance(each, Hold)]
    return after(view, plan), [(each.reason, each.message) for each in holds]


def only(view: NodeView) -> Record:
    (record,) = parse(view.ledger or "").records
    return record


def test_a_rule_that_observes_is_named_and_held_once() -> None:
    view, holds = step(node(), WATCHES, seen())
    assert holds == [(HoldReason.BY_POLICY, "rule site observes it")]
    assert view.taints == ()
    assert view.condition is not None
    assert "; not acting: a rule of the policy observes this fault (rule site)" in (
        view.condition.message
    )
    assert only(view).why == "ObservedByPolicy"
    assert step(view, WATCHES) == (view, [])
    _, again = step(view, WATCHES, seen(1))
    assert [reason for reason, _ in again] == [HoldReason.REPEAT]


def test_below_its_threshold_it_is_held_and_not_once_it_acts() -> None:
    view, holds = step(node(), THRICE, seen())
    assert holds == [(HoldReason.BELOW_REPEAT, "rule site acts on 3 within 86400 s")]
    assert only(view).why == "BelowRepeatThreshold"
    assert view.condition is not None
    assert "wants the fault to be seen more often" in view.condition.message
    tainting = rules(Treatment())
    view, holds = step(view, tainting)
    assert (holds, view.taints, only(view).why) == ([], (OUR_TAINT,), "")


def test_another_reason_is_news() -> None:
    view, _ = step(node(), THRICE, seen())
    _, holds = step(view, WATCHES)
    assert holds == [(HoldReason.BY_POLICY, "rule site observes it")]


def test_what_is_not_fatal_is_not_held() -> None:
    _, holds = step(node(), WATCHES, seen(severity=Severity.APPLICATION, remedy=Remedy.NONE))
    assert holds == []


def test_each_reason_is_told_in_words_and_a_follower_names_its_root() -> None:
    follower = record(acting=False, why="FollowsAnotherFault", root="xid/79|0000:3b:00")
    assert why_not(follower) == "; not acting: it follows xid/79 on 0000:3b:00"
    back = record(acting=False, why="ReturnedNode")
    assert why_not(back).startswith("; not acting: this machine was deleted with open records")
    assert why_not(record(acting=False, why="SomethingNew")) == "; never acts: SomethingNew"
    assert why_not(record()) == ""
