"""Operators, maintenance, autoscalers, driver upgrades and new nodes: left alone, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.core.pauses import PAUSES, pause_of
from konduktor_health.model import HoldReason, NodeView, Pauses, Taint, Window
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS
from tests.support.builders import FOREIGN_TAINT, NOW, OUR_TAINT, node, policy

HOUR = 3600 * NS
UPGRADE = "nvidia.com/gpu-driver-upgrade-state"


def reason(view: NodeView, boot_noticed_ns: int = 0, **pauses: Any) -> HoldReason | None:
    hold = pause_of(view, policy(pauses=Pauses(**pauses)), NOW, boot_noticed_ns)
    return hold.reason if hold else None


def until(view: NodeView, boot_noticed_ns: int = 0, **pauses: Any) -> int | None:
    hold = pause_of(view, policy(pauses=Pauses(**pauses)), NOW, boot_noticed_ns)
    assert hold is not None
    return hold.until_ns


def declared(**fields: Any) -> str:
    return render_declared(Declared(**fields))


def test_a_node_that_nobody_is_at_is_not_paused() -> None:
    view = node(created_ns=NOW - HOUR, taints=(FOREIGN_TAINT, OUR_TAINT), unschedulable=True)
    assert reason(view) is None


def test_hold_of_an_operator_ends_at_its_time() -> None:
    view = node(hold=declared(until_ns=NOW + HOUR, reason="looking\x1b[2J at it"))
    hold = pause_of(view, policy(), NOW)
    assert hold is not None
    assert (hold.reason, hold.until_ns) == (HoldReason.OPERATOR, NOW + HOUR)
    assert "looking" in hold.message
    assert hold.message.isprintable()
    assert pause_of(view, policy(), NOW + HOUR) is None


@pytest.mark.parametrize("text", ["", "{}", "for ever", "{not json", '{"until": 7}'])
def test_hold_without_a_readable_end_lasts_until_it_is_taken_away(text: str) -> None:
    assert reason(node(hold=text)) is HoldReason.OPERATOR
    assert until(node(hold=text)) is None


def test_declared_maintenance_and_windows_of_the_policy() -> None:
    view = node(maintenance=declared(since_ns=NOW - NS, until_ns=NOW + HOUR))
    assert (reason(view), until(view)) == (HoldReason.MAINTENANCE, NOW + HOUR)
    coming = node(maintenance=declared(since_ns=NOW + NS, until_ns=NOW + HOUR))
    assert reason(coming) is None
    windows = (
        Window("past", NOW - 2 * HOUR, NOW),
        Window("short", NOW - 1, NOW + 60 * NS),
        Window("long", NOW, NOW + HOUR),
        Window("others", NOW, NOW + 9 * HOUR, parse_selector("zone=us")),
    )
    assert reason(node(), windows=windows) is HoldReason.MAINTENANCE
    assert until(node(), windows=windows) == NOW + HOUR
    assert until(node(labels=(("zone", "us"),)), windows=windows) == NOW + 9 * HOUR
    assert reason(node(), windows=windows[:1]) is None


@pytest.mark.parametrize("key", Pauses().deletion_taints)
def test_node_that_an_autoscaler_removes(key: str) -> None:
    assert reason(node(taints=(Taint(key, "x", "NoSchedule"),))) is HoldReason.SCALE_DOWN


def test_driver_upgrade_taken_for_a_mass_failure_is_not_one() -> None:
    """While the GPU operator replaces a driver, Xids and lost devices are its doing."""
    for state in ("cordon-required", "pod-deletion-required", "pod-restart-required", "odd\x00"):
        hold = pause_of(node(labels=((UPGRADE, state),)), policy(), NOW)
        assert hold is not None
        assert (hold.reason, hold.until_ns) == (HoldReason.DRIVER_UPGRADE, None)
        assert hold.message.isprintable()
    for state in Pauses().driver_idle:
        assert pause_of(node(labels=((UPGRADE, state),)), policy(), NOW) is None


def test_start_up_grace_of_a_new_node_and_of_a_new_boot() -> None:
    young = node(created_ns=NOW - 60 * NS)
    assert (reason(young), until(young)) == (HoldReason.START_UP, NOW + 240 * NS)
    assert reason(node(created_ns=NOW - 300 * NS)) is None
    old = node(created_ns=NOW - HOUR)
    assert reason(old, NOW - 10 * NS) is None  # no grace after a boot by default
    assert reason(old, NOW - 10 * NS, after_boot_s=60) is HoldReason.START_UP
    assert until(old, NOW - 10 * NS, after_boot_s=60) == NOW + 50 * NS
    assert reason(old, NOW - 60 * NS, after_boot_s=60) is None
    assert reason(node(created_ns=0), 0, after_boot_s=60) is None  # not known


def test_node_made_in_the_future_by_another_clock_is_not_paused_for_that_long() -> None:
    assert reason(node(created_ns=NOW + HOUR)) is None
    assert reason(node(created_ns=NOW + 10 * NS)) is HoldReason.START_UP


def test_foreign_cordon_pauses_only_where_the_policy_says_so() -> None:
    view = node(unschedulable=True)
    assert reason(view) is None
    assert reason(view, foreign_cordon=True) is HoldReason.CORDONED
    assert reason(node(), foreign_cordon=True) is None


def test_what_people_said_is_told_first() -> None:
    everything: dict[str, Any] = {
        "hold": declared(),
        "maintenance": declared(),
        "taints": (Taint("karpenter.sh/disrupted", "", "NoSchedule"),),
        "labels": ((UPGRADE, "cordon-required"),),
        "created_ns": NOW - 1,
        "unschedulable": True,
    }
    told = []
    for first in [*everything, ""]:
        told.append(reason(node(**everything), foreign_cordon=True))
        everything.pop(first, None)
    assert told == [
        HoldReason.OPERATOR,
        HoldReason.MAINTENANCE,
        HoldReason.SCALE_DOWN,
        HoldReason.DRIVER_UPGRADE,
        HoldReason.START_UP,
        HoldReason.CORDONED,
        None,
    ]


@given(
    st.none() | st.text(max_size=60),
    st.none() | st.text(max_size=60),
    st.integers(0, 2**62),
    st.integers(0, 2**62),
    st.floats(0, 1e6),
)
def test_a_pause_with_an_end_ends_there(
    hold: str | None, maintenance: str | None, created_ns: int, boot_ns: int, grace_s: float
) -> None:
    view = node(hold=hold, maintenance=maintenance, created_ns=created_ns)
    rules = policy(pauses=Pauses(start_up_s=grace_s, after_boot_s=grace_s))
    found = pause_of(view, rules, NOW, boot_ns)
    if found is not None:
        assert found.reason in PAUSES
        assert found.until_ns is None or found.until_ns > NOW
        if found.until_ns is not None:
            assert pause_of(view, rules, found.until_ns, boot_ns) != found
