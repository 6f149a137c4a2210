"""Lines from before a boot, a reset or a removal by hand do not act."""

from __future__ import annotations

from dataclasses import replace

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.core.reset import EARLIER_NS, MOST_EARLIER, parse_reset_at, plan_reset
from konduktor_health.model import EditKind, Hold, HoldReason, NodeView
from konduktor_health.timestamps import NS
from tests.support.builders import (
    BOOT,
    FOREIGN_TAINT,
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

LATER = NOW + 60 * NS


def tainted() -> NodeView:
    view = node(taints=(FOREIGN_TAINT,))
    return after(view, decide(snapshot([view], {"gpu-1": [sighting()]}), policy(), NOW))


def reset(view: NodeView, at_ns: int) -> NodeView:
    action = plan_reset(view, KEYS, at_ns)
    assert action is not None
    return edited(view, action)


def test_reset_removes_taint_ledger_and_label_and_nothing_foreign() -> None:
    view = reset(tainted(), LATER)
    assert view.taints == (FOREIGN_TAINT,)
    assert view.ledger is None
    assert view.health_label is None
    mark = parse_reset_at(view.reset_at)
    assert mark is not None
    assert (mark.time_ns, mark.boot_id, mark.uptime_us) == (LATER, BOOT, 1_000_000_000)


def test_reset_touches_no_node_without_our_taint_or_ledger() -> None:
    assert plan_reset(node(taints=(FOREIGN_TAINT,)), KEYS, NOW) is None


def test_reset_removes_a_taint_set_by_hand_whatever_its_effect() -> None:
    by_hand = replace(OUR_TAINT, effect="NoExecute", value="")
    assert reset(node(taints=(by_hand,)), NOW).taints == ()


def test_replayed_ring_after_reset_changes_nothing() -> None:
    view = reset(tainted(), LATER)
    replayed = sighting(time_ns=LATER + NS, event_ns=LATER - 50 * NS)
    plan = decide(snapshot([view], {"gpu-1": [replayed]}), policy(), LATER + 2 * NS)
    assert edits(plan) == []
    assert "gpu-1" in plan.settled


def reset_twice() -> NodeView:
    """Reset at LATER for the first fault, and 60 s later for another one."""
    other = sighting(
        fault(
            "xid/95",
            uptime_us=1_090_000_000,
            event_ns=LATER + 30 * NS,
            time_ns=LATER + 30 * NS,
            identity="other",
        )
    )
    view = reset(tainted(), LATER)
    again = decide(snapshot([view], {"gpu-1": [other]}), policy(), LATER + 31 * NS)
    return reset(after(view, again), LATER + 60 * NS)


def test_what_an_earlier_reset_cleared_is_not_shown_after_the_next_one() -> None:
    view = reset_twice()
    replayed = sighting(time_ns=LATER + 61 * NS, event_ns=LATER - 50 * NS)
    plan = decide(snapshot([view], {"gpu-1": [replayed]}), policy(), LATER + 62 * NS)
    assert edits(plan) == []
    assert "gpu-1" in plan.settled


def test_the_same_fault_between_two_resets_that_is_first_seen_after_both_is_shown() -> None:
    view = reset_twice()
    late = sighting(
        fault(
            uptime_us=1_080_000_000,
            event_ns=LATER + 20 * NS,
            time_ns=LATER + 20 * NS,
            identity="x",
        )
    )
    plan = decide(snapshot([view], {"gpu-1": [late]}), policy(), LATER + 62 * NS)
    assert [edit.edit.labels for edit in edits(plan)] == [{KEYS.health: "suspect"}]


def test_resets_are_remembered_within_bounds() -> None:
    view = tainted()
    for n in range(40):
        view = reset(view, LATER + n * NS)
        lines = {"gpu-1": [sighting(fault(uptime_us=2_000_000_000 + n, time_ns=LATER + n * NS))]}
        view = after(view, decide(snapshot([view], lines), policy(), LATER + n * NS + 1))
    mark = parse_reset_at(view.reset_at)
    assert mark is not None
    assert len(mark.earlier) == MOST_EARLIER
    assert all(not each.earlier for each in mark.earlier)
    much_later = parse_reset_at(reset(view, LATER + 40 * NS + EARLIER_NS).reset_at)
    assert much_later is not None
    assert much_later.earlier == ()


def test_older_than_reset_but_first_seen_after_it_is_shown_as_suspect() -> None:
    view = reset(tainted(), LATER)
    late = sighting(
        fault(uptime_us=1_030_000_000, event_ns=LATER - 30 * NS, time_ns=LATER + NS, identity="x")
    )
    plan = decide(snapshot([view], {"gpu-1": [late]}), policy(), LATER + 2 * NS)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.RECORD
    assert edit.edit.labels == {KEYS.health: "suspect"}


def test_new_fault_after_reset_taints_again() -> None:
    view = reset(tainted(), LATER)
    new = sighting(
        fault(uptime_us=1_100_000_000, event_ns=LATER + NS, time_ns=LATER + NS, identity="x")
    )
    plan = decide(snapshot([view], {"gpu-1": [new]}), policy(), LATER + 2 * NS)
    assert [edit.kind for edit in edits(plan)] == [EditKind.TAINT]


def test_line_of_an_earlier_boot_that_the_ledger_knows_is_dropped() -> None:
    view = replace(tainted(), boot_id=OTHER_BOOT)
    old = sighting(fault("xid/95", boot_id=BOOT, identity="x"))
    plan = decide(snapshot([view], {"gpu-1": [old]}, tainted=1), policy(), LATER)
    (edit,) = edits(plan)  # that the node has booted is news; the line is not
    ledger = parse(edit.edit.annotations[KEYS.ledger] or "")
    assert [record.fault_id for record in ledger.records] == ["xid/79"]
    assert "gpu-1" in plan.settled


def test_line_of_a_boot_that_the_node_does_not_report_yet_waits_and_then_acts() -> None:
    view = node(boot_id=OTHER_BOOT)
    early = decide(snapshot([view], {"gpu-1": [sighting(boot_id=BOOT)]}), policy(), NOW)
    assert [edit.kind for edit in edits(early)] == [EditKind.RECORD]
    booted = replace(after(view, early), boot_id=BOOT)
    then = decide(snapshot([booted]), policy(), LATER)
    assert [edit.kind for edit in edits(then)] == [EditKind.TAINT]


def test_uptime_that_points_before_the_reboot_is_history() -> None:
    old = sighting(time_ns=NOW, event_ns=NOW, uptime_us=1_000_000_000)  # booted 1000 s ago
    snap = snapshot([node()], {"gpu-1": [old]}, boot_changed_ns={"gpu-1": NOW - 500 * NS})
    assert edits(decide(snap, policy(), NOW)) == []


def test_line_without_uptime_and_boot_soon_after_a_reboot_is_only_suspect() -> None:
    bare = sighting(uptime_us=None)
    snap = snapshot([node()], {"gpu-1": [bare]}, boot_changed_ns={"gpu-1": NOW - 500 * NS})
    assert [edit.kind for edit in edits(decide(snap, policy(), NOW))] == [EditKind.RECORD]
    calm = snapshot([node()], {"gpu-1": [bare]}, boot_changed_ns={"gpu-1": NOW - 7200 * NS})
    assert [edit.kind for edit in edits(decide(calm, policy(), NOW))] == [EditKind.TAINT]


def test_taint_removed_by_hand_holds_until_newer_evidence() -> None:
    view = replace(tainted(), taints=(FOREIGN_TAINT,))
    plan = decide(snapshot([view]), policy(), LATER)
    holds = [action.reason for action in plan.actions if isinstance(action, Hold)]
    assert holds == [HoldReason.TAINT_REMOVED]
    assert [edit.kind for edit in edits(plan)] == [EditKind.RECORD]
    view = after(view, plan)
    assert edits(decide(snapshot([view]), policy(), LATER + NS)) == []
    newer = sighting(
        fault(uptime_us=1_100_000_000, event_ns=LATER + NS, time_ns=LATER + NS, identity="x")
    )
    again = decide(snapshot([view], {"gpu-1": [newer]}), policy(), LATER + 2 * NS)
    assert [edit.kind for edit in edits(again)] == [EditKind.TAINT]


def test_taint_without_a_ledger_is_adopted_and_left_alone() -> None:
    view = node(taints=(OUR_TAINT,))
    assert decide(snapshot([view], tainted=1), policy(), NOW).actions == ()
    plan = decide(snapshot([view], {"gpu-1": [sighting()]}, tainted=1), policy(), NOW)
    (edit,) = edits(plan)
    assert edit.edit.add_taints == edit.edit.remove_taints == ()
    assert parse(edit.edit.annotations[KEYS.ledger] or "").owned == ()


def test_corrupt_ledger_keeps_the_taint_and_is_reported() -> None:
    view = node(taints=(OUR_TAINT,), ledger="{half")
    plan = decide(snapshot([view], tainted=1), policy(), NOW)
    assert edits(plan) == []
    assert [a.reason for a in plan.actions if isinstance(a, Hold)] == [HoldReason.LEDGER_CORRUPT]


def test_corrupt_ledger_is_kept_aside_when_a_new_one_is_written() -> None:
    view = node(ledger="{half")
    (edit,) = edits(decide(snapshot([view], {"gpu-1": [sighting()]}), policy(), NOW))
    assert edit.edit.annotations[f"{KEYS.ledger}-corrupt"] == "{half"
    assert edit.edit.add_taints == (OUR_TAINT,)


def test_ledger_of_another_node_uid_is_not_this_nodes() -> None:
    view = replace(tainted(), uid="new-machine", taints=())
    plan = decide(snapshot([view]), policy(), LATER)
    assert all(edit.kind is EditKind.RECORD for edit in edits(plan))
    assert not any(isinstance(action, Hold) for action in plan.actions)
