from __future__ import annotations

import errno
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.kmsg.ring import RingError
from tests.support.kmsg import BOOT_ID, Node


def decoded(node: Node) -> list[dict[str, Any]]:
    return [json.loads(line.text) for line in node.sink.lines]


def texts(node: Node, kind: str = "record") -> list[str]:
    return [line["text"] for line in decoded(node) if line["kind"] == kind]


def missed(node: Node) -> list[int]:
    return [line["missed"] for line in decoded(node) if line["kind"] == "missed"]


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_record_becomes_exactly_this_line(node: Node) -> None:
    node.ring.log("NVRM: GPU é", uptime_us=538_441_007_373, prefix=12)

    node.follow(once=True)

    [line] = node.sink.lines
    assert line.text == (
        '{"konduktor":"kmsg","v":1,"kind":"record",'
        f'"boot_id":"{BOOT_ID}","seq":0,"uptime_us":538441007373,'
        '"facility":1,"priority":4,"time":"2027-01-21T13:34:01.007373Z","node":"node-a",'
        '"text":"NVRM: GPU é"}'
    )


def test_from_now_leaves_what_is_in_the_ring_and_remembers_where_it_began(node: Node) -> None:
    node.ring.log("old")

    node.follow(lambda: node.ring.log("new"), from_now=True)

    assert texts(node) == ["new"]
    assert node.saved[0] == 0
    assert node.saved[-1] == 1


def test_a_restart_continues_after_the_saved_record(node: Node) -> None:
    for number in range(5):
        node.ring.log(f"record {number}")

    node.follow(last=2)

    assert texts(node) == ["record 3", "record 4"]
    assert missed(node) == []


def test_after_a_reboot_everything_since_boot_is_read_and_what_is_gone_is_counted(
    node: Node,
) -> None:
    for number in range(5):
        node.ring.log(f"record {number}")
    node.ring.overwrite(2)

    node.follow(last=-1)

    assert missed(node) == [2]
    assert texts(node) == ["record 2", "record 3", "record 4"]


def test_from_start_without_a_past_has_missed_nothing(node: Node) -> None:
    for number in range(3):
        node.ring.log(f"record {number}")
    node.ring.overwrite(1)

    node.follow(once=True)

    assert (texts(node), missed(node)) == (["record 1", "record 2"], [])


def test_overwritten_records_are_reported_before_the_next_one(node: Node) -> None:
    node.ring.log("first")

    def storm() -> None:
        for number in range(10):
            node.ring.log(f"storm {number}")
        node.ring.overwrite(8)

    node.follow(storm)

    lines = decoded(node)
    assert [line["kind"] for line in lines if line["kind"] != "heartbeat"] == [
        "record",
        "missed",
        *["record"] * 3,
    ]
    assert missed(node) == [7]
    assert texts(node)[1:] == ["storm 7", "storm 8", "storm 9"]


def test_a_record_that_the_kernel_passes_over_counts_as_missed(node: Node) -> None:
    node.ring.log("larger than the buffer")
    node.ring.log("next")
    node.ring.errors = [errno.EINVAL]

    node.follow(last=-1)

    assert (missed(node), texts(node)) == ([1], ["next"])


def test_an_unexpected_error_reopens_the_device_without_loss_or_repeats(node: Node) -> None:
    node.ring.log("one")

    def break_down() -> None:
        node.ring.errors = [errno.EIO]
        node.ring.log("two")
        node.ring.openable = False

    def mend() -> None:
        node.ring.openable = True
        node.ring.log("three")

    node.follow(break_down, lambda: None, mend, lambda: None)

    assert texts(node) == ["one", "two", "three"]
    assert missed(node) == []
    assert any("trying again" in line for line in node.log)


def test_once_says_when_the_log_cannot_be_read(node: Node) -> None:
    node.ring.openable = False

    with pytest.raises(RingError):
        node.follow(once=True)


def test_a_log_that_went_back_in_time_is_followed_from_there(node: Node) -> None:
    node.ring.log("one")

    node.follow(lambda: node.ring.log("two"), last=1000)

    assert texts(node) == ["two"]


def test_without_room_nothing_is_read_and_the_ring_is_the_buffer(node: Node) -> None:
    def fill() -> None:
        node.sink.room = False
        for number in range(6):
            node.ring.log(f"record {number}")

    seen: list[list[str]] = []

    def still_full() -> None:
        seen.append(texts(node))
        node.ring.overwrite(2)

    def make_room() -> None:
        node.sink.room = True

    node.follow(fill, still_full, make_room, lambda: None, last=-1)

    assert seen == [[]]
    assert missed(node) == [2]
    assert texts(node) == [f"record {number}" for number in range(2, 6)]


def test_only_what_was_delivered_counts_as_position(node: Node) -> None:
    node.ring.log("delivered")

    def stop_acknowledging() -> None:
        node.sink.acknowledges = False
        node.ring.log("in flight")

    node.follow(stop_acknowledging, lambda: None, last=-1)

    assert texts(node) == ["delivered", "in flight"]
    assert node.saved[-1] == 0


def test_the_heartbeat_comes_after_the_backlog_and_then_each_minute(node: Node) -> None:
    node.clocks.uptime_s = 100.0
    node.ring.log("backlog", uptime_us=1_000_000)

    node.follow(*[lambda: None] * 41, last=-1)  # a position save every 3 s wakes it

    lines = decoded(node)
    beats = [line for line in lines if line["kind"] == "heartbeat"]
    assert [line["kind"] for line in lines[:2]] == ["record", "heartbeat"]
    assert [beat["uptime_us"] // 1_000_000 for beat in beats] == [100, 160, 220]
    assert beats[0]["seq"] == 0
    assert beats[0]["boot_time"] == "2027-01-15T08:00:00.000000Z"
    assert beats[0]["text"] == "konduktor-health heartbeat"


def test_a_stop_ends_it_before_the_next_record(node: Node) -> None:
    for number in range(100):
        node.ring.log(f"record {number}")

    node.follow(last=99)

    assert texts(node) == []


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["log", "overwrite", "fail", "too long", "full", "room", "restart"]),
        st.integers(1, 5),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_each_record_is_printed_or_counted_once_and_in_order(
    steps: list[Step],
) -> None:
    node = Node()
    runs: list[list[Callable[[], object]]] = [[]]
    for kind, count in steps:
        if kind == "restart":
            runs.append([])
        else:
            runs[-1].append(partial(happen, node, kind, count))
    runs[-1] += [lambda: happen(node, "room", 1), *[lambda: None] * 12]
    last = -1
    for script in runs:
        node.follow(*script, last=last)
        last = node.saved[-1] if node.saved else -1

    position = -1
    for line in decoded(node):
        if line["kind"] == "record":
            assert line["seq"] == position + 1
            position = line["seq"]
        elif line["kind"] == "missed":
            position += line["missed"]
    newest = len(node.ring.records) - 1
    assert position <= newest
    assert position >= node.ring.oldest - 1 or node.ring.oldest > newest
    if node.ring.oldest <= newest:
        assert position == newest


def happen(node: Node, kind: str, count: int) -> None:
    if kind == "log":
        for _ in range(count):
            node.ring.log("x")
    elif kind == "overwrite":
        node.ring.overwrite(count)
    elif kind == "fail":
        node.ring.errors += [errno.EIO]
    elif kind == "too long" and not node.ring.errors:
        node.ring.errors += [errno.EINTR] * count
    elif kind == "full":
        node.sink.room = False
    elif kind == "room":
        node.sink.room = True
