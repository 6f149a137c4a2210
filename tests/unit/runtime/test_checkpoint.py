"""What survives the process, and what becomes of a damaged rest."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.errors import ClusterUnavailable, Conflict, LeadershipLost
from konduktor_health.runtime.checkpoint import Checkpoint, RememberedUids, short_hash
from konduktor_health.timestamps import NS
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock
from tests.support.world import MemoryCluster


def made(cluster: MemoryCluster | None = None) -> tuple[Checkpoint, MemoryCluster, FakeClock]:
    cluster, clock = cluster or MemoryCluster(), FakeClock(NOW)
    return Checkpoint(cluster, clock=clock, interval_s=300.0), cluster, clock


def test_what_is_written_is_loaded() -> None:
    checkpoint, cluster, _ = made()
    checkpoint.load(NOW)
    checkpoint.update("kmsg", {"v": 1, "cursor": 7})
    checkpoint.write(None, ["uid-1", "uid-2"])
    stored = made(cluster)[0].load(NOW + NS)
    assert stored.sources == {"kmsg": {"v": 1, "cursor": 7}}
    assert stored.managed == {short_hash("uid-1"), short_hash("uid-2")}
    assert stored.floor_ns == NOW  # that of the first start


def test_a_state_that_somebody_wrote_meanwhile_is_written_over_by_the_leader_only() -> None:
    cluster, leads = MemoryCluster(), [True]
    refusals = [Conflict("written meanwhile"), Conflict("written meanwhile")]

    def assert_leader() -> None:
        if not leads[0]:
            raise LeadershipLost("another leads")

    def before(what: str, _node: str) -> None:
        if refusals:
            raise refusals.pop()

    cluster.before = before
    checkpoint = Checkpoint(
        cluster, clock=FakeClock(NOW), interval_s=300.0, assert_leader=assert_leader
    )
    checkpoint.update("kmsg", {"cursor": 7})
    refusals.pop()
    checkpoint.write(None, [])
    assert cluster.state is not None
    assert cluster.state["sources"] == {"kmsg": {"cursor": 7}}

    def woken_too_late(what: str, _node: str) -> None:
        leads[0] = False
        raise Conflict("the next leader has written")

    cluster.before = woken_too_late
    checkpoint.update("kmsg", {"cursor": 9})
    with pytest.raises(LeadershipLost):
        checkpoint.write(None, [])
    assert cluster.state["sources"] == {"kmsg": {"cursor": 7}}


def test_cursor_is_held_back_and_never_moved_forward() -> None:
    checkpoint, cluster, _ = made()
    checkpoint.update("a", {"cursor": 100, "gaps": [1]})
    checkpoint.update("b", {"cursor": 30})
    checkpoint.write(50, [])
    assert cluster.state is not None
    assert cluster.state["sources"] == {"a": {"cursor": 50, "gaps": [1]}, "b": {"cursor": 30}}


def test_at_most_one_write_in_the_interval_and_none_without_a_change() -> None:
    checkpoint, cluster, clock = made()
    for n in range(100):
        checkpoint.update("kmsg", {"cursor": min(n, 50)})
        checkpoint.write_if_due(lambda: None, list)
        clock.advance(20)
    assert len(cluster.writes) == 5  # at once, then every 300 s while the cursor moves


def test_failed_write_is_no_failure_of_the_loop() -> None:
    checkpoint, cluster, clock = made()
    cluster.before = _refuse
    checkpoint.update("kmsg", {"cursor": 1})
    checkpoint.write_if_due(lambda: None, list)
    cluster.before = lambda _what, _name: None
    clock.advance(301)
    checkpoint.write_if_due(lambda: None, list)
    assert cluster.writes == ["state"]


def _refuse(what: str, _name: str) -> None:
    raise ClusterUnavailable(what)


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"sources": [], "managed": {}, "floor": "x"},
        {"sources": {"kmsg": 7}, "managed": None, "floor": True},
        {"sources": None, "managed": "abc", "floor": 10**40},
        {"floor": NOW + 10**18},
    ],
)
def test_damaged_state_counts_as_none(state: Any) -> None:
    cluster = MemoryCluster()
    cluster.state = state
    stored = made(cluster)[0].load(NOW)
    assert (stored.sources, stored.managed, stored.floor_ns) == ({}, frozenset(), NOW)


def test_remembered_node_is_known_by_its_hash() -> None:
    remembered = RememberedUids([short_hash("uid-1")])
    remembered.add("uid-2")
    assert "uid-1" in remembered
    assert "uid-2" in remembered
    assert "uid-3" not in remembered
