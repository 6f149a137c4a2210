"""Clocks that jump, reboots noticed late, Nodes made anew, resets half done."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.core.reset import ResetAt, plan_reset, render_reset_at
from konduktor_health.model import Condition, EditKind, NodeView, SetCondition
from konduktor_health.timestamps import NS
from tests.support.builders import (
    BOOT,
    KEYS,
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    edited,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)

HOUR = 3600 * NS


def bare(event_ns: int, **fields: object) -> object:
    """A line with neither uptime nor boot id."""
    return sighting(
        fault(uptime_us=None, time_ns=event_ns, event_ns=event_ns, identity=f"b{event_ns}")
    )


def tainted() -> NodeView:
    return after(node(), decide(snapshot([node()], {"gpu-1": [sighting()]}), policy(), NOW))


def reset(view: NodeView, at_ns: int) -> NodeView:
    action = plan_reset(view, KEYS, at_ns)
    assert action is not None
    return edited(view, action)


def kinds(view: NodeView, seen: object, now_ns: int, **fields: object) -> list[EditKind]:
    snap = snapshot([view], {"gpu-1": [seen]}, **fields)  # type: ignore[list-item, arg-type]
    return [edit.kind for edit in edits(decide(snap, policy(), now_ns))]


def test_doubtful_line_is_as_doubtful_when_it_is_read_hours_later() -> None:
    seen = bare(NOW)
    changed = {"gpu-1": NOW - 500 * NS}
    assert kinds(node(), seen, NOW + 5 * HOUR, boot_changed_ns=changed) == [EditKind.RECORD]


def test_reboot_noticed_now_makes_lines_doubtful_though_the_node_was_last_seen_days_ago() -> None:
    fields = {"boot_changed_ns": {"gpu-1": NOW - 50 * HOUR}, "boot_noticed_ns": {"gpu-1": NOW}}
    assert kinds(node(), bare(NOW), NOW, **fields) == [EditKind.RECORD]
    assert kinds(node(), bare(NOW + 2 * HOUR), NOW + 2 * HOUR, **fields) == [EditKind.TAINT]


def test_line_without_identity_from_before_the_reboot_is_history() -> None:
    changed = {"gpu-1": NOW - 500 * NS}
    assert kinds(node(), bare(NOW - 600 * NS), NOW, boot_changed_ns=changed) == []


def test_reboot_is_remembered_over_a_restart_once_the_ledger_was_written_after_it() -> None:
    view = replace(tainted(), boot_id=OTHER_BOOT)
    other = sighting(fault("xid/63", device="", identity="x", boot_id=OTHER_BOOT, uptime_us=5))
    rebooted = NOW + 100 * NS
    view = after(view, decide(snapshot([view], {"gpu-1": [other]}), policy(), rebooted))
    assert parse(view.ledger or "").boot_id == OTHER_BOOT
    old = sighting(
        fault("xid/48", time_ns=NOW - 5 * NS, event_ns=NOW - 5 * NS, uptime_us=10**9, identity="y")
    )
    assert kinds(view, old, rebooted + 400 * NS, tainted=1) == []  # no boot change seen: restarted


def test_lines_of_a_predecessor_of_the_same_name_are_only_shown() -> None:
    view = node(created_ns=NOW + HOUR)
    assert kinds(view, sighting(), NOW + 2 * HOUR) == [EditKind.RECORD]
    assert kinds(view, sighting(boot_id=BOOT), NOW + 2 * HOUR) == [EditKind.TAINT]
    joined = node(created_ns=NOW + 300 * NS)  # logged while it was booting
    assert kinds(joined, sighting(), NOW + HOUR) == [EditKind.TAINT]


def test_ledger_without_a_uid_belongs_to_nobody() -> None:
    data = json.loads(tainted().ledger or "") | {"uid": ""}
    assert kinds(node(ledger=json.dumps(data)), sighting(), NOW) == [EditKind.TAINT]


def test_repeats_are_written_although_the_clock_was_set_back() -> None:
    early = NOW - 10 * HOUR
    repeat = sighting(fault(uptime_us=1_010_000_000, time_ns=NOW + NS, identity="2"))
    assert kinds(tainted(), repeat, early, tainted=1) == [EditKind.RECORD]


def test_taints_of_a_time_to_come_do_not_use_up_the_rate() -> None:
    times = tuple(NOW + HOUR + n for n in range(10))
    assert kinds(node(), sighting(), NOW, taint_times_ns=times) == [EditKind.TAINT]


def test_removal_of_a_time_to_come_does_not_silence_the_node_until_then() -> None:
    view = replace(tainted(), taints=())
    view = after(view, decide(snapshot([view]), policy(), NOW + 10 * HOUR))
    new = sighting(
        fault(uptime_us=2 * 10**9, time_ns=NOW + HOUR, event_ns=NOW + HOUR, identity="n")
    )
    assert kinds(view, new, NOW + HOUR - 10 * NS) == [EditKind.TAINT]


@pytest.mark.parametrize(
    "mark",
    [
        render_reset_at(ResetAt(NOW + 24 * HOUR)),
        '{"time":"2020-01-01T00:00:00Z","uptime_us":Infinity}',
        '{"time":"2020-01-01T00:00:00Z","uptime_us":1e999}',
        '{"time":"2020-01-01T00:00:00Z","log":[]}',
        '{"time":7}',
        "yesterday",
        "0001-01-01T00:00:00+23:59",
        "[" * 5000,
    ],
)
def test_broken_reset_at_neither_stops_nor_silences(mark: str) -> None:
    assert kinds(node(reset_at=mark), sighting(), NOW) == [EditKind.TAINT]


def test_line_that_was_counted_before_the_reset_stays_history_without_an_uptime() -> None:
    seen = bare(NOW)
    view = after(node(), decide(snapshot([node()], {"gpu-1": [seen]}), policy(), NOW))  # type: ignore[list-item]
    view = reset(view, NOW + 60 * NS)
    assert kinds(view, bare(NOW), NOW + 120 * NS) == []  # read again after a restart


def test_other_fault_with_a_lower_uptime_first_seen_after_the_reset_is_shown() -> None:
    view = reset(tainted(), NOW + 60 * NS)
    late = sighting(fault("xid/48", uptime_us=990_000_000, time_ns=NOW - 10 * NS, identity="z"))
    assert kinds(view, late, NOW + 120 * NS) == [EditKind.RECORD]


def test_interrupted_reset_does_not_leave_a_condition_behind() -> None:
    view = replace(reset(tainted(), NOW + NS), condition=Condition("False", "FatalFault", "x"))
    plan = decide(snapshot([view]), policy(), NOW + 2 * NS)
    (written,) = [a.condition.status for a in plan.actions if isinstance(a, SetCondition)]
    assert written == "True"
    assert decide(snapshot([after(view, plan)]), policy(), NOW + 3 * NS).actions == ()


def test_condition_of_an_adopted_node_is_left_as_it_is() -> None:
    view = node(taints=(OUR_TAINT,), condition=Condition("False", "Somebody", "x"))
    assert decide(snapshot([view], tainted=1), policy(), NOW).actions == ()


def test_reset_takes_the_damaged_ledger_away_as_well() -> None:
    action = plan_reset(node(ledger="{half"), KEYS, NOW)
    assert action is not None
    assert action.edit.annotations[f"{KEYS.ledger}-corrupt"] is None
