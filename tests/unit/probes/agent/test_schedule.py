"""When is a cadence due?"""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from probes.agent.schedule import FIRST_WITHIN_S, Schedule, share

LIGHT = {"light": 60.0}
names = st.text("abcdefghij-0123456789", min_size=1, max_size=20)
moments = st.floats(0, 1e8)


def first(node: str, now: float, **more: object) -> float:
    """When the first run is due, seconds from now."""
    return Schedule(LIGHT, node=node, now=now, **more).wait_s(now)  # type: ignore[arg-type]


def test_ten_thousand_nodes_that_start_at_once_do_not_beat_together() -> None:
    per_second = [0] * 60
    for number in range(10_000):
        per_second[int(first(f"node-{number}", 500.0))] += 1
    assert max(per_second) < 250  # 167 on average
    assert min(per_second) > 90


def test_later_runs_stay_apart_too() -> None:
    seconds = set()
    for number in range(200):
        schedule = Schedule(LIGHT, node=f"node-{number}", now=500.0)
        schedule.ran("light", 560.0)
        seconds.add(int(schedule.wait_s(560.0)))
    assert len(seconds) > 45


@given(names, moments, st.floats(0.1, 59.0))
def test_a_restart_neither_moves_the_points_nor_adds_one(
    node: str, now: float, later: float
) -> None:
    before = Schedule(LIGHT, node=node, now=now, known={"light"})
    point = now + before.wait_s(now)
    restarted = Schedule(LIGHT, node=node, now=now + later, known={"light"})
    again = now + later + restarted.wait_s(now + later)
    expected = point if now + later < point else point + 60
    assert math.isclose(again, expected, abs_tol=1e-3)


@given(names, moments, st.floats(0, 100_000))
def test_what_was_missed_is_one_run(node: str, now: float, away: float) -> None:
    schedule = Schedule(LIGHT, node=node, now=now)
    later = now + schedule.wait_s(now) + away
    assert schedule.due(later) == ("light",)
    schedule.ran("light", later)
    assert schedule.due(later) == ()
    assert 0 < schedule.wait_s(later) <= 60.001


def test_a_cadence_with_interval_0_is_never_due() -> None:
    schedule = Schedule({"light": 0.0, "hourly": 0.0}, node="a", now=0.0)
    assert schedule.due(1e9) == ()
    assert schedule.wait_s(1e9) == math.inf


def test_the_one_that_waits_longest_comes_first_so_that_none_starves() -> None:
    schedule = Schedule({"light": 60.0, "hourly": 3600.0}, node="a", now=0.0)
    now, ran = 4000.0, []
    for _ in range(200):  # each run takes longer than the light interval
        now += 90.0
        due = schedule.due(now)
        schedule.ran(due[0], now)
        ran.append(due[0])
    assert 4 <= ran.count("hourly") <= 6


def test_a_new_node_is_measured_within_minutes_but_an_invasive_run_waits_for_its_point() -> None:
    intervals = {"hourly": 3600.0, "invasive": 14400.0}
    waits = []
    for number in range(50):
        schedule = Schedule(intervals, node=f"n{number}", now=10.0, patient=("invasive",))
        assert schedule.wait_s(10.0) <= FIRST_WITHIN_S
        schedule.ran("hourly", 10.0)
        schedule.postpone("hourly", math.inf)
        waits.append(schedule.wait_s(10.0))
    assert max(waits) > FIRST_WITHIN_S


def test_what_is_postponed_is_due_then() -> None:
    schedule = Schedule(LIGHT, node="a", now=0.0)
    schedule.postpone("light", 777.0)
    assert schedule.due(776.0) == ()
    assert schedule.due(777.0) == ("light",)
    schedule.postpone("hourly", 1.0)  # one that it does not have
    assert schedule.due(777.0) == ("light",)


@given(st.text())
def test_a_share_is_from_0_to_below_1(text: str) -> None:
    assert 0 <= share(text) < 1
