"""``hold NODE``: nothing changes for the worse or the better, and its end is not slept through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from konduktor_health.core.budget import allowance
from konduktor_health.core.decide import decide
from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.core.displace import Displacing
from konduktor_health.model import FleetView, NodeView, Plan, Severity, Sighting, Snapshot, Taint
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect, Rule, Treatment
from tests.support.builders import KEYS, NOW, edits, node, policy, sighting, snapshot
from tests.support.ledgers import record, sick

HOUR, DAY = 3600 * NS, 86_400 * NS
SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")


def held(until_ns: int | None = NOW + HOUR) -> str:
    return render_declared(Declared(NOW - HOUR, until_ns))


def decided(view: NodeView, now_ns: int = NOW, seen: Iterable[Sighting] = (), **rules: Any) -> Plan:
    observed = {view.name: NOW - 30 * DAY}
    return decide(
        snapshot([view], {view.name: seen}, observed_from_ns=observed, tainted=1),
        policy(**rules),
        now_ns,
    )


def test_the_end_of_a_hold_is_when_to_look_again() -> None:
    plan = decided(sick(record(), hold=held(NOW + HOUR)))
    assert plan.wakes["gpu-1"] <= NOW + HOUR


def test_what_could_have_faded_meanwhile_is_not_looked_at_over_and_over() -> None:
    old = record(acting=False, why="EvidenceNeverActs", last_ns=NOW - 20 * DAY)
    view = sick(old, owned=(), taints=(), hold=held(None))
    assert "gpu-1" not in decided(view).wakes
    view = replace(view, hold=held(NOW + HOUR))
    assert decided(view).wakes == {"gpu-1": NOW + HOUR}
    assert edits(decided(replace(view, hold=None)))  # it goes once nobody holds the node


def test_a_policy_that_asks_for_less_does_not_lower_the_taint_of_a_held_node() -> None:
    milder = (Rule("all", treatment=Treatment(effect=Effect.PREFER_NO_SCHEDULE)),)
    view = sick(record(effect="NoSchedule"))
    (edit,) = edits(decided(view, rules=milder))
    assert [taint.effect for taint in edit.edit.add_taints] == ["PreferNoSchedule"]
    for edit in edits(decided(replace(view, hold=held()), rules=milder)):
        assert not edit.edit.remove_taints


def test_a_hold_that_was_written_by_a_clock_that_is_ahead_holds() -> None:
    """An operator's laptop, or ours that was set back since."""
    ahead = render_declared(Declared(NOW + HOUR, NOW + 2 * HOUR))
    assert not edits(decided(node(hold=ahead), seen=[sighting()]))[0].edit.add_taints


def weak(name: str, **fields: Any) -> NodeView:
    its = record("xid/92", severity=Severity.DEGRADED)
    view = sick(its, owned=("PreferNoSchedule",), taints=(SOFT,), **fields)
    return replace(view, name=name)


def displaced(candidate: NodeView) -> NodeView | None:
    nodes = {"default": (candidate,)}
    rules, fleet = policy(), FleetView(managed=10, tainted=1)
    displacing = Displacing(Snapshot({}, {}, fleet, displaceable=nodes), rules, NOW)
    return displacing.for_(node("fatal"), allowance(fleet, rules, NOW))


def test_a_held_or_opted_out_node_does_not_give_way() -> None:
    assert displaced(weak("a")) is not None
    assert displaced(weak("a", managed_label="false")) is None
    assert displaced(weak("a", hold=held())) is None
    assert displaced(weak("a", hold=held(NOW - NS))) is not None
