"""No spinning, no writes in a steady state, and held nodes get their turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.errors import ClusterRejected
from konduktor_health.model import Condition
from konduktor_health.timestamps import NS
from tests.support.builders import OTHER_BOOT, OUR_TAINT, node
from tests.support.world import LOST, World

FREE: dict[str, Any] = {"rate_per_minute": 0, "surge_enabled": False}


def test_steady_state_writes_a_checkpoint_in_five_minutes_and_nothing_else() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    world.settle()
    for _ in range(601):  # then the node has been quiet, which is told once
        world.clock.advance(1)
        world.hear()
    world.cluster.writes.clear()
    for _ in range(600):
        world.clock.advance(1)
        world.hear()
    assert world.cluster.writes == ["state", "state"]


def test_node_that_never_had_a_record_carries_nothing_of_ours() -> None:
    world = World()
    before = dict(world.cluster.nodes)
    world.hear(world.line("gpu-1"))
    world.settle()
    assert {n: v for n, v in world.cluster.nodes.items() if n != "gpu-1"} == {
        n: v for n, v in before.items() if n != "gpu-1"
    }


def test_fault_that_repeats_each_second_is_written_once_in_five_minutes() -> None:
    world = World()
    for n in range(300):
        world.clock.advance(1)
        text = LOST.replace("pid=1", f"pid={n}")
        world.hear(world.line("gpu-1", text))
    edits = [write for write in world.cluster.writes if write.startswith("edit")]
    rest = [write for write in world.cluster.writes if not write.startswith("edit")]
    assert len(edits) == 1
    assert sorted(rest) == ["condition gpu-1", "event gpu-1", "state"]


def test_held_node_that_is_deleted_leaves_nothing_due() -> None:
    world = World(rate_per_minute=1)
    world.hear(world.line("gpu-1"))
    world.hear(world.line("gpu-2"))
    del world.cluster.nodes["gpu-2"]
    world.feed.sync()
    world.turn(61)
    world.turn(1)
    assert world.agenda.seconds_until_due() > 0


def test_held_node_that_opts_out_leaves_nothing_due() -> None:
    world = World(rate_per_minute=1)
    world.hear(world.line("gpu-1"), world.line("gpu-2"))
    (held,) = {"gpu-1", "gpu-2"} - set(world.tainted())
    world.change(held, managed_label="false")
    world.turn(61)
    world.turn(1)
    assert world.agenda.seconds_until_due() > 0
    assert held not in world.tainted()


def test_tainted_node_that_opts_out_is_left_as_it_is_and_frees_the_budget() -> None:
    world = World(10, **FREE)
    world.hear(world.line("gpu-1"))
    world.hear(world.line("gpu-2"))
    assert world.tainted() == ["gpu-1"]
    world.change("gpu-1", managed_label="false")
    world.turn(1)
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_budget_counts_own_taints_of_the_cycle_before_although_the_watch_is_behind() -> None:
    world = World(10, **FREE)
    world.feed.sync = lambda: None  # type: ignore[method-assign]
    world.hear(world.line("gpu-1"))
    world.hear(world.line("gpu-2"))
    assert world.tainted() == ["gpu-1"]


def test_adopted_taint_counts() -> None:
    world = World(10, **FREE)
    world.change("gpu-9", taints=(OUR_TAINT,))
    world.hear(world.line("gpu-1"))
    assert world.tainted() == ["gpu-9"]
    assert world.reason("gpu-1") == "BudgetExhausted"


@pytest.mark.parametrize("repeating", [False, True])
def test_held_node_has_its_turn_when_the_fleet_grows(repeating: bool) -> None:
    world = World(10, **FREE)
    world.hear(world.line("gpu-1"))
    world.hear(world.line("gpu-2"))
    if repeating:  # two reasons to wait: the budget, and the interval of repeats
        world.clock.advance(1)
        world.hear(world.line("gpu-2"))
    world.cluster.put(node("gpu-new"))
    world.feed.sync()
    world.turn(1)
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_rate_lets_one_after_the_other_through_oldest_first() -> None:
    world = World(100, rate_per_minute=1, surge_enabled=False)
    for n in range(3):
        world.clock.advance(1)
        world.hear(world.line(f"gpu-{n}"))
    assert world.tainted() == ["gpu-0"]
    assert world.reason("gpu-1") == "RateLimited"
    world.turn(60)
    world.settle()
    assert world.tainted() == ["gpu-0", "gpu-1"]
    world.turn(61)
    world.settle()
    assert world.tainted() == ["gpu-0", "gpu-1", "gpu-2"]


def test_wall_clock_set_back_does_not_delay_a_held_node() -> None:
    world = World(100, rate_per_minute=1, surge_enabled=False)
    world.hear(world.line("gpu-1"), world.line("gpu-2"))
    world.clock.wall_ns -= 3600 * NS
    world.clock.advance(61)
    world.turn()
    world.settle()
    assert world.tainted() == ["gpu-1", "gpu-2"]


def test_write_that_is_refused_for_good_is_retried_ever_more_seldom() -> None:
    world = World()
    world.fail("edit", "gpu-1", ClusterRejected("policy"), times=10**6)
    world.hear(world.line("gpu-1"))
    attempts = 0
    for _ in range(600):
        wait_s = world.agenda.seconds_until_due()
        assert wait_s > 0
        world.turn(wait_s)
        attempts += 1
        if world.clock.monotonic() > 1000 + 120:
            break
    assert attempts < 200
    world.cluster.before = lambda _what, _name: None
    world.turn(11)
    assert world.tainted() == ["gpu-1"]


def test_late_batch_of_one_fault_on_many_nodes_is_a_surge() -> None:
    world = World(50, surge_quiet_s=600.0)
    lines = [world.line(f"gpu-{n}", ago_s=1500) for n in range(6)]  # Loki was down
    world.hear(*lines)
    assert world.tainted() == []
    world.turn(590)
    assert world.tainted() == []
    world.turn(20)
    world.settle()
    assert len(world.tainted()) == 5  # 10 % of 50: the present is decided, within the budget


def test_nodes_that_go_on_logging_do_not_hold_themselves_for_ever() -> None:
    world = World(50, surge_quiet_s=600.0)
    world.hear(*[world.line(f"gpu-{n}") for n in range(6)])
    for _ in range(70):
        world.clock.advance(10)
        world.hear(*[world.line(f"gpu-{n}") for n in range(6)])
    assert len(world.tainted()) == 5


def test_old_faults_that_repeat_on_tainted_nodes_are_no_surge() -> None:
    world = World(50)
    for n in range(4):
        world.hear(world.line(f"gpu-{n}"))
        world.clock.advance(3600)
    world.hear(*[world.line(f"gpu-{n}") for n in range(4)])
    world.hear(world.line("gpu-9"))
    assert "gpu-9" in world.tainted()


def test_stale_condition_is_mended_after_a_start() -> None:
    world = World()
    stale = Condition("False", "FatalFault", "x")
    world.cluster.put(replace(world.cluster.nodes["gpu-1"], condition=stale))
    world.restarted().turn()
    condition = world.cluster.nodes["gpu-1"].condition
    assert condition is not None
    assert condition.status == "True"


def test_reboot_seen_by_the_watch_makes_undated_lines_doubtful() -> None:
    world = World()
    world.clock.advance(5 * 86_400)
    world.change("gpu-1", boot_id=OTHER_BOOT)
    undated = world.line("gpu-1")
    world.hear(replace(undated, record=replace(undated.record, uptime_us=None, uptime_stamp="")))
    assert world.tainted() == []
    assert world.cluster.nodes["gpu-1"].health_label == "suspect"


def test_dry_run_writes_nothing_does_not_spin_and_says_each_thing_once() -> None:
    said: list[str] = []
    world = World(10, dry_run=True, emit=said.append, rate_per_minute=1)
    for _ in range(20):
        world.clock.advance(1)
        world.hear(world.line("gpu-1"))
        assert world.agenda.seconds_until_due() > 0
    assert world.cluster.writes == []
    assert [line.splitlines()[0] for line in said] == [
        "taint gpu-1: taint for xid/79 on 0000:3b:00"
    ]


class Crash(BaseException):
    """SIGKILL, as far as one thread can be killed."""


def crashed_at(number: int, *, taken: bool) -> tuple[object, bool]:
    """The end state after a crash at this write, before or after it took effect, and a new start;
    and whether that write was made at all."""
    world = World(10, **FREE)
    lines = [world.line("gpu-1"), world.line("gpu-2"), world.line("gpu-2", LOST[:30] + "48, x")]
    made = [0]

    def crash(what: str, _name: str) -> None:
        made[0] += what != "get"
        if made[0] == number + taken:
            raise Crash

    world.cluster.before = crash
    try:
        world.hear(*lines)
        world.settle()
    except Crash:
        pass
    world.cluster.before = lambda _what, _name: None
    world.restarted(**FREE).hear(*lines)
    world.settle()
    views = {n: replace(v, resource_version="") for n, v in world.cluster.nodes.items()}
    return (views, sorted(world.cluster.events)), made[0] >= number


@pytest.mark.parametrize("taken", [False, True])
def test_crash_at_any_write_and_a_new_process_ends_as_without(taken: bool) -> None:
    whole, _ = crashed_at(10**6, taken=False)
    number = 1
    while True:
        end, happened = crashed_at(number, taken=taken)
        assert end == whole
        if not happened:
            break
        number += 1
    assert number > 6
