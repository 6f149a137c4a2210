"""A fatal fault becomes the taint, the ledger, the label, the condition and an Event."""

from __future__ import annotations

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.model import (
    EditKind,
    Hold,
    HoldReason,
    InjectionMode,
    PublishEvent,
    SetCondition,
    Severity,
    Taint,
    Trust,
)
from konduktor_health.timestamps import NS
from tests.support.builders import (
    FOREIGN_TAINT,
    KEYS,
    NOW,
    OUR_TAINT,
    after,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)


def test_fatal_fault_adds_taint_ledger_and_label_in_one_edit() -> None:
    plan = decide(snapshot([node()], {"gpu-1": [sighting()]}), policy(), NOW)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.TAINT
    assert edit.edit.add_taints == (OUR_TAINT,)
    assert edit.edit.labels == {KEYS.health: "faulty"}
    ledger = parse(edit.edit.annotations[KEYS.ledger] or "")
    assert ledger.owned == ("NoSchedule",)
    assert [record.fault_id for record in ledger.records] == ["xid/79"]
    assert "gpu-1" in plan.settled


def test_event_and_condition_follow_and_name_the_fault() -> None:
    plan = decide(snapshot([node()], {"gpu-1": [sighting()]}), policy(), NOW)
    event = next(a for a in plan.actions if isinstance(a, PublishEvent))
    condition = next(a for a in plan.actions if isinstance(a, SetCondition)).condition
    assert (event.type, event.reason) == ("Warning", "FatalFault")
    assert (condition.status, condition.reason) == ("False", "FatalFault")
    assert "xid/79 on 0000:3b:00" in condition.message


def test_deciding_again_after_everything_was_applied_does_nothing() -> None:
    view = node(taints=(FOREIGN_TAINT,))
    plan = decide(snapshot([view], {"gpu-1": [sighting()]}), policy(), NOW)
    again = decide(snapshot([after(view, plan)], tainted=1), policy(), NOW + NS)
    assert again.actions == ()


@pytest.mark.parametrize(
    ("severity", "label"),
    [
        (Severity.UNKNOWN, "suspect"),
        (Severity.APPLICATION, None),
        (Severity.INFO, None),
    ],
)
def test_other_severities_are_recorded_and_never_taint(
    severity: Severity, label: str | None
) -> None:
    plan = decide(snapshot([node()], {"gpu-1": [sighting(severity=severity)]}), policy(), NOW)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.RECORD
    assert edit.edit.add_taints == ()
    assert edit.edit.labels == {KEYS.health: label}


def test_a_degraded_node_is_only_avoided() -> None:
    seen = [sighting(severity=Severity.DEGRADED)]
    (edit,) = edits(decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    assert edit.edit.add_taints == (Taint(KEYS.taint, "true", "PreferNoSchedule"),)
    assert edit.edit.labels == {KEYS.health: "suspect"}


def test_two_faults_on_a_node_are_two_records_and_one_taint() -> None:
    seen = [sighting(), sighting(fault("xid/48", device="0000:86:00"))]
    (edit,) = edits(decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    ledger = parse(edit.edit.annotations[KEYS.ledger] or "")
    assert {record.key for record in ledger.records} == {
        ("0000:3b:00", "xid/79"),
        ("0000:86:00", "xid/48"),
    }
    assert edit.edit.add_taints == (OUR_TAINT,)


def test_no_number_of_pod_lines_taints() -> None:
    seen = [
        sighting(fault(f"workload/w{n}", trust=Trust.POD, device="", count=1000)) for n in range(20)
    ]
    plan = decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW)
    assert all(edit.kind is EditKind.RECORD for edit in edits(plan))
    assert any(isinstance(a, Hold) and a.reason is HoldReason.NEVER_ACTS for a in plan.actions)


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        (InjectionMode.ACT, [EditKind.TAINT]),
        (InjectionMode.REPORT, [EditKind.RECORD]),
        (InjectionMode.IGNORE, []),
    ],
)
def test_injected_fault_follows_the_injection_setting(
    mode: InjectionMode, kinds: list[EditKind]
) -> None:
    seen = {"gpu-1": [sighting(injected=True)]}
    plan = decide(snapshot([node()], seen), policy(injection=mode), NOW)
    assert [edit.kind for edit in edits(plan)] == kinds


def test_opted_out_node_is_left_alone() -> None:
    view = node(managed_label="false")
    plan = decide(snapshot([view], {"gpu-1": [sighting()]}), policy(), NOW)
    assert [action.reason for action in plan.actions if isinstance(action, Hold)] == [
        HoldReason.OPTED_OUT
    ]
    assert edits(plan) == []
    assert "gpu-1" in plan.settled


def test_older_than_the_first_lookback_is_shown_and_never_acts() -> None:
    plan = decide(snapshot([node()], {"gpu-1": [sighting(acting=False)]}), policy(), NOW)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.RECORD
    assert edit.edit.labels == {KEYS.health: "suspect"}


def test_repeats_reach_the_node_only_after_the_interval_and_are_kept_until_then() -> None:
    view = after(node(), decide(snapshot([node()], {"gpu-1": [sighting()]}), policy(), NOW))
    later = NOW + 10 * NS
    repeat = sighting(time_ns=later, event_ns=later, uptime_us=1_010_000_000, identity="2")
    early = decide(snapshot([view], {"gpu-1": [repeat]}, tainted=1), policy(), later)
    assert edits(early) == []
    assert "gpu-1" not in early.settled
    due = decide(snapshot([view], {"gpu-1": [repeat]}, tainted=1), policy(), NOW + 301 * NS)
    (edit,) = edits(due)
    assert parse(edit.edit.annotations[KEYS.ledger] or "").records[0].count == 2
    assert "gpu-1" in due.settled


def test_a_write_whose_answer_was_lost_is_not_counted_twice() -> None:
    seen = {"gpu-1": [sighting()]}
    view = after(node(), decide(snapshot([node()], seen), policy(), NOW))
    again = decide(snapshot([view], seen, tainted=1), policy(), NOW + 400 * NS)
    assert edits(again) == []
    assert "gpu-1" in again.settled
