"""Evidence of one kind neither hides nor strengthens another."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.fold import MAX_SIGHTINGS, add
from konduktor_health.core.ledger import Record, parse
from konduktor_health.model import (
    EditKind,
    Fault,
    InjectionMode,
    NodeView,
    Plan,
    Remedy,
    Severity,
    Sighting,
    Trust,
)
from konduktor_health.timestamps import NS
from tests.support.builders import (
    KEYS,
    NOW,
    OTHER_BOOT,
    after,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)


def folded(*faults: Fault) -> list[Sighting]:
    sightings: dict[Any, Sighting] = {}
    for each in faults:
        add(sightings, each, acting=True)
    return list(sightings.values())


def at(seconds: int, **fields: Any) -> Fault:
    """A line so many seconds from now, with an uptime and an identity of its own."""
    time_ns = NOW + seconds * NS
    values = {
        "time_ns": time_ns,
        "event_ns": time_ns,
        "uptime_us": 1_000_000_000 + seconds * 1_000_000,
        "identity": f"line-{seconds}-{fields.get('trust', '')}",
    }
    return fault(fields.pop("fault_id", "xid/79"), **(values | fields))


def kinds(plan: Plan) -> list[EditKind]:
    return [edit.kind for edit in edits(plan)]


def records(view: NodeView) -> list[Record]:
    return list(parse(view.ledger or "").records)


def test_newer_pod_line_does_not_hide_a_kernel_line() -> None:
    seen = folded(at(0), at(5, trust=Trust.POD, source="pods"))
    assert kinds(decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW)) == [EditKind.TAINT]


def test_pod_line_lends_a_kernel_line_no_severity() -> None:
    seen = folded(
        at(0, severity=Severity.DEGRADED), at(-5, trust=Trust.POD, severity=Severity.FATAL)
    )
    (edit,) = edits(decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    assert [taint.effect for taint in edit.edit.add_taints] == ["PreferNoSchedule"]


def test_pod_line_does_not_raise_the_severity_of_an_acting_record() -> None:
    first = snapshot([node()], {"gpu-1": [sighting(at(0, severity=Severity.DEGRADED))]})
    view = after(node(), decide(first, policy(), NOW))
    forged = sighting(at(400, trust=Trust.POD, severity=Severity.FATAL))
    plan = decide(snapshot([view], {"gpu-1": [forged]}), policy(), NOW + 401 * NS)
    assert EditKind.TAINT not in kinds(plan)


@pytest.mark.parametrize(
    "weak", [{"trust": Trust.POD}, {"injected": True}], ids=["pod line", "injected line"]
)
def test_weak_evidence_after_a_removal_by_hand_does_not_taint_again(weak: dict[str, Any]) -> None:
    rules = policy(injection=InjectionMode.REPORT)
    view = after(node(), decide(snapshot([node()], {"gpu-1": [sighting()]}), rules, NOW))
    view = after(node(ledger=view.ledger), decide(snapshot([node(ledger=view.ledger)]), rules, NOW))
    later = decide(snapshot([view], {"gpu-1": [sighting(at(400, **weak))]}), rules, NOW + 401 * NS)
    assert EditKind.TAINT not in kinds(later)
    again = decide(snapshot([view], {"gpu-1": [sighting(at(402))]}), rules, NOW + 403 * NS)
    assert kinds(again) == [EditKind.TAINT]


def test_pod_line_with_a_high_uptime_does_not_make_kernel_lines_replays() -> None:
    forged = sighting(at(0, trust=Trust.POD, uptime_us=10**15, time_ns=NOW + 100 * NS))
    view = after(node(), decide(snapshot([node()], {"gpu-1": [forged]}), policy(), NOW))
    plan = decide(snapshot([view], {"gpu-1": [sighting(at(5))]}), policy(), NOW + 6 * NS)
    assert kinds(plan) == [EditKind.TAINT]


def test_two_shippers_of_one_node_count_a_line_once() -> None:
    seen = folded(at(0, source="otel"), at(0, source="kmsg"), at(1, source="kmsg"))
    view = after(node(), decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    assert [record.count for record in records(view)] == [2]


def test_copy_from_a_second_shipper_that_comes_later_is_not_a_repeat() -> None:
    view = after(node(), decide(snapshot([node()], {"gpu-1": [sighting(at(0))]}), policy(), NOW))
    copy = sighting(at(2, uptime_us=None, source="journal"))
    plan = decide(snapshot([view], {"gpu-1": [copy]}, tainted=1), policy(), NOW + 400 * NS)
    assert edits(plan) == []
    assert "gpu-1" in plan.settled


def test_flood_of_weak_sightings_pushes_no_proof_out() -> None:
    flood = [
        at(n, device=f"dev-{n}", trust=Trust.POD, source="pods") for n in range(2 * MAX_SIGHTINGS)
    ]
    seen = folded(at(-50, severity=Severity.DEGRADED), *flood)
    assert len(seen) == MAX_SIGHTINGS
    assert any(each.fault.trust is Trust.KERNEL for each in seen)


def test_two_faults_of_a_boot_that_the_node_does_not_report_yet_both_act_once_it_does() -> None:
    view = node()
    first = sighting(at(0, boot_id=OTHER_BOOT))
    view = after(view, decide(snapshot([view], {"gpu-1": [first]}), policy(), NOW))
    second = sighting(at(1, fault_id="xid/48", boot_id=OTHER_BOOT))
    view = after(view, decide(snapshot([view], {"gpu-1": [second]}), policy(), NOW + NS))
    booted = node(ledger=view.ledger, boot_id=OTHER_BOOT, health_label=view.health_label)
    view = after(booted, decide(snapshot([booted]), policy(), NOW + 2 * NS))
    assert {(record.fault_id, record.acting) for record in records(view)} == {
        ("xid/79", True),
        ("xid/48", True),
    }


def test_adopted_taint_that_keeps_no_pod_out_does_not_stand_in_for_ours() -> None:
    from konduktor_health.model import Taint

    soft = Taint(KEYS.taint, "", "PreferNoSchedule")
    view = node(taints=(soft,))
    view = after(view, decide(snapshot([view], {"gpu-1": [sighting()]}, tainted=1), policy(), NOW))
    assert {taint.effect for taint in view.taints} == {"PreferNoSchedule", "NoSchedule"}
    assert parse(view.ledger or "").owned == ("NoSchedule",)


def test_our_taint_removed_beside_an_adopted_one_is_respected() -> None:
    from konduktor_health.model import Taint

    soft = Taint(KEYS.taint, "", "PreferNoSchedule")
    view = node(taints=(soft,))
    view = after(view, decide(snapshot([view], {"gpu-1": [sighting()]}), policy(), NOW))
    bare = node(taints=(soft,), ledger=view.ledger, health_label=view.health_label)
    assert kinds(decide(snapshot([bare]), policy(), NOW + NS)) == [EditKind.RECORD]


def test_remedy_that_a_reboot_is_not_stays_visible_after_the_reboot() -> None:
    seen = [
        sighting(at(-100, boot_id=OTHER_BOOT, remedy=Remedy.INSPECT)),
        sighting(at(-100, boot_id=OTHER_BOOT, remedy=Remedy.REBOOT, fault_id="xid/48")),
    ]
    snap = snapshot([node()], {"gpu-1": seen}, boot_changed_ns={"gpu-1": NOW - 50 * NS})
    (edit,) = edits(decide(snap, policy(), NOW))
    (record,) = parse(edit.edit.annotations[KEYS.ledger] or "").records
    assert (record.fault_id, record.acting) == ("xid/79", False)
