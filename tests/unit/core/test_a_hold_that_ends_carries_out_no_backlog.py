"""What was repaired while it was held is shown, and taints nothing when the hold is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.model import (
    Fault,
    NodeView,
    ProbeResult,
    ProbeStatus,
    Remedy,
    RepairSeen,
    Sighting,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect, Repair
from tests.support.builders import (
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)

MINUTE, DAY = 60 * NS, 86_400 * NS
FULL: dict[str, Any] = {"managed": 10, "tainted": 1}
ROOM: dict[str, Any] = {"managed": 10, "tainted": 0}
BOOTED: dict[str, Any] = {
    "boot_changed_ns": {"gpu-1": NOW + MINUTE},
    "boot_noticed_ns": {"gpu-1": NOW + MINUTE},
}


def step(view: NodeView, at_ns: int, *seen: Sighting, rules: Any = None, **fields: Any) -> NodeView:
    fields = {"observed_from_ns": {"gpu-1": NOW - DAY}} | fields
    return after(
        view, decide(snapshot([view], {"gpu-1": seen}, **fields), rules or policy(), at_ns)
    )


def held(seen: Fault | None = None, **more: Any) -> NodeView:
    """A node that the budget holds."""
    view = step(node(), NOW, sighting(seen or fault()), **FULL, **more)
    assert OUR_TAINT not in view.taints
    return view


def rebooted(view: NodeView) -> NodeView:
    return replace(view, boot_id=OTHER_BOOT)


def test_a_node_that_was_rebooted_while_the_budget_held_it_is_shown_and_not_tainted() -> None:
    view = step(rebooted(held()), NOW + DAY, **ROOM, **BOOTED)
    assert view.taints == ()
    assert view.health_label == "suspect"
    assert view.condition is not None
    assert (view.condition.status, view.condition.reason) == ("Unknown", "SuspectFault")
    assert decide(snapshot([view], **ROOM, **BOOTED), policy(), NOW + DAY).actions == ()


def test_one_that_was_not_repaired_is_tainted() -> None:
    assert OUR_TAINT in step(held(), NOW + DAY, **ROOM).taints


def test_a_newer_line_taints() -> None:
    view = step(rebooted(held()), NOW + DAY, **ROOM, **BOOTED)
    new = fault(
        time_ns=NOW + DAY, event_ns=NOW + DAY, uptime_us=10**9, identity="new", boot_id=OTHER_BOOT
    )
    assert OUR_TAINT in step(view, NOW + DAY, sighting(new), **ROOM, **BOOTED).taints


@pytest.mark.parametrize("remedy", [Remedy.RESET_GPU, Remedy.REBOOT])
def test_a_gpu_reset_mends_what_a_gpu_reset_mends(remedy: Remedy) -> None:
    reset = {"gpu-1": (RepairSeen(Repair.GPU_RESET, "0000:3b:00", NOW + MINUTE),)}
    view = step(held(fault(remedy=remedy)), NOW + DAY, repairs=reset, **ROOM)
    assert (OUR_TAINT in view.taints) is (remedy is Remedy.REBOOT)


def test_what_only_a_person_can_mend_is_not_mended_by_a_reboot() -> None:
    view = rebooted(held(fault(remedy=Remedy.INSPECT)))
    assert OUR_TAINT in step(view, NOW + DAY, **ROOM, **BOOTED).taints


def test_it_is_cleared_by_proof_and_fades_without() -> None:
    view = step(rebooted(held()), NOW + 2 * MINUTE, **ROOM, **BOOTED)
    proofs = tuple(
        ProbeResult(
            f"{tier}-check", tier, ProbeStatus.PASS, NOW + n * MINUTE, "0000:3b:00", run_id=str(n)
        )
        for n, tier in enumerate(("boot", "light", "light", "light", "invasive"), start=3)
    )
    agents = frozenset({"gpu-1"})
    proven = step(view, NOW + DAY, probes={"gpu-1": proofs}, agents=agents, **ROOM, **BOOTED)
    assert (parse(proven.ledger or "").records, proven.health_label) == ((), None)
    assert parse(step(view, NOW + 6 * DAY, **ROOM, **BOOTED).ledger or "").records
    faded = step(view, NOW + 8 * DAY, **ROOM, **BOOTED)
    assert (parse(faded.ledger or "").records, faded.health_label) == ((), None)


def test_a_taint_that_stands_stays_until_there_is_proof() -> None:
    tainted = step(node(), NOW, sighting(), **ROOM)
    view = step(rebooted(tainted), NOW + 30 * DAY, **ROOM, **BOOTED)
    assert OUR_TAINT in view.taints
    soft = policy(held_effect=Effect.PREFER_NO_SCHEDULE)
    waits = held(rules=soft)
    assert waits.taints
    view = step(rebooted(waits), NOW + 30 * DAY, rules=soft, **FULL, **BOOTED)
    assert view.taints == waits.taints
