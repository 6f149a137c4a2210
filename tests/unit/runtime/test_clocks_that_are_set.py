"""A wall clock that is set makes no window pass, and no node silent."""

from __future__ import annotations

import pytest

from konduktor_health.timestamps import NS
from tests.support.builders import node
from tests.unit.runtime.test_who_is_heard import Ward


@pytest.mark.parametrize("set_s", [3600, 600, -600, -3600])
def test_an_observation_begins_anew_when_the_clock_is_set(set_s: int) -> None:
    ward = Ward(node(), unobserved_after_s=7200)
    ward.later(1800, "gpu-1")
    before_ns = ward.since()
    assert before_ns is not None
    assert ward.clock.now_ns() - before_ns >= 1700 * NS
    ward.clock.wall_ns += set_s * NS
    since_ns = ward.since()
    assert since_ns is not None
    assert since_ns >= ward.clock.now_ns()
    ward.later(300, "gpu-1")
    assert ward.since() == since_ns


@pytest.mark.parametrize("set_s", [3600, -3600])
def test_a_clock_that_is_set_makes_no_node_silent(set_s: int) -> None:
    ward = Ward(node())
    ward.later(600, "gpu-1")
    ward.clock.wall_ns += set_s * NS
    ward.look()
    assert not ward.told()
    assert not ward.observation.silent_nodes


def test_a_clock_that_drifts_changes_nothing() -> None:
    ward = Ward(node())
    ward.later(60, "gpu-1")
    since_ns = ward.since()
    for _ in range(30):
        ward.clock.wall_ns += NS
        ward.later(60, "gpu-1")
        assert ward.since() == since_ns
