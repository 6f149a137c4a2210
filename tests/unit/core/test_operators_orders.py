"""What do hold, release, taint and maintenance make of a Node?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.assess import assess
from konduktor_health.core.decide import decide
from konduktor_health.core.declared import Declared, describe_declared, parse_declared
from konduktor_health.core.ledger import MAX_BYTES, Ledger, parse, render
from konduktor_health.core.operator import (
    plan_hold,
    plan_maintenance,
    plan_release,
    plan_taint,
)
from konduktor_health.core.operators_record import OPERATOR_TAINT, asked_effect
from konduktor_health.core.pauses import held_by_operator
from konduktor_health.errors import HealthError
from konduktor_health.model import (
    EditKind,
    Hold,
    NodeEdit,
    NodeView,
    Severity,
    Taint,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect
from tests.support.builders import (
    BOOT,
    FOREIGN_TAINT,
    KEYS,
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    edited,
    node,
    policy,
    snapshot,
)
from tests.support.ledgers import record, sick

HOUR = 3600 * NS
EFFECTS = [Effect.PREFER_NO_SCHEDULE, Effect.NO_SCHEDULE, Effect.NO_EXECUTE]
LEVELS = [each.value for each in EFFECTS]


def ours(effect: str) -> Taint:
    return Taint(KEYS.taint, "true", effect)


def taint(
    view: NodeView, reason: str = "fan", effect: Effect = Effect.NO_SCHEDULE, now_ns: int = NOW
) -> NodeView:
    """The node once an operator has tainted it."""
    plan = plan_taint(view, KEYS, reason, effect, now_ns)
    assert plan is not None
    return edited(view, plan)


def release(view: NodeView, now_ns: int = NOW + HOUR) -> NodeView:
    plan = plan_release(view, KEYS, now_ns)
    assert plan is not None
    return edited(view, plan)


def ledger(view: NodeView) -> Ledger:
    assert view.ledger is not None
    return parse(view.ledger)


# ---------------------------------------------------------------- taint


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_taint_is_record_taint_and_label_in_one_edit(effect: Effect) -> None:
    view = node(taints=(FOREIGN_TAINT,))
    plan = plan_taint(view, KEYS, "fan \x1b[31mrattles\n", effect, NOW)
    assert plan is not None
    assert (plan.kind, plan.basis) == (EditKind.TAINT, view)
    assert plan.edit.add_taints == (ours(effect.value),)
    assert plan.edit.labels == {KEYS.health: "faulty"}
    done = edited(view, plan)
    written = ledger(done)
    assert (written.uid, written.boot_id, written.owned) == (view.uid, BOOT, (effect.value,))
    assert (written.written_ns, written.tainted_ns) == (NOW, NOW)
    (own,) = written.records
    assert (own.fault_id, own.device, own.severity, own.acting) == (
        OPERATOR_TAINT,
        "",
        Severity.FATAL,
        True,
    )
    assert own.text == "fan  [31mrattles"
    assert asked_effect(own) is effect
    assert plan_taint(done, KEYS, "fan \x1b[31mrattles\n", effect, NOW + HOUR) is None


def test_another_reason_rewrites_the_record_and_keeps_its_beginning() -> None:
    done = taint(taint(node()), "fan, and it smokes", now_ns=NOW + HOUR)
    (own,) = ledger(done).records
    assert (own.text, own.first_ns, own.last_ns) == ("fan, and it smokes", NOW, NOW + HOUR)
    assert done.taints == (OUR_TAINT,)
    assert ledger(done).tainted_ns == NOW


def test_an_operator_may_change_the_effect_of_the_own_taint_either_way() -> None:
    stronger = taint(taint(node()), effect=Effect.NO_EXECUTE)
    assert stronger.taints == (ours("NoExecute"),)
    weaker = taint(stronger, effect=Effect.PREFER_NO_SCHEDULE)
    assert weaker.taints == (ours("PreferNoSchedule"),)
    assert ledger(weaker).owned == ("PreferNoSchedule",)


def test_a_taint_that_a_fault_wants_is_strengthened_and_never_weakened() -> None:
    stronger = taint(sick(record()), effect=Effect.NO_EXECUTE)
    assert stronger.taints == (ours("NoExecute"),)
    assert ledger(stronger).owned == ("NoExecute",)
    same = taint(sick(record()), effect=Effect.PREFER_NO_SCHEDULE)
    assert same.taints == (OUR_TAINT,)
    assert ledger(same).owned == ("NoSchedule",)
    assert len(ledger(same).records) == 2


def test_an_adopted_taint_will_do_and_stays_adopted() -> None:
    view = node(taints=(Taint(KEYS.taint, "by-hand", "NoSchedule"),))
    done = taint(view)
    assert done.taints == view.taints
    assert ledger(done).owned == ()
    beside = taint(view, effect=Effect.NO_EXECUTE)
    assert beside.taints == (*view.taints, ours("NoExecute"))
    assert release(beside).taints == view.taints
    assert release(done).taints == view.taints
    assert release(done).health_label == "suspect"


def test_a_taint_that_somebody_removed_is_set_again() -> None:
    by_hand = replace(taint(node()), taints=())
    again = taint(by_hand, now_ns=NOW + HOUR)
    assert again.taints == (OUR_TAINT,)
    held = decide(snapshot([by_hand]), policy(), NOW + HOUR)
    noted = after(by_hand, held)
    assert ledger(noted).removed_ns == NOW + HOUR
    again = taint(noted, now_ns=NOW + 2 * HOUR)
    assert (again.taints, ledger(again).removed_ns) == ((OUR_TAINT,), 0)


def test_a_damaged_ledger_is_kept_beside_and_what_it_may_own_is_not_ours() -> None:
    done = taint(node(ledger="{nonsense", taints=(OUR_TAINT,)), effect=Effect.NO_EXECUTE)
    assert done.ledger_corrupt
    assert done.taints == (OUR_TAINT, ours("NoExecute"))
    plan = plan_taint(node(ledger="{nonsense"), KEYS, "fan", Effect.NO_SCHEDULE, NOW)
    assert plan is not None
    assert plan.edit.annotations[KEYS.ledger_corrupt] == "{nonsense"


def test_the_ledger_of_another_node_object_counts_as_none() -> None:
    done = taint(sick(record(), uid="uid-new", taints=()))
    assert [each.fault_id for each in ledger(done).records] == [OPERATOR_TAINT]
    assert ledger(done).uid == "uid-new"


def test_a_reboot_that_nobody_has_noticed_stays_to_be_noticed() -> None:
    view = sick(record(), boot_id=OTHER_BOOT)
    written = ledger(taint(view))
    assert (written.boot_id, written.written_ns) == (BOOT, NOW - 60 * NS)
    assert written.records[-1].boot_id == OTHER_BOOT
    found = assess(taint(view), snapshot([taint(view)]), policy(), NOW + HOUR)
    assert (found.after.rebooted_ns, found.after.noticed_ns) == (NOW - 60 * NS, NOW + HOUR)


def test_a_ledger_without_room_is_not_cut_for_it() -> None:
    crowd = [
        record(f"xid/{n}", device=f"0000:{n:02x}:00", text="x" * 200, first_ns=NOW - HOUR + n)
        for n in range(200)
    ]
    fits = ledger(sick(*crowd)).records
    room = MAX_BYTES - len(sick(*fits).ledger or "")
    view = sick(replace(fits[0], source="s" * (room - 40)), *fits[1:])
    assert len(ledger(view).records) == len(fits)
    with pytest.raises(HealthError, match="the ledger is full"):
        plan_taint(view, KEYS, "fan", Effect.NO_SCHEDULE, NOW)


# ---------------------------------------------------------------- the controller agrees


def rested(view: NodeView, now_ns: int) -> NodeView:
    """The node once a controller without a budget left has nothing more to do about it."""
    for cycle in range(5):
        plan = decide(snapshot([view], tainted=100), policy(), now_ns + cycle * NS)
        if not [each for each in plan.actions if not isinstance(each, Hold)]:
            return view
        view = after(view, plan)
    raise AssertionError("it does not come to rest")


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_running_controller_keeps_the_taint_and_shows_it(effect: Effect) -> None:
    view = taint(node(), effect=effect)
    done = rested(view, NOW + NS)
    assert (done.taints, done.health_label) == ((ours(effect.value),), "faulty")
    assert ledger(done).owned == (effect.value,)
    assert done.condition is not None
    assert "operator/taint on the node" in done.condition.message
    assert done.condition.message.endswith("fan")
    assert plan_taint(done, KEYS, "fan", effect, NOW + HOUR) is None
    assert rested(done, NOW + 40 * 24 * HOUR).taints == done.taints


def test_after_a_release_it_says_so_and_rests() -> None:
    view = taint(node())
    view = after(view, decide(snapshot([view]), policy(), NOW + NS))
    view = release(view)
    assert (view.taints, view.ledger, view.health_label) == ((), None, None)
    view = after(view, decide(snapshot([view]), policy(), NOW + 2 * HOUR))
    assert view.condition is not None
    assert view.condition.status == "True"
    assert decide(snapshot([view]), policy(), NOW + 3 * HOUR).actions == ()


# ---------------------------------------------------------------- release


def test_a_release_leaves_a_taint_that_a_fault_wants_and_says_which() -> None:
    view = taint(sick(record()))
    plan = plan_release(view, KEYS, NOW + HOUR)
    assert plan is not None
    assert "cleared operator/taint (fan)" in plan.message
    assert "the taint NoSchedule stays for xid/79 on 0000:3b:00" in plan.message
    done = edited(view, plan)
    assert (done.taints, done.health_label) == ((OUR_TAINT,), "faulty")
    assert [each.fault_id for each in ledger(done).records] == ["xid/79"]
    assert ledger(done).owned == ("NoSchedule",)


def test_a_release_takes_the_taint_although_other_records_are_shown() -> None:
    shown = record("xid/48", acting=False, why="InObservation", severity=Severity.DEGRADED)
    done = release(taint(sick(shown, taints=(), owned=())))
    assert (done.taints, done.health_label) == ((), "suspect")
    assert ledger(done).owned == ()
    assert ledger(done).records == (shown,)


def test_what_the_ledger_knows_of_reboots_outlives_a_release() -> None:
    known = Ledger(uid="uid-gpu-1", boot_id=BOOT, rebooted_ns=NOW - HOUR, noticed_ns=NOW - NS)
    done = release(taint(node(ledger=render(known))))
    assert (ledger(done).rebooted_ns, ledger(done).records) == (NOW - HOUR, ())


def test_a_release_ends_the_hold_too() -> None:
    view = replace(taint(node()), hold='{"since":"2026-01-02T03:04:05Z","reason":"mine"}')
    plan = plan_release(view, KEYS, NOW)
    assert plan is not None
    assert plan.message.startswith("ended the hold until it is ended: mine; cleared ")
    assert edited(view, plan).hold is None
    alone = node(hold="nonsense", ledger="{", taints=(OUR_TAINT,))
    plan = plan_release(alone, KEYS, NOW)
    assert plan is not None
    assert plan.edit == NodeEdit(annotations={KEYS.hold: None})


def test_there_is_nothing_to_release_on_a_node_that_only_faults_concern() -> None:
    for view in (node(), sick(record()), node(taints=(OUR_TAINT,)), node(ledger="{")):
        assert plan_release(view, KEYS, NOW) is None


# ---------------------------------------------------------------- hold, maintenance


def test_a_hold_is_an_annotation_and_the_same_one_is_not_written_twice() -> None:
    hold = Declared(NOW, NOW + HOUR, "swap \x07 cable")
    plan = plan_hold(node(), KEYS, hold, NOW)
    assert plan is not None
    assert plan.message == "held until 2027-01-15T09:00:00Z: swap   cable"
    view = edited(node(), plan)
    assert parse_declared(view.hold) == replace(hold, reason="swap   cable")
    assert plan_hold(view, KEYS, replace(hold, since_ns=NOW + NS), NOW + NS) is None
    longer = plan_hold(view, KEYS, replace(hold, until_ns=NOW + 2 * HOUR), NOW)
    assert longer is not None
    assert plan_hold(view, KEYS, replace(hold, until_ns=NOW + HOUR), NOW + 2 * HOUR) is not None


def test_maintenance_begins_without_an_end_and_is_ended() -> None:
    plan = plan_maintenance(node(), KEYS, Declared(NOW), NOW)
    assert plan is not None
    assert plan.message == "started maintenance until it is ended"
    view = edited(node(), plan)
    assert plan_maintenance(view, KEYS, Declared(NOW + NS), NOW + NS) is None
    ended = plan_maintenance(view, KEYS, None, NOW + HOUR)
    assert ended is not None
    assert edited(view, ended) == node()
    assert plan_maintenance(node(), KEYS, None, NOW) is None


def test_maintenance_that_cannot_be_read_can_be_ended() -> None:
    plan = plan_maintenance(node(maintenance="soon"), KEYS, None, NOW)
    assert plan is not None
    assert "the annotation cannot be read" in plan.message


def test_a_year_that_no_calendar_has_is_told_as_such() -> None:
    far = parse_declared("9999-12-31T23:59:59-12:00")
    assert far is not None
    assert describe_declared(far) == "until a time that cannot be told"


# ---------------------------------------------------------------- whatever is on the Node

_OTHERS = [
    FOREIGN_TAINT,
    Taint("example.com/faulty", "true", "NoSchedule"),
    Taint(KEYS.taint, "", "x"),
]
_taints = st.lists(
    st.sampled_from(
        _OTHERS
        + [Taint(KEYS.taint, value, each) for value in ("true", "by-hand") for each in LEVELS]
    ),
    unique_by=lambda each: (each.key, each.effect),
    max_size=5,
).map(tuple)
_records = st.lists(
    st.builds(
        record,
        st.sampled_from(["xid/79", "xid/48", "operator/other"]),
        device=st.sampled_from(["", "0000:3b:00"]),
        severity=st.sampled_from(Severity),
        acting=st.booleans(),
        text=st.text(max_size=20),
    ),
    unique_by=lambda each: each.key,
    max_size=4,
)
_annotations = st.none() | st.sampled_from(
    ["", "{", "2026-01-02T03:04:05Z", "2099-01-02T03:04:05Z", '{"until":null,"reason":"r"}']
)


@st.composite
def nodes(draw: st.DrawFn) -> NodeView:
    """A Node with whatever may be on it; what its ledger owns may be gone."""
    fields: dict[str, Any] = {
        "taints": draw(_taints),
        "hold": draw(_annotations),
        "maintenance": draw(_annotations),
        "boot_id": draw(st.sampled_from([BOOT, OTHER_BOOT, ""])),
        "reset_at": draw(_annotations),
        "health_label": draw(st.sampled_from([None, "faulty", "suspect"])),
    }
    kind = draw(st.sampled_from(["none", "read", "stale", "corrupt"]))
    if kind == "none":
        return node(**fields)
    if kind == "corrupt":
        return node(ledger="{nonsense", **fields)
    owned = draw(st.sampled_from([(), *((each,) for each in LEVELS)]))
    uid = "uid-gpu-1" if kind == "read" else "uid-new"
    return sick(*draw(_records), owned=owned, **{**fields, "uid": uid})


def foreign(view: NodeView) -> tuple[Taint, ...]:
    """What is not ours by the ledger: foreign taints, and adopted ones."""
    owned: tuple[str, ...] = ()
    if view.ledger and not view.ledger.startswith("{nonsense"):
        known = parse(view.ledger)
        owned = known.owned if known.uid == view.uid else ()
    return tuple(t for t in view.taints if t.key != KEYS.taint or t.effect not in owned)


@given(nodes(), st.sampled_from(EFFECTS), st.text(min_size=1, max_size=30))
def test_taint_and_release_leave_what_is_not_ours_and_come_to_rest(
    view: NodeView, effect: Effect, reason: str
) -> None:
    plan = plan_taint(view, KEYS, reason, effect, NOW)
    assert plan is not None
    done = edited(view, plan)
    assert set(foreign(view)) <= set(done.taints)
    slots = [(each.key, each.effect) for each in done.taints]
    assert len(slots) == len(set(slots))
    keeps = [each for each in done.taints if each.key == KEYS.taint]
    assert any(each.effect in LEVELS[LEVELS.index(effect.value) :] for each in keeps)
    assert len(ledger(done).owned) <= 1
    assert set(ledger(done).owned) <= {each.effect for each in keeps}
    assert plan_taint(done, KEYS, reason, effect, NOW + HOUR) is None
    assert (done.hold, done.maintenance, done.reset_at) == (
        view.hold,
        view.maintenance,
        view.reset_at,
    )
    free = release(done)
    assert set(foreign(view)) <= set(free.taints)
    assert plan_release(free, KEYS, NOW + HOUR) is None
    owned = set(ledger(free).owned) if free.ledger else set()
    assert owned <= {each.effect for each in free.taints if each.key == KEYS.taint}
    assert (free.maintenance, free.reset_at) == (view.maintenance, view.reset_at)


@given(nodes(), st.sampled_from(EFFECTS))
def test_a_controller_agrees_whatever_else_is_on_the_node(view: NodeView, effect: Effect) -> None:
    done = rested(taint(view, effect=effect), NOW + NS)
    assert set(foreign(view)) <= set(done.taints)
    keeps = [each.effect for each in done.taints if each.key == KEYS.taint]
    assert set(keeps) & set(LEVELS[LEVELS.index(effect.value) :])
    assert len(ledger(done).owned) <= 1
    again = plan_taint(done, KEYS, "fan", effect, NOW + HOUR)
    if again is not None:  # a hold kept the controller from lowering what nothing asks for now
        assert held_by_operator(done, NOW + HOUR)
        assert again.edit.remove_taints
        assert plan_taint(edited(done, again), KEYS, "fan", effect, NOW + HOUR) is None
    free = release(done)
    later = rested(free, NOW + 2 * HOUR)
    assert set(foreign(view)) <= set(later.taints)
    mine = set(ledger(later).owned) if later.ledger else set()
    if mine:  # a fault asks for it
        assert any(each.asks for each in ledger(later).records)


@given(nodes(), st.none() | st.integers(1, 10**18), st.text(max_size=300))
def test_hold_and_maintenance_touch_their_annotation_alone(
    view: NodeView, more_ns: int | None, reason: str
) -> None:
    declared = Declared(NOW, None if more_ns is None else NOW + more_ns * 1000 % (9 * HOUR), reason)
    hold = plan_hold(view, KEYS, declared, NOW)
    if hold is not None:
        done = edited(view, hold)
        assert replace(done, hold=view.hold) == view
        assert done.hold is not None
        if json.loads(done.hold).get("until", "9") > "2027-01-15T08:00:00.000000Z":
            assert plan_hold(done, KEYS, declared, NOW) is None
    for wanted in (declared, None):
        plan = plan_maintenance(view, KEYS, wanted, NOW)
        if plan is not None:
            assert replace(edited(view, plan), maintenance=view.maintenance) == view
