"""What a source promises: nothing lost, nothing twice, every gap known."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from konduktor_health.adapters.loki.portion import HOUR_NS
from konduktor_health.clock import NS
from konduktor_health.errors import HealthError, LokiBusy, LokiRefused, LokiUnavailable
from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from tests.support.loki_world import World
from tests.support.memory_loki import line


@pytest.fixture
def world() -> World:
    return World()


def test_a_first_start_looks_back_fifteen_minutes_and_never_further(world: World) -> None:
    world.loki.put(line(world.ago(880), "inside"), line(world.ago(2000), "before the floor"))
    assert world.poll() == ["inside"]
    assert world.polls(3 * 3600) == []


def test_a_line_is_handed_out_once_with_node_and_identity(world: World) -> None:
    world.loki.put(line(world.ago(5), "7.5|NVRM: Xid", node="gpu-1"))
    world.clock.advance(1)
    (entry,) = world.source.poll().entries
    assert (entry.node_name, entry.source, entry.trust) == ("gpu-1", "kmsg", Trust.KERNEL)
    assert len(entry.identity) == 32
    assert world.polls(3600) == []


def test_a_replayed_ring_with_new_log_times_is_the_same_record(world: World) -> None:
    world.loki.put(line(world.ago(50), "7.5|NVRM: Xid", node="gpu-1"))
    assert world.poll() == ["NVRM: Xid"]
    world.loki.put(
        line(world.ago(0), "7.5|NVRM: Xid", {"job": "kmsg", "pod": "new"}, node="gpu-1"),
        line(world.ago(0), "7.5|NVRM: Xid", node="gpu-2"),
    )
    assert world.poll() == ["NVRM: Xid"], "only that of the other node"


def test_before_the_due_time_nothing_is_asked(world: World) -> None:
    world.poll()
    asked = len(world.loki.queries)
    world.loki.put(line(world.ago(0), "new"))
    assert world.poll(0.5) == []
    assert len(world.loki.queries) == asked
    assert world.poll(0.5) == ["new"]


def test_silence_moves_the_cursor_to_now_and_the_future_does_not(world: World) -> None:
    world.loki.put(line(world.ago(-300), "fast clock"))
    assert world.poll() == ["fast clock"]
    assert world.source.checkpoint()["cursor"] == world.clock.wall_ns


@pytest.mark.parametrize(
    ("late_s", "found_within_s"), [(25, 1), (500, 61), (4000, 3700), (21_500, 3800)]
)
def test_late_lines_are_found_by_the_bands(late_s: float, found_within_s: float) -> None:
    world = World(first_lookback_s=30_000)
    world.poll()
    world.polls(120)
    world.loki.put(line(world.ago(late_s), "late"))
    step = min(30.0, found_within_s)
    assert world.polls(found_within_s + step, step) == ["late"]


def test_a_late_line_makes_the_overlap_larger(world: World) -> None:
    world.poll()
    world.poll()
    for number in range(2):
        world.loki.put(line(world.ago(300), f"late {number}"))
        assert world.polls(61, 1.0) == [f"late {number}"]
    world.loki.put(line(world.ago(250), "as late"))
    assert world.poll() == ["as late"]


def test_one_odd_line_does_not_multiply_what_is_read() -> None:
    def scanned_in_an_hour(late_s: float) -> int:
        world = World()
        world.loki.bytes_a_second = 1000.0
        world.polls(60, 2.0)
        world.loki.put(line(world.ago(late_s), "once"))
        return sum(int(world.bytes_of_a_poll(2.0)) for _ in range(1800))

    assert scanned_in_an_hour(590) <= 1.1 * scanned_in_an_hour(1)


def test_a_failed_read_is_a_gap_and_moves_nothing(world: World) -> None:
    world.poll()
    before = world.source.checkpoint()["cursor"]
    world.loki.fail = LokiUnavailable("down", hint="start it")
    world.clock.advance(100)
    status = world.source.poll().status
    assert (status.ok, status.message, status.hint) == (False, "down", "start it")
    assert world.source.checkpoint()["cursor"] == before
    (gap,) = status.gaps
    assert (gap.start_ns, gap.end_ns, gap.reason) == (before, world.clock.wall_ns, "unavailable")
    world.loki.fail = None
    world.loki.put(line(before + 50 * NS, "meanwhile"))
    assert world.poll(100) == ["meanwhile"]
    assert world.source.poll().status.gaps == ()


def test_after_a_gap_the_hour_before_it_is_read_again() -> None:
    world = World(first_lookback_s=10_000)
    world.poll()
    world.polls(60)
    world.loki.fail = LokiUnavailable("down")
    world.polls(900)
    world.loki.put(line(world.ago(900 + 3000), "arrived late during the outage"))
    world.loki.fail = None
    assert world.polls(120) == ["arrived late during the outage"]


def test_polls_back_off_while_loki_fails_and_wait_as_long_as_it_asks(world: World) -> None:
    world.poll()
    world.loki.fail = LokiUnavailable("down")
    tries = []
    for _ in range(100):
        world.clock.advance(1)
        world.source.poll()
        tries.append(world.source.poll().status.poll_interval_s)
    assert sorted(set(tries)) == [1, 2, 4, 8, 16, 32, 60]
    world.loki.fail = LokiBusy("busy", retry_after=120.0)
    world.poll(60)
    world.loki.fail = None
    world.loki.put(line(world.ago(0), "new"))
    assert world.poll(118) == []
    assert world.poll(3) == ["new"]


def test_a_refused_query_is_a_gap_by_configuration(world: World) -> None:
    world.loki.fail = LokiRefused("no org id", status=401, hint="set loki.tenant")
    world.clock.advance(1)
    status = world.source.poll().status
    assert (status.ok, status.hint) == (False, "set loki.tenant")
    assert [gap.reason for gap in status.gaps] == ["config"]


def test_an_error_in_the_middle_keeps_what_was_read_and_goes_on_there(world: World) -> None:
    world.loki.put(*(line(world.ago(800 - i), f"line {i:03d}") for i in range(100)))
    world.loki.fail, world.loki.fail_in = LokiUnavailable("down"), 4
    first = world.poll()
    assert 0 < len(first) < 100
    world.loki.fail = None
    assert [*first, *world.poll(30)] == [f"line {i:03d}" for i in range(100)]


def test_one_poll_is_bounded_and_the_rest_is_due_at_once(world: World) -> None:
    world.options = {"most_entries": 50}
    world.start(None)
    world.loki.put(*(line(world.ago(800 - i), f"line {i:03d}") for i in range(300)))
    world.clock.advance(1)
    found: list[str] = []
    while (poll := world.source.poll()).more:
        assert 50 <= len(poll.entries) <= 70
        found += [entry.record.text for entry in poll.entries]
    found += [entry.record.text for entry in poll.entries]
    assert found == [f"line {i:03d}" for i in range(300)]


def test_an_old_checkpoint_is_resumed_oldest_first() -> None:
    world = World()
    world.poll()
    state = json.loads(json.dumps(world.source.checkpoint()))
    world.clock.advance(5 * 3600)
    world.loki.put(*(line(world.ago(i * 600), f"{i}") for i in range(30)))
    world.start(state)
    assert world.source.checkpoint()["gaps"], "nobody read meanwhile"
    assert world.poll() == [f"{i}" for i in reversed(range(30))]
    assert world.source.poll().status.gaps == ()


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"v": 2, "cursor": 1, "floor": 1},
        {"v": 1, "cursor": "x", "floor": 1},
        {"v": 1, "cursor": -1, "floor": 1},
        {"v": 1, "cursor": 1, "floor": 1, "gaps": [[1, 2]]},
        {"v": 1, "cursor": 1, "floor": 1, "gaps": [[5, 2, "unavailable", False]]},
        {"v": 1, "cursor": 1, "floor": 1, "again": [[None, 2]]},
        {"v": 1, "cursor": True, "floor": 1},
    ],
)
def test_a_damaged_checkpoint_is_a_first_start(state: dict[str, Any]) -> None:
    world = World(state)
    world.loki.put(line(world.ago(2000), "too old"), line(world.ago(100), "new"))
    assert world.poll() == ["new"]


def test_a_clock_that_was_ahead_and_is_set_back_loses_nothing(world: World) -> None:
    world.clock.wall_ns += 5 * HOUR_NS
    world.poll()
    world.clock.wall_ns -= 5 * HOUR_NS
    world.loki.put(line(world.clock.wall_ns, "new"))
    assert world.poll() == ["new"]


def test_two_clusters_in_one_selector_are_not_read(world: World) -> None:
    for name in ("a", "b"):
        world.loki.put(line(world.ago(5), f"of {name}", {"job": "kmsg", "cluster": name}))
    world.clock.advance(1)
    poll = world.source.poll()
    assert poll.entries == ()
    assert not poll.status.ok
    assert "2 clusters (a, b)" in poll.status.message
    assert "reading.cluster" in poll.status.hint
    assert poll.status.clusters == ("a", "b")
    world.loki.lines = [one for one in world.loki.lines if one.labels.get("cluster") != "b"]
    assert world.polls(120) == ["of a"], "read from where it was once there is one"


def test_a_selector_without_streams_is_said_and_polled_on(world: World) -> None:
    world.loki.lines.clear()
    world.clock.advance(1)
    status = world.source.poll().status
    assert not status.ok
    assert status.message == 'no stream matches {job="kmsg"} in the last 24h'
    assert "label names present are: cluster, namespace" in status.hint
    world.loki.put(line(world.ago(0), "at last"))
    assert world.poll() == ["at last"]
    assert world.source.poll().status.ok


def test_what_is_past_the_tenants_look_back_is_a_gap_for_good() -> None:
    world = World()
    world.poll()
    state = world.source.checkpoint()
    world.clock.advance(10 * 3600)
    world.loki.hide_below_ns = 2 * HOUR_NS
    world.start(state)
    world.poll()
    (gap,) = world.source.poll().status.gaps
    assert (gap.permanent, gap.reason, gap.start_ns) == (True, "lookback_cut", state["cursor"])
    assert gap.end_ns == world.clock.wall_ns - 2 * HOUR_NS


def test_reads_of_the_past_carry_a_nonce_and_recent_ones_do_not(world: World) -> None:
    world.poll()
    world.polls(3700)
    for query, start_ns, end_ns in world.loki.queries:
        if end_ns <= start_ns + 2 * HOUR_NS and "!=" not in query:
            assert end_ns - start_ns <= 1200 * NS
    past = [query for query, _, _ in world.loki.queries if "!=" in query]
    assert past
    assert len(set(past)) == len(past), "each with one of its own"


def test_heartbeats_are_handed_out_newest_only(world: World) -> None:
    world.loki.put(line(world.ago(10), "heartbeat", node="n1"))
    assert world.poll() == ["heartbeat"]
    assert world.polls(120) == []
    world.loki.put(line(world.ago(0), "heartbeat", node="n1"))
    assert world.poll() == ["heartbeat"]


def test_scanned_bytes_slow_the_polls_down() -> None:
    world = World(bytes_per_minute=6000)
    world.loki.bytes_a_query = 1000
    world.poll()
    status = world.source.poll().status
    assert status.bytes_per_minute == 1000
    assert status.poll_interval_s == 10.0
    assert world.polls(600, 1.0) == []
    assert world.source.poll().status.bytes_per_minute <= 6000 * 1.5


def test_the_rest_waits_when_the_byte_bound_says_so() -> None:
    world = World(bytes_per_minute=6000)
    world.options = {"most_entries": 20}
    world.start(None)
    world.loki.bytes_a_query = 1000
    world.loki.put(*(line(world.ago(800 - i), f"line {i:03d}") for i in range(60)))
    world.clock.advance(1)
    poll = world.source.poll()
    assert (len(poll.entries), poll.more, poll.status.poll_interval_s) == (20, False, 10.0)


def test_warnings_of_loki_are_shown(world: World) -> None:
    world.loki.warnings = ("partial response",)
    world.clock.advance(1)
    assert world.source.poll().status.message == "Loki warns: partial response"


# ---------------------------------------------------------------- any schedule

steps = st.lists(
    st.one_of(
        st.tuples(st.just("line"), st.integers(0, 7000)),  # arrives this many seconds late
        st.tuples(st.just("burst"), st.integers(0, 100)),
        st.tuples(st.just("wait"), st.integers(1, 4000)),
        st.tuples(st.just("fail"), st.integers(1, 5)),
        st.tuples(st.just("lose"), st.integers(20, 300)),  # answers of more bytes than this
        st.tuples(st.just("restart"), st.integers(0, 9000)),
    ),
    max_size=25,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_whatever_happens_every_line_is_handed_out_and_once_per_process(
    steps: list[tuple[str, int]],
) -> None:
    world = World(first_lookback_s=8000)
    expected: set[str] = set()
    handed: Counter[str] = Counter()
    process: Counter[str] = Counter()
    world.poll()

    def poll(seconds: float) -> None:
        world.clock.advance(seconds)
        cursor = world.source.checkpoint()["cursor"]
        poll = world.source.poll()
        texts = [entry.record.text for entry in poll.entries]
        handed.update(texts)
        process.update(texts)
        after = world.source.checkpoint()["cursor"]
        assert cursor <= after <= world.clock.wall_ns
        assert [e.time_ns for e in poll.entries] == sorted(e.time_ns for e in poll.entries)
        if world.loki.fail is not None:
            assert after == cursor

    for number, (step, value) in enumerate(steps):
        if step == "line":
            text = f"line {number}"
            world.loki.put(line(world.ago(value), text))
            expected.add(text)
        elif step == "burst":
            texts = [f"burst {number} {i}" for i in range(45)]
            world.loki.put(*(line(world.ago(value), text) for text in texts))
            expected.update(texts)
        elif step == "wait":
            poll(value)
        elif step == "fail":
            world.loki.fail = LokiUnavailable("down")
            for _ in range(value):
                poll(20)
            world.loki.fail = None
        elif step == "lose":
            world.loki.most_answer_bytes = value
            for _ in range(3):
                poll(20)
            world.loki.most_answer_bytes = None
        else:
            state = json.loads(json.dumps(world.source.checkpoint()))
            assert len(json.dumps(state)) < 20_000
            world.clock.advance(value)
            world.start(state)
            assert max(process.values(), default=0) <= 1
            process.clear()
    for _ in range(180):
        poll(50)
    assert max(process.values(), default=0) <= 1
    assert set(handed) - {"unrelated and long ago"} == expected
    assert world.source.poll().status.gaps == ()


@given(errors=st.lists(st.sampled_from([LokiUnavailable("x"), LokiRefused("y", status=403)])))
def test_the_cursor_never_moves_on_failure(errors: list[HealthError]) -> None:
    world = World()
    world.poll()
    cursor = world.source.checkpoint()["cursor"]
    for error in errors:
        world.loki.fail = error
        world.polls(300, 100)
        assert world.source.checkpoint()["cursor"] == cursor


def test_entries_come_in_time_order(world: World) -> None:
    world.loki.put(*(line(world.ago(i), f"{i}") for i in (5, 100, 3, 700)))
    world.clock.advance(1)
    entries: tuple[LogEntry, ...] = world.source.poll().entries
    assert [entry.record.text for entry in entries] == ["700", "100", "5", "3"]
