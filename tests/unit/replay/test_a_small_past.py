"""A few lines of history give an exact timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core.ledger import parse
from konduktor_health.model import Keys, NodeEdit, NodeView, Policy, Snapshot, Taint
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import Told, batches, of_entry, of_fault
from konduktor_health.runtime.replay.passage import one_by_one
from konduktor_health.runtime.replay.past_nodes import Inventory, at_the_start, edited
from konduktor_health.runtime.replay.player import Assumed, Player, play
from konduktor_health.runtime.replay.timeline import Moment
from konduktor_health.timestamps import NS
from parsers.decode import Decoder
from parsers.fault import Severity
from tests.support.builders import BOOT, NOW, OTHER_BOOT, fault, node, policy
from tests.support.loglines import LOST
from tests.support.world import World

KEYS = Keys()
HOUR = 3600 * NS


def heard(name: str, after_s: float, fault_id: str = "xid/79", **fields: object) -> LogEntry:
    """A fatal line of a node, so long after the start."""
    at_ns = NOW + int(after_s * NS)
    values = {
        "node": name,
        "time_ns": at_ns,
        "uptime_us": int((100_000 + after_s) * 10**6),
        **fields,
    }
    return of_fault(fault(fault_id, **values), "files")


def played(
    entries: Iterable[LogEntry],
    rules: Policy | None = None,
    *,
    until_s: float = 3600.0,
    inventory: Inventory | None = None,
    assumed: Assumed | None = None,
) -> tuple[Player, list[Moment]]:
    moments: list[Moment] = []
    player = Player(
        rules or Policy(),
        inventory or Inventory(size=20),
        NOW,
        moments.append,
        assumed or Assumed(),
    )
    for _ in play(one_by_one(batches(entries, Told(), interval_ns=2 * NS)), [player]):
        pass
    player.end(NOW + int(until_s * NS))
    return player, moments


def story(moments: Iterable[Moment]) -> list[tuple[float, str, str, str]]:
    return [((each.time_ns - NOW) / NS, each.kind, each.node, each.reason) for each in moments]


def test_a_fatal_line_taints_at_the_next_poll_and_the_budget_holds_the_third() -> None:
    player, moments = played([heard("a", 1), heard("b", 11), heard("c", 21)])

    assert story(moments) == [
        (2.0, "taint", "a", ""),
        (12.0, "taint", "b", ""),
        (22.0, "hold", "c", "BudgetExhausted"),
    ]
    assert [(each.rule, each.fault) for each in moments] == [("fatal", "xid/79 0000:3b:00")] * 3
    pool = player.timeline.totals.pools["default"]
    assert (pool.peak, pool.limit) == (2, 2)
    assert pool.full.total_ns == 3600 * NS - 12 * NS


def test_node_time_out_of_scheduling_is_counted_to_the_end() -> None:
    player, _ = played([heard("a", 1)], until_s=7200.0)

    assert player.timeline.totals.out_ns == 2 * HOUR - 2 * NS
    assert player.timeline.totals.tainted == ["a"]


def test_a_reset_that_is_assumed_frees_the_budget_for_the_one_that_is_held() -> None:
    _, moments = played(
        [heard("a", 1), heard("b", 11)],
        inventory=Inventory(size=2),
        assumed=Assumed(reset_after_ns=HOUR),
        until_s=2 * 3600.0,
    )

    assert story(moments) == [
        (2.0, "taint", "a", ""),
        (12.0, "hold", "b", "BudgetExhausted"),
        (3602.0, "reset", "a", ""),
        (3602.0, "taint", "b", ""),
    ]


def test_a_line_that_two_shippers_delivered_counts_once() -> None:
    line = heard("a", 1)
    told = Told()

    (found,) = list(batches([line, line], told, interval_ns=2 * NS))

    assert found == (NOW + 2 * NS, [line])
    assert (told.lines, told.copies) == (1, 1)


def test_a_late_line_is_heard_when_it_comes() -> None:
    told = Told()

    found = list(batches([heard("a", 100), heard("b", 1)], told, interval_ns=2 * NS))

    assert [(at, [each.node_name for each in lines]) for at, lines in found] == [
        (NOW + 102 * NS, ["b", "a"])
    ]
    assert told.late == 1


def test_lines_without_time_or_node_are_counted_and_left_out() -> None:
    told = Told()
    timeless = of_fault(fault(node="a", time_ns=0), "files")
    homeless = of_fault(fault(node="", time_ns=NOW), "files")
    early = heard("a", 1)

    assert not list(
        batches([timeless, homeless, early], told, interval_ns=NS, start_ns=NOW + 5 * NS)
    )
    assert (told.without_time, told.without_node, told.outside) == (1, 1, 1)


def test_a_new_boot_id_is_a_boot_and_lines_of_the_boot_before_are_history() -> None:
    player, moments = played(
        [
            heard("a", 1, boot_id=BOOT, severity=Severity.DEGRADED),
            heard("a", 500, boot_id=OTHER_BOOT, severity=Severity.DEGRADED),
            heard("a", 600, "xid/48", boot_id=BOOT, uptime_us=1),
        ]
    )

    assert story(moments)[1] == (502.0, "boot", "a", "")
    faults = {each.fault for each in moments if each.kind == "taint"}
    assert "xid/48" not in faults, "its boot was over"
    assert player.nodes.nodes()["a"].boot_id == OTHER_BOOT


def test_an_uptime_that_begins_anew_is_a_boot() -> None:
    player, moments = played(
        [
            heard("a", 1, severity=Severity.INFO),
            heard("a", 2000, severity=Severity.INFO, uptime_us=60 * 10**6),
            heard("a", 2100, severity=Severity.INFO, uptime_us=160 * 10**6),
        ]
    )

    assert story(moments) == [(2002.0, "boot", "a", "")]
    assert player.boots.count == 1


def test_a_ring_that_is_shipped_again_is_no_boot() -> None:
    """Old uptimes, a new log time: the boot would have begun while the node was seen running."""
    player, _ = played(
        [
            heard("a", 1, severity=Severity.INFO),
            heard("a", 5000, severity=Severity.INFO, uptime_us=99_000 * 10**6),
        ]
    )

    assert player.boots.count == 0


def test_many_nodes_at_once_are_a_surge() -> None:
    _, moments = played(
        [heard(f"n{n}", 1 + n / 100) for n in range(8)],
        inventory=Inventory(size=100),
        until_s=60.0,
    )

    assert (moments[0].kind, moments[0].fault) == ("surge", "xid/79")
    assert "taint" not in {each.kind for each in moments}


def test_with_a_list_of_nodes_other_names_are_of_no_node() -> None:
    listed = Inventory(at_the_start([node("a")], ()), only=True)

    player, moments = played([heard("a", 1), heard("b", 2)], inventory=listed)

    assert story(moments) == [(2.0, "taint", "a", "")]
    assert player.unknown_lines == 1


def test_what_was_written_on_a_node_since_is_not_of_the_past() -> None:
    marked = node(
        "a",
        taints=(Taint(KEYS.taint, "true", "NoSchedule"),),
        ledger="{}",
        unschedulable=True,
        labels=(("now", "busy"), ("zone", "eu")),
        created_ns=5,
    )

    (view,) = at_the_start([marked], {"now"})

    assert (view.taints, view.ledger, view.unschedulable, view.boot_id) == ((), None, False, "")
    assert (view.labels, view.created_ns, view.gpu_capacity) == ((("zone", "eu"),), 5, 8)


def test_two_policies_share_what_was_decoded_and_nothing_else() -> None:
    entries = [heard("a", 1), heard("b", 11), heard("c", 21)]
    alone = [played(entries, rules)[1] for rules in (Policy(), policy(budget_percent=5.0))]
    beside: list[list[Moment]] = [[], []]
    players = [
        Player(rules, Inventory(size=20), NOW, moments.append)
        for rules, moments in zip((Policy(), policy(budget_percent=5.0)), beside, strict=True)
    ]

    for _ in play(one_by_one(batches(entries, Told(), interval_ns=2 * NS)), players):
        pass

    assert beside == alone
    assert [len([m for m in each if m.kind == "taint"]) for each in beside] == [2, 1]


def test_edits_are_applied_as_the_api_server_does() -> None:
    theirs, ours = Taint("other", "", "NoSchedule"), Taint(KEYS.taint, "true", "NoSchedule")
    view = node("a", taints=(theirs,), labels=(("zone", "eu"),))

    once = edited(
        view,
        NodeEdit(
            add_taints=(ours,),
            annotations={KEYS.ledger: "{}", KEYS.hold: "2030-01-01T00:00:00Z"},
            labels={KEYS.health: "faulty"},
        ),
        KEYS,
    )
    back = edited(
        once,
        NodeEdit(
            remove_taints=(ours,),
            annotations={KEYS.ledger: None, KEYS.hold: None},
            labels={KEYS.health: None},
        ),
        KEYS,
    )

    assert once.taints == (theirs, ours)
    assert (once.ledger, once.health_label, once.hold) == ("{}", "faulty", "2030-01-01T00:00:00Z")
    assert dict(once.labels) == {"zone": "eu", KEYS.health: "faulty"}
    assert back == view


# ------------------------------------------------------- the live loop, line by line


LINES = (
    LOST,
    "NVRM: Xid (PCI:0000:3b:00): 48, pid=1, name=a, DBE",
    "NVRM: Xid (PCI:0000:5d:00): 63, pid='<unknown>', name=<unknown>, Row Remapper: New row",
    "NVRM: Xid (PCI:0000:5d:00): 31, pid=7, name=python3, Ch 00000010",
)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(LINES), st.sampled_from((0, 1, 2, 30, 200))),
        min_size=1,
        max_size=25,
    )
)
def test_a_replay_decides_what_the_live_loop_decided(
    past: list[tuple[int, str, int]],
) -> None:
    """The same lines at the same polls: the same taints, ledgers, labels and conditions."""
    world = World(nodes=10)
    decoder = Decoder()
    names = {f"gpu-{n}": replace(node(f"gpu-{n}"), boot_id="") for n in range(10)}
    for name in names:
        world.change(name, boot_id="")
    world.loop.situation = replace(world.loop.situation, observation=None, complete=_all_observed)
    world.turn()
    player = Player(
        policy(), Inventory(tuple(names.values()), only=True), NOW, lambda _moment: None
    )
    at_s = 0
    for number, text, after_s in past:
        at_s += after_s
        while world.clock.now_ns() < NOW + at_s * NS:
            world.turn(min(1.0, (NOW + at_s * NS - world.clock.now_ns()) / NS))
        line = world.line(f"gpu-{number}", text)
        player.hear(world.clock.now_ns(), [of_entry(line, decoder)])
        world.hear(line)
        world.settle()
    for _ in range(320):  # repeats that wait for their interval are written
        world.turn(1.0)
    player.end(world.clock.now_ns())

    live, replayed = world.cluster.nodes, player.nodes.nodes()
    assert {name: _told(view) for name, view in live.items()} == {
        name: _told(view) for name, view in replayed.items()
    }


def _all_observed(snapshot: Snapshot) -> Snapshot:
    """What a replay takes for granted, and these silent nodes would not show."""
    return replace(snapshot, observed_from_ns=dict.fromkeys(snapshot.nodes, NOW))


def _told(view: NodeView) -> tuple[object, ...]:
    return view.taints, view.health_label, view.condition, _without_times(view.ledger)


def _without_times(ledger: str | None) -> object:
    """Records and their counts. The boot is not compared: a replay makes one up from uptimes."""
    if ledger is None:
        return None
    records = parse(ledger).records
    return [(each.device, each.fault_id, each.first_ns, each.last_ns) for each in records]
