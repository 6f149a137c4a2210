"""What is due is found however many wait, and a storm of one line costs no decisions."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.model import Hold, HoldReason, Plan
from konduktor_health.runtime.agenda import MAX_WAIT_S, MOST_STALE, Agenda
from konduktor_health.timestamps import NS
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock
from tests.support.world import World


def held(clock: FakeClock, name: str, seconds: float) -> Plan:
    until_ns = clock.now_ns() + int(seconds * NS)
    return Plan((Hold(name, HoldReason.REPEAT, "", until_ns),))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 500)), max_size=30))
def test_each_node_is_due_when_its_last_wait_is_over(waits: list[tuple[str, int]]) -> None:
    clock = FakeClock(NOW)
    agenda = Agenda(clock)
    last: dict[str, int] = {}
    for name, seconds in waits:
        agenda.note([name], held(clock, name, seconds), ())
        last[name] = seconds
    for second in range(1, 501):
        clock.advance(1.0)
        due = agenda.due(0, None)
        assert due == {name for name, seconds in last.items() if seconds <= second}


def test_what_waits_long_is_looked_at_after_ten_minutes_unless_said_otherwise() -> None:
    clock = FakeClock(NOW)
    usual, patient = Agenda(clock), Agenda(clock, longest_s=math.inf)
    for agenda in (usual, patient):
        agenda.note(["a"], held(clock, "a", 86_400.0), ())

    assert usual.next_s() - clock.monotonic() == MAX_WAIT_S
    assert patient.next_s() - clock.monotonic() == 86_400.0


def test_a_node_that_is_put_off_again_and_again_takes_no_memory() -> None:
    clock = FakeClock(NOW)
    agenda = Agenda(clock, longest_s=math.inf)
    for _ in range(3 * MOST_STALE):
        clock.advance(1.0)
        agenda.note(["a"], held(clock, "a", 86_400.0), ())

    assert len(agenda._later) <= MOST_STALE + 5
    assert agenda.next_s() - clock.monotonic() == 86_400.0


def test_repeats_that_only_count_make_a_node_due_once() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    world.settle()
    world.clock.advance(5.0)
    world.hear(world.line("gpu-1"))
    world.settle()

    world.clock.advance(5.0)
    again = world.observer.take([world.line("gpu-1")])

    assert again == set(), "it waits for its interval, whatever is counted meanwhile"
    assert world.observer.pending_nodes() == 1


def test_a_repeat_after_the_taint_was_removed_by_hand_taints_at_once_in_a_storm() -> None:
    world = World()
    for _ in range(5):
        world.clock.advance(1.0)
        world.hear(world.line("gpu-1"))
    world.settle()
    world.change("gpu-1", taints=())
    world.settle()
    assert world.reason("gpu-1") == "TaintRemovedByOperator"

    world.clock.advance(1.0)
    world.hear(world.line("gpu-1"))
    world.settle()

    assert world.tainted() == ["gpu-1"]
