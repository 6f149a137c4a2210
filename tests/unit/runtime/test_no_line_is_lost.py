"""Every line of a managed node reaches its Node, whatever comes between."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core import assess as assess_module
from konduktor_health.core import decide as decide_module
from konduktor_health.core.ledger import parse
from konduktor_health.errors import ClusterUnavailable, Conflict, LeadershipLost
from konduktor_health.model import NodeView, Trust
from konduktor_health.ports import Poll, SourceStatus
from konduktor_health.runtime.boots import BootTimes
from konduktor_health.runtime.sources import Delivery
from konduktor_health.runtime.waiting import MOST_NAMES, MOST_PER_NAME, WAIT_S
from konduktor_health.timestamps import NS
from parsers.decode import Decoder
from tests.support.builders import KEYS, NOW, node
from tests.support.world import World


def counts(world: World, name: str) -> list[int]:
    return [r.count for r in parse(world.cluster.nodes[name].ledger or "").records]


def test_line_of_a_node_that_is_made_later_waits_for_it() -> None:
    world = World()
    world.hear(world.line("late"))
    assert world.observer.unknown_lines == 1
    world.turn(30)
    world.cluster.put(node("late"))
    world.feed.sync()
    world.turn(1)
    assert world.tainted() == ["late"]


def test_line_of_a_node_whose_gpus_are_not_known_yet_waits_for_them() -> None:
    world = World()
    world.cluster.put(node("new", gpu_capacity=0, selected=False))
    world.feed.sync()
    world.hear(world.line("new"))
    assert world.observer.unmanaged_faults == 1
    assert world.tainted() == []
    world.change("new", gpu_capacity=8)
    world.turn(1)
    assert world.tainted() == ["new"]
    assert counts(world, "new") == [1]


def test_line_does_not_wait_for_ever_and_bounds_the_cursor_while_it_does() -> None:
    world = World()
    world.hear(world.line("late"))
    assert world.observer.oldest_pending_ns() == NOW
    world.turn(WAIT_S + 1)
    assert world.observer.oldest_pending_ns() is None
    world.cluster.put(node("late"))
    world.feed.sync()
    world.turn(1)
    assert world.tainted() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_line_from_the_time_of_an_opt_out_does_not_act_when_the_node_opts_in(when: str) -> None:
    world = World()
    out: dict[str, Any] = {"managed_label": "false"}
    if when == "before":
        world.change("gpu-1", **out)
        world.hear(world.line("gpu-1"))
    else:
        world.cluster.put(node("gpu-x", gpu_capacity=0, selected=False))
        world.feed.sync()
        world.hear(world.line("gpu-x"))
        world.change("gpu-x", gpu_capacity=8, **out)
    world.turn(1)
    for name in list(world.cluster.nodes):
        world.change(name, managed_label=None)
    world.turn(1)
    assert world.tainted() == []


def test_room_for_waiting_lines_is_bounded() -> None:
    world = World(1)
    world.hear(*[world.line(f"x{n}") for n in range(2 * MOST_NAMES)])
    world.hear(*[world.line("y") for _ in range(2 * MOST_PER_NAME)])
    world.hear(world.line("z", "Xid (" + "x" * 60_000))
    world.hear(world.line("pods", trust=Trust.POD, pod=True))
    kept = world.observer._waiting._lines
    assert len(kept) == MOST_NAMES
    assert max(len(lines) for lines in kept.values()) == MOST_PER_NAME
    assert not {"z", "pods"} & kept.keys()


def test_conflict_of_one_node_is_not_forgotten_over_another_nodes_fault() -> None:
    world = World()
    world.fail("edit", "gpu-1", Conflict("gpu-1"))
    world.hear(world.line("gpu-1"))
    world.hear(world.line("gpu-2"))  # at once: the retry of gpu-1 is not due yet
    world.turn(1)
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_condition_that_was_refused_is_written_later_and_the_fault_counted_once() -> None:
    world = World()
    world.fail("condition", "gpu-1", ClusterUnavailable("gpu-1"))
    world.hear(world.line("gpu-1"))
    assert world.reason("gpu-1") == ""
    world.turn(1)
    assert world.reason("gpu-1") == "FatalFault"
    assert counts(world, "gpu-1") == [1]
    assert len(world.cluster.events) == 1


def test_edit_whose_answer_is_lost_is_not_made_twice() -> None:
    world = World()

    def lose_answer(what: str, name: str) -> None:
        if what == "event":
            world.cluster.before = lambda _what, _name: None
            raise ClusterUnavailable("no answer")

    world.cluster.before = lose_answer
    world.hear(world.line("gpu-1"))
    world.turn(1)
    assert world.cluster.writes.count("edit gpu-1") == 1
    assert world.reason("gpu-1") == "FatalFault"


def test_line_that_breaks_the_parser_costs_nothing_but_itself() -> None:
    class Breaking(Decoder):
        def feed(self, record: Any, node: str = "", time_ns: int = 0) -> Any:
            if "breaks" in record.text:
                raise KeyError("bug")
            return super().feed(record, node, time_ns)

    world = World(decoder=Breaking)
    world.hear(world.line("gpu-1", "Xid ( breaks"), world.line("gpu-2"))
    assert world.tainted() == ["gpu-2"]
    assert world.observer.undecodable == 1


def test_node_that_cannot_be_decided_about_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    real = assess_module.assess

    def assess(view: NodeView, *rest: Any, **options: Any) -> Any:
        if view.name == "gpu-1":
            raise ZeroDivisionError
        return real(view, *rest, **options)

    monkeypatch.setattr(decide_module, "assess", assess)
    world = World()
    world.hear(world.line("gpu-1"), world.line("gpu-2"))
    assert world.tainted() == ["gpu-2"]
    assert world.agenda.seconds_until_due() > 0
    monkeypatch.setattr(decide_module, "assess", real)
    world.turn(11)
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_stored_cursor_never_passes_a_line_that_is_not_on_its_node() -> None:
    world = World(surge_min_nodes=2, surge_percent=0.1, surge_quiet_s=600.0)
    pending_ns = world.clock.now_ns() - 40 * NS
    world.hear(world.line("gpu-1", ago_s=40), world.line("gpu-2", ago_s=10))
    assert world.tainted() == []  # held as a surge
    assert world.cluster.state is not None
    assert world.cluster.state["sources"]["kmsg"]["cursor"] == pending_ns
    world.turn(700)
    assert world.tainted() == ["gpu-1", "gpu-2"]
    world.clock.advance(300)
    world.hear()
    assert world.cluster.state["sources"]["kmsg"]["cursor"] == world.clock.now_ns()


def test_old_event_time_does_not_hold_the_cursor_back_by_days() -> None:
    world = World(1)
    world.fail("edit", "gpu-0", Conflict("x"), times=99)
    old = world.line("gpu-0", ago_s=5 * 86_400)
    world.hear(world.line("gpu-0"), replace(old, time_ns=world.clock.now_ns()))  # a ring, replayed
    assert world.observer.oldest_pending_ns() == NOW


def test_leadership_lost_between_two_actions_stops_the_rest() -> None:
    world = World()

    def lose(what: str, _name: str) -> None:
        world.leading = what != "event"

    world.cluster.before = lose
    with pytest.raises(LeadershipLost):
        world.hear(world.line("gpu-1"))
    assert world.cluster.writes == ["edit gpu-1", "event gpu-1"]
    world.cluster.before = lambda _what, _name: None
    with pytest.raises(LeadershipLost):
        world.restarted().hear(world.line("gpu-2"))
    assert world.cluster.writes == ["edit gpu-1", "event gpu-1"]


def test_who_was_followed_by_another_leader_ends_even_without_work() -> None:
    """What it remembers, cursors and all, is older than what the other has stored."""
    world = World()
    world.hear(world.line("gpu-1"))
    writes = list(world.cluster.writes)

    def lost() -> None:
        raise LeadershipLost("another leads")

    world.loop.not_lost = lost
    with pytest.raises(LeadershipLost):
        world.loop.run(world.stop)
    assert world.cluster.writes == writes


def test_who_leads_no_more_writes_no_checkpoint() -> None:
    world = World()
    world.leading = False
    with pytest.raises(LeadershipLost):
        world.hear()
    assert world.cluster.writes == []


def test_replayed_ring_is_dated_by_its_last_line() -> None:
    world = World()
    world.observer.floor_ns = NOW - 900 * NS
    now_ns = world.clock.now_ns()
    old = replace(world.line("gpu-1", ago_s=86_400), time_ns=now_ns)  # yesterday's uptime
    new = replace(world.line("gpu-1", "NVRM: Xid (PCI:0000:18:00): 13, x"), time_ns=now_ns + 1)
    world.hear(old, new)
    assert world.tainted() == []
    assert world.cluster.nodes["gpu-1"].health_label == "suspect"


def test_pod_lines_do_not_date_kernel_lines() -> None:
    world = World()
    world.observer.floor_ns = NOW - 900 * NS
    forged = world.line("gpu-1", pod=True, trust=Trust.POD, source="pods")
    record = replace(forged.record, uptime_us=10**14)
    world.hear(replace(forged, record=record))
    world.hear(world.line("gpu-1"))
    assert world.tainted() == ["gpu-1"]


def test_damaged_uptime_stamp_does_not_move_a_boot() -> None:
    world = World()
    world.observer.floor_ns = NOW - 900 * NS
    odd = world.line("gpu-1")
    record = replace(odd.record, uptime_us=10**16)
    world.hear(replace(odd, record=record, trust=Trust.KERNEL))
    world.hear(world.line("gpu-1", LOST_ELSEWHERE))
    assert world.tainted() == ["gpu-1"]


LOST_ELSEWHERE = "NVRM: Xid (PCI:0000:86:00): 79, pid=1, GPU has fallen off the bus."


def test_lines_of_a_deleted_nodes_name_do_not_act_on_the_new_node() -> None:
    world = World(surge_min_nodes=1, surge_percent=0.001, surge_quiet_s=600.0)
    world.hear(world.line("gpu-1"))  # held: not on the node
    world.clock.advance(10)
    fresh = node("gpu-1", uid="another", created_ns=world.clock.now_ns())
    world.cluster.put(fresh)
    world.feed.sync()  # deletion and creation between two cycles
    world.turn(700)
    assert world.tainted() == []
    assert world.cluster.nodes["gpu-1"].ledger is None
    world.hear(world.line("gpu-1"))
    world.turn(700)
    assert world.tainted() == ["gpu-1"]


def test_stopping_does_not_wait_for_a_write_that_hangs() -> None:
    world = World()
    hanging = threading.Event()

    def hang(what: str, name: str) -> None:
        if what == "get":
            world.stop.set()
            hanging.wait(20)

    world.cluster.before = hang
    world.hear(world.line("gpu-1"), world.line("gpu-2"), world.line("gpu-3"))
    hanging.set()
    assert world.agenda.unfinished() == 3
    assert world.observer.oldest_pending_ns() == NOW


def test_reset_in_the_middle_of_a_plan_is_not_overwritten_by_its_condition() -> None:
    world = World()

    def reset(what: str, name: str) -> None:
        if what == "event":
            view = world.cluster.nodes[name]
            world.cluster.put(replace(view, taints=(), ledger=None, health_label=None))

    world.cluster.before = reset
    world.hear(world.line("gpu-1"))
    assert world.reason("gpu-1") == ""


def test_heartbeat_in_the_middle_of_a_plan_costs_no_cycle() -> None:
    world = World()

    def heartbeat(what: str, name: str) -> None:
        if what == "event":
            world.cluster.put(world.cluster.nodes[name])

    world.cluster.before = heartbeat
    world.hear(world.line("gpu-1"))
    assert world.reason("gpu-1") == "FatalFault"


def test_foreign_taint_set_meanwhile_is_kept() -> None:
    from tests.support.builders import FOREIGN_TAINT

    world = World()

    def meddle(what: str, name: str) -> None:
        if what == "edit" and not world.cluster.nodes[name].taints:
            world.change(name, taints=(FOREIGN_TAINT,))

    world.cluster.before = meddle
    world.hear(world.line("gpu-1"))
    world.turn(1)
    keys = {taint.key for taint in world.cluster.nodes["gpu-1"].taints}
    assert keys == {FOREIGN_TAINT.key, KEYS.taint}


def test_uptime_dates_a_line_before_what_its_wrapper_says() -> None:
    world = World()
    entry = world.line("gpu-1", ago_s=10)
    boots = BootTimes()
    boots.note("gpu-1", "", entry)
    late = replace(entry, time_ns=NOW)
    stated = replace(late, record=replace(late.record, time_ns=NOW - 7 * NS))
    assert boots.event_ns("gpu-1", "", stated) == NOW - 10 * NS
    bare = replace(stated, record=replace(stated.record, uptime_us=None))
    assert boots.event_ns("gpu-1", "", bare) == NOW - 7 * NS
    assert boots.event_ns("gpu-1", "", replace(bare, trust=Trust.POD)) == NOW
    ahead = replace(bare, record=replace(bare.record, time_ns=NOW + NS))
    assert boots.event_ns("gpu-1", "", ahead) == NOW


def test_known_boots_are_bounded() -> None:
    world = World(1)
    boots = BootTimes(most=3)
    for n in range(10):
        boots.note("gpu-1", str(n), world.line("gpu-1", ago_s=60))
    assert boots.event_ns("gpu-1", "9", replace(world.line("gpu-1"), time_ns=NOW + NS)) == NOW
    assert len(boots._starts) == 3


def test_heartbeats_of_nodes_without_gpus_take_no_room() -> None:
    world = World(1)
    beat = world.line("cpu-1")
    world.hear(replace(beat, record=replace(beat.record, heartbeat=True)))
    assert world.observer.oldest_pending_ns() is None


def raising(*_args: object, **_kwargs: object) -> Any:
    raise RuntimeError("a bug")


def deliver(world: World, source: str, name: str) -> Delivery:
    status = SourceStatus(source, ok=True, cursor_ns=world.clock.now_ns())
    return Delivery(source, Poll((world.line(name),), status), None)


def test_deliveries_that_a_failed_cycle_has_not_come_to_are_heard_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    waiting = [[deliver(world, "one", "gpu-1"), deliver(world, "two", "gpu-2")]]
    monkeypatch.setattr(world.loop.sources, "take", lambda: waiting.pop() if waiting else [])
    real = world.report.source
    failed: list[str] = []

    def once(status: SourceStatus) -> None:
        if not failed:
            failed.append(status.name)
            raising()
        real(status)

    monkeypatch.setattr(world.report, "source", once)
    stop = threading.Event()
    rounds: list[threading.Event] = []

    def wait(event: threading.Event, _seconds: float) -> bool:
        rounds.append(event)
        world.feed.sync()
        if len(rounds) > 10:
            stop.set()
        return False

    monkeypatch.setattr(world.clock, "wait", wait)
    world.loop.run(stop)
    assert failed == ["one"]
    assert counts(world, "gpu-2") == [1]
    assert counts(world, "gpu-1") == [1]


def test_a_bug_about_one_line_costs_no_other_line(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    real = world.observer._kin.hear
    monkeypatch.setattr(
        world.observer._kin, "hear", lambda f: raising() if f.node == "gpu-2" else real(f)
    )
    world.hear(world.line("gpu-1"), world.line("gpu-2"), world.line("gpu-3"))
    world.settle()
    assert counts(world, "gpu-1") == counts(world, "gpu-3") == [1]
    assert world.observer.undecodable == 1


def test_a_part_that_only_adds_to_what_is_known_stops_no_taint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    monkeypatch.setattr(world.observation, "look", raising)
    monkeypatch.setattr("konduktor_health.runtime.reboots.Reboots.faults", raising)
    monkeypatch.setattr("konduktor_health.runtime.domains.DomainWatch.look", raising)
    world.hear(world.line("gpu-1"))
    assert world.tainted() == ["gpu-1"]


def test_a_part_that_cannot_tell_its_state_keeps_no_cursor_from_being_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.cluster.state = {"tombstones": {"4c4c45440051351080 52": []}, "observed": {"at": 1}}
    monkeypatch.setattr(world.tombstones, "restore", raising)
    monkeypatch.setattr(world.tombstones, "state", raising)
    world.checkpoint.load(NOW)
    world.hear(cursor_ns=NOW)
    assert world.cluster.state["sources"] == {"kmsg": {"cursor": NOW}}
    assert world.cluster.state["tombstones"] == {"4c4c45440051351080 52": []}
