"""A taint goes, or gets weaker, when nothing asks for it: surges and budgets never block that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import Ledger, parse, render
from konduktor_health.core.operator import plan_release, plan_taint
from konduktor_health.core.reset import our_taints
from konduktor_health.model import (
    FleetView,
    NodeView,
    Plan,
    Policy,
    Remedy,
    RepairSeen,
    Severity,
    Sighting,
    Snapshot,
    Taint,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect, Match, Mode, Repair, Rule, Treatment
from tests.support.builders import KEYS, NOW, after, edits, fault, node, policy, sighting
from tests.support.ledgers import record, sick

MINUTE, HOUR, DAY = 60 * NS, 3600 * NS, 86_400 * NS
GPU = "0000:3b:00"
SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")
SURGING = {"xid/79": {f"other-{n}": NOW for n in range(40)}}
RETIRED = replace(policy(), rules=(Rule("look", treatment=Treatment(Mode.OBSERVE)),))


def plan_for(
    view: NodeView,
    *seen: Sighting,
    rules: Policy | None = None,
    now_ns: int = NOW,
    fleet: FleetView | None = None,
    **fields: Any,
) -> Plan:
    shown = Snapshot(
        {view.name: view},
        {view.name: seen},
        fleet or FleetView(managed=100, tainted=1),
        observed_from_ns={view.name: now_ns - 30 * DAY},
        **fields,
    )
    return decide(shown, rules or policy(), now_ns)


def effects(view: NodeView) -> list[str]:
    return [taint.effect for taint in our_taints(view, KEYS)]


def test_the_weak_taint_of_a_held_node_goes_by_its_records_whatever_the_policy_says_later() -> None:
    """It was given in place of what the budget held. Nothing asks any more: it may not stay."""
    rules = policy(held_effect=Effect.PREFER_NO_SCHEDULE)
    full = FleetView(managed=10, tainted=1)
    view = node()
    view = after(view, plan_for(view, sighting(), rules=rules, fleet=full))
    assert effects(view) == ["PreferNoSchedule"]
    retired = replace(rules, rules=RETIRED.rules)
    for day in range(1, 40):
        view = after(view, plan_for(view, rules=retired, now_ns=NOW + day * DAY))
        ledger = parse(view.ledger) if view.ledger else Ledger()
        if effects(view):
            assert any(each.asks for each in ledger.records), "a taint that nothing asks for"


def test_what_asks_for_a_label_only_keeps_no_taint() -> None:
    label = policy(rules=(Rule("all", treatment=Treatment(effect=Effect.LABEL)),))
    view = sick(record(effect="NoSchedule"))
    assert effects(after(view, plan_for(view, rules=label))) == []


def test_a_release_right_after_a_taint_leaves_none_for_a_label_only_fault() -> None:
    rules = policy(
        rules=(
            Rule("operator", Match(faults=("operator/*",)), Treatment()),
            Rule("all", treatment=Treatment(effect=Effect.LABEL)),
        )
    )
    view = node()
    view = after(view, plan_for(view, sighting(), rules=rules))
    tainted = plan_taint(view, KEYS, "looks odd", Effect.NO_SCHEDULE, NOW + MINUTE)
    assert tainted is not None
    view = after(view, Plan((tainted,)))
    released = plan_release(view, KEYS, NOW + 2 * MINUTE)
    assert released is not None
    view = after(view, Plan((released,)))
    for minute in (3, 4, 5):
        view = after(view, plan_for(view, rules=rules, now_ns=NOW + minute * MINUTE))
    assert effects(view) == []


def held_in_surge() -> NodeView:
    """Its record was written before the surge began; it is not tainted."""
    its = record("xid/79", uptime_us=1, remedy=Remedy.RESET_GPU)
    ledger = Ledger("uid-gpu-1", its.boot_id, NOW - MINUTE, records=(its,))
    return node(ledger=render(ledger))


FULL = FleetView(managed=10, tainted=1)
SURGE = FleetView(managed=100, fatal_sightings=SURGING)


def test_a_surge_writes_no_node_for_its_fault_alone() -> None:
    view = node()
    assert not edits(plan_for(view, sighting(), fleet=SURGE))
    again = sighting(fault(time_ns=NOW, event_ns=NOW, uptime_us=5))
    view = after(held_in_surge(), plan_for(held_in_surge(), fleet=FULL, now_ns=NOW - MINUTE))
    assert not edits(plan_for(view, again, fleet=SURGE))


def test_a_surge_does_not_keep_repairs_from_being_noted() -> None:
    view = after(held_in_surge(), plan_for(held_in_surge(), fleet=FULL, now_ns=NOW - MINUTE))
    repairs = {view.name: (RepairSeen(Repair.GPU_RESET, GPU, NOW),)}
    view = after(view, plan_for(view, fleet=SURGE, repairs=repairs))
    (its,) = parse(view.ledger or "").records
    assert its.repairs


def test_a_removal_by_hand_during_a_surge_is_noted_when_it_is_seen() -> None:
    """Or the time would move on with each decision, and hide what came after it."""
    view = sick(
        record("xid/92", severity=Severity.DEGRADED), owned=("PreferNoSchedule",), taints=()
    )
    new = sighting(fault("xid/79"))
    view = after(view, plan_for(view, new, fleet=SURGE))
    assert parse(view.ledger or "").removed_ns > 0


def test_a_tainted_node_in_a_surge_is_cleared_of_other_faults() -> None:
    degraded = record(
        "xid/92",
        severity=Severity.DEGRADED,
        remedy=Remedy.RESET_GPU,
        last_ns=NOW - DAY,
        repairs=((Repair.GPU_RESET, NOW - DAY),),
        effect="PreferNoSchedule",
    )
    view = sick(degraded, owned=("PreferNoSchedule",), taints=(SOFT,))
    view = after(view, plan_for(view, sighting(), fleet=SURGE))
    ledger = parse(view.ledger or "")
    assert {each.fault_id for each in ledger.history} == {"xid/92"}
    assert [each.fault_id for each in ledger.records] == ["xid/79"]  # what the taint stays for


def test_a_fatal_fault_that_came_while_nobody_decided_outlives_a_removal_of_another_taint() -> None:
    """The weak taint was taken away at some time since the last decision; nobody who did that
    had seen the fatal fault in our ledger."""
    weak = record(
        "xid/92", severity=Severity.DEGRADED, effect="PreferNoSchedule", last_ns=NOW - HOUR
    )
    view = sick(weak, owned=("PreferNoSchedule",), taints=())
    fatal = sighting(fault(time_ns=NOW - 1800 * NS, event_ns=NOW - 1800 * NS))
    view = after(view, plan_for(view, fatal))
    assert effects(view) == ["NoSchedule"]


def test_a_removal_holds_what_was_known_and_late_lines_of_it() -> None:
    view = sick(record(effect="NoSchedule"), taints=())
    late = sighting(fault(time_ns=NOW - NS, event_ns=NOW - NS))
    view = after(view, plan_for(view, late))
    assert effects(view) == []
