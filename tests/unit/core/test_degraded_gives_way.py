"""A degraded node gives its taint up for a fatal one: the weakest, once, within the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from konduktor_health.core.budget import Budgets, allowance
from konduktor_health.core.decide import decide
from konduktor_health.core.displace import Displacing, displacement
from konduktor_health.core.ledger import Ledger, Record, parse, render
from konduktor_health.core.standing import Standing, Taken, standing_of
from konduktor_health.model import (
    EditKind,
    FleetView,
    NodeView,
    Policy,
    Pool,
    PoolCounts,
    Remedy,
    Severity,
    Snapshot,
    Taint,
    Trust,
)
from konduktor_health.timestamps import NS
from tests.support.builders import (
    FOREIGN_TAINT,
    KEYS,
    NOW,
    edited,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)

SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")
HARD = Taint(KEYS.taint, "true", "NoSchedule")
DEFAULT = Policy().default_pool()


def record(severity: Severity = Severity.DEGRADED, **fields: Any) -> Record:
    known: dict[str, Any] = {"first_ns": NOW, "last_ns": NOW, "count": 1, "text": "a line"}
    fault_id = "xid/79" if severity is Severity.FATAL else "xid/92"
    return Record("", fault_id, severity, Remedy.REBOOT, **(known | fields))


def tainted(
    name: str,
    *records: Record,
    owned: tuple[str, ...] = ("PreferNoSchedule",),
    soft: bool = False,
    **fields: Any,
) -> NodeView:
    its = records or (record(),)
    ledger = Ledger(f"uid-{name}", owned=owned, tainted_ns=NOW, records=its, soft=soft)
    values: dict[str, Any] = {"taints": (FOREIGN_TAINT, SOFT), "ledger": render(ledger)}
    return node(name, **(values | fields))


def taken(view: NodeView, pool: Pool = DEFAULT, **rules: Any) -> Taken:
    return standing_of(view, pool, policy(**rules)).taken


def test_a_node_that_turns_fatal_itself_is_not_displaced_in_the_same_plan() -> None:
    """It was planned first: a second edit of it would rest on a node that is no longer so."""
    turning, other = tainted("a"), node("b")
    seen = {
        "a": [sighting(fault(node="a", event_ns=NOW - NS))],
        "b": [sighting(fault(node="b"))],
    }
    shown = snapshot([turning, other], seen, managed=10, tainted=1)
    plan = decide(replace(shown, displaceable={"default": (turning,)}), policy(), NOW)
    assert [each.kind for each in edits(plan) if each.node == "a"] == [EditKind.TAINT]


def test_what_a_node_takes_from_the_budget() -> None:
    assert taken(node()) is Taken.NOTHING
    assert taken(node(taints=(FOREIGN_TAINT,), ready=False, unschedulable=True)) is Taken.NOTHING
    assert taken(node(taints=(HARD,))) is Taken.ADOPTED
    assert taken(tainted("a", taints=(HARD,), owned=("NoSchedule",))) is Taken.TAINT
    assert taken(tainted("a")) is Taken.SOFT
    assert taken(tainted("a", record(Severity.FATAL))) is Taken.TAINT
    assert taken(tainted("a", record(acting=False))) is Taken.TAINT
    assert taken(tainted("a", taints=(SOFT, HARD))) is Taken.TAINT  # one of them is not ours
    assert taken(tainted("a", ledger="{damaged")) is Taken.ADOPTED


def test_weak_taint_takes_a_place_unless_it_was_given_for_want_of_one() -> None:
    assert taken(tainted("a", record(Severity.FATAL))) is Taken.TAINT
    assert taken(tainted("a", record(Severity.FATAL), soft=True)) is Taken.HELD
    assert not Taken.HELD.a_taint


def test_unready_cordoned_and_repaired_nodes_count_where_the_pool_says_so() -> None:
    counting = Pool("p", count_unready=True, count_cordoned=True)
    assert taken(node(ready=False), counting) is Taken.UNAVAILABLE
    assert taken(node(unschedulable=True), counting) is Taken.UNAVAILABLE
    assert taken(node(), counting) is Taken.NOTHING
    assert taken(tainted("a", ready=False), counting) is Taken.SOFT  # counts once
    assert standing_of(node(), DEFAULT, policy(), in_repair=True) == Standing(Taken.UNAVAILABLE)


def full(*views: NodeView, **fields: Any) -> Snapshot:
    counts = PoolCounts(managed=10 * len(views), tainted=len(views), **fields)
    return Snapshot(
        nodes={},
        sightings={},
        fleet=FleetView(managed=10 * len(views), pools={"default": counts}),
        displaceable={"default": views},
    )


def test_each_gives_way_once_in_the_order_given_and_never_for_itself() -> None:
    first, second = tainted("a"), tainted("b")
    snapshot = full(first, second)
    room = allowance(snapshot.fleet, policy(), NOW)
    displacing = Displacing(snapshot, policy(), NOW)
    assert displacing.for_(node("x"), room) == first
    assert displacing.for_(node("y"), room) == second
    assert displacing.for_(node("z"), room) is None
    assert Displacing(full(first), policy(), NOW).for_(first, room) is None


def test_none_gives_way_to_a_node_that_the_rate_holds_next() -> None:
    times = (NOW - NS,) * 10
    snapshot = full(tainted("a"), taint_times_ns=times)
    room = allowance(snapshot.fleet, policy(), NOW)
    assert Displacing(snapshot, policy(), NOW).for_(node("x"), room) is None


def test_node_that_has_become_worse_since_it_was_counted_stays() -> None:
    snapshot = full(tainted("a", record(Severity.FATAL)))
    room = allowance(snapshot.fleet, policy(), NOW)
    assert Displacing(snapshot, policy(), NOW).for_(node("x"), room) is None


def test_another_pool_gives_nothing_unless_it_is_the_common_bound_that_is_reached() -> None:
    view = tainted("a", labels=(("zone", "us"),))
    wanting = node("x", labels=(("zone", "eu"),))
    for most, gives in ((20, None), (1, view)):
        rules = policy(pools=(Pool("zone", label="zone", max_nodes=most),))
        pools = {"zone/eu": PoolCounts(10, 0 if most == 1 else 1), "zone/us": PoolCounts(10, 1)}
        snapshot = Snapshot({}, {}, FleetView(20, pools=pools), displaceable={"zone/us": (view,)})

        room = Budgets(snapshot.fleet, rules, NOW).of(wanting)
        assert room.refusal() is not None
        assert Displacing(snapshot, rules, NOW).for_(wanting, room) == gives


def test_displaced_node_keeps_its_record_and_owns_nothing() -> None:
    view = tainted("a", record(first_ns=NOW - 5), record(Severity.INFO, acting=False))
    edit = displacement(view, policy(), NOW + NS, "x")
    assert edit.kind is EditKind.DISPLACE
    assert edit.evidence == ("xid/92 on the node: a line",)
    assert "for x" in edit.message
    after = edited(view, edit)
    assert after.taints == (FOREIGN_TAINT,)
    ledger = parse(after.ledger or "")
    assert (ledger.owned, ledger.tainted_ns, ledger.removed_ns) == ((), 0, 0)
    assert ledger.records == parse(view.ledger or "").records
    assert taken(after) is Taken.NOTHING  # the place is free


def test_weakest_proof_and_youngest_fault_stand_out() -> None:
    def weakness(*records: Record) -> tuple[int, int]:
        return standing_of(tainted("a", *records), DEFAULT, policy()).weakness

    assert weakness(record(trust=Trust.PROBE)) > weakness(record(trust=Trust.KERNEL))
    assert weakness(record(first_ns=NOW)) > weakness(record(first_ns=NOW - 1))
