"""Budget, rate and surge hold taints; nothing else is blocked."""

from __future__ import annotations

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.model import EditKind, Hold, HoldReason, Plan, Trust
from konduktor_health.timestamps import NS
from tests.support.builders import NOW, after, edits, fault, node, policy, sighting, snapshot


def holds(plan: Plan) -> dict[str, HoldReason]:
    return {action.node: action.reason for action in plan.actions if isinstance(action, Hold)}


@pytest.mark.parametrize(("managed", "allowed"), [(1, 1), (8, 1), (11, 2), (100, 10), (1000, 20)])
def test_budget_is_ten_percent_rounded_up_and_at_most_twenty(managed: int, allowed: int) -> None:
    names = [f"gpu-{n:03}" for n in range(30)]
    snap = snapshot(
        [node(name) for name in names],
        {name: [sighting(node=name)] for name in names},
        managed=managed,
    )
    plan = decide(snap, policy(rate_per_minute=0), NOW)
    kinds = [edit.kind for edit in edits(plan)]
    assert kinds.count(EditKind.TAINT) == allowed
    assert list(holds(plan).values()) == [HoldReason.BUDGET] * (30 - allowed)


def test_surge_goes_before_a_pause_so_that_it_writes_no_node() -> None:
    upgraded = node(labels=(("nvidia.com/gpu-driver-upgrade-state", "pod-restart-required"),))
    many = {"xid/79": {f"gpu-{n}": NOW for n in range(20)}}
    snap = snapshot([upgraded], {"gpu-1": [sighting()]}, fatal_sightings=many)
    plan = decide(snap, policy(), NOW)
    assert (edits(plan), holds(plan)) == ([], {"gpu-1": HoldReason.SURGE})
    assert "gpu-1" not in plan.settled
    alone = decide(snapshot([upgraded], {"gpu-1": [sighting()]}), policy(), NOW)
    assert holds(alone) == {"gpu-1": HoldReason.DRIVER_UPGRADE}


def test_held_node_is_recorded_so_that_a_restart_knows_of_it() -> None:
    snap = snapshot([node()], {"gpu-1": [sighting()]}, managed=10, tainted=1)
    plan = decide(snap, policy(), NOW)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.RECORD
    assert edit.edit.labels == {"trainy.konduktor.ai/health": "faulty"}
    assert "gpu-1" in plan.settled


def test_held_node_is_tainted_once_the_budget_allows_it() -> None:
    full = snapshot([node()], {"gpu-1": [sighting()]}, managed=10, tainted=1)
    view = after(node(), decide(full, policy(), NOW))
    plan = decide(snapshot([view], managed=10, tainted=0), policy(), NOW + NS)
    assert [edit.kind for edit in edits(plan)] == [EditKind.TAINT]


def test_rate_is_ten_a_minute_and_says_when_to_look_again() -> None:
    times = tuple(NOW - 30 * NS + n for n in range(10))
    snap = snapshot([node()], {"gpu-1": [sighting()]}, tainted=0, taint_times_ns=times)
    plan = decide(snap, policy(), NOW)
    (hold,) = [action for action in plan.actions if isinstance(action, Hold)]
    assert hold.reason is HoldReason.RATE
    assert hold.until_ns == times[0] + 60 * NS


def test_kernel_evidence_goes_before_weaker_evidence() -> None:
    snap = snapshot(
        [node("a"), node("b")],
        {
            "a": [sighting(node="a", trust=Trust.PROBE)],
            "b": [sighting(node="b", trust=Trust.KERNEL)],
        },
        managed=1,
    )
    plan = decide(snap, policy(), NOW)
    assert [edit.node for edit in edits(plan) if edit.kind is EditKind.TAINT] == ["b"]


def test_surge_holds_without_writing_any_node_and_keeps_the_sightings() -> None:
    seen = {f"gpu-{n}": NOW for n in range(5)}
    snap = snapshot([node()], {"gpu-1": [sighting()]}, fatal_sightings={"xid/79": seen})
    plan = decide(snap, policy(), NOW)
    assert holds(plan) == {"gpu-1": HoldReason.SURGE}
    assert edits(plan) == []
    assert plan.settled == frozenset()
    assert plan.surges == {"xid/79"}


def test_surge_of_one_fault_does_not_hold_another() -> None:
    seen = {f"gpu-{n}": NOW for n in range(50)}
    snap = snapshot(
        [node()], {"gpu-1": [sighting(fault("xid/48"))]}, fatal_sightings={"xid/79": seen}
    )
    assert [edit.kind for edit in edits(decide(snap, policy(), NOW))] == [EditKind.TAINT]


@pytest.mark.parametrize(
    ("managed", "nodes", "surge"),
    [(100, 4, False), (100, 5, True), (1000, 29, False), (1000, 30, True)],
)
def test_surge_is_five_nodes_or_three_percent(managed: int, nodes: int, surge: bool) -> None:
    seen = {f"gpu-{n}": NOW for n in range(nodes)}
    snap = snapshot([node()], managed=managed, fatal_sightings={"xid/79": seen})
    assert bool(decide(snap, policy(), NOW).surges) is surge


def test_surge_ends_when_the_window_has_passed() -> None:
    seen = {f"gpu-{n}": NOW - 601 * NS for n in range(50)}
    snap = snapshot([node()], {"gpu-1": [sighting()]}, fatal_sightings={"xid/79": seen})
    assert [edit.kind for edit in edits(decide(snap, policy(), NOW))] == [EditKind.TAINT]
