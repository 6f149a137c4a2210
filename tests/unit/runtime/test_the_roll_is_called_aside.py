"""Who ships at all is asked aside: it delays nothing, and costs Loki what it may."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from konduktor_health.clock import NS
from konduktor_health.errors import LokiRefused, LokiUnavailable
from konduktor_health.model import NodeView
from konduktor_health.ports import Attendance
from konduktor_health.runtime.roll_call import MOST_PAUSE_S, RollCall
from tests.support.builders import NOW, node
from tests.support.memory_loki import FakeClock


class Source:
    """Answers that one node ships; ``error`` is raised instead."""

    def __init__(self, name: str, clock: FakeClock) -> None:
        self.name, self.clock = name, clock
        self.error: Exception | None = None
        self.scans = 1000
        self.asked_s: list[float] = []

    def ask(self, nodes: Iterable[NodeView]) -> Attendance:
        self.asked_s.append(self.clock.monotonic() - 1000)
        if self.error is not None:
            raise self.error
        now = self.clock.now_ns()
        names = frozenset(view.name for view in nodes)
        return Attendance(self.name, names, now - 300 * NS, now, self.scans)


class Nodes:
    """A feed of one node."""

    def nodes(self) -> dict[str, NodeView]:
        return {"gpu-1": node()}


class Calls:
    """A roll call over two sources on a clock that moves when told."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.one, self.two = Source("one", self.clock), Source("two", self.clock)
        self.answers: list[Attendance] = []
        self.charged: list[tuple[str, int]] = []
        self.failed: list[str] = []
        feed: Any = Nodes()
        self.call = RollCall(
            [self.one, self.two],
            feed,
            clock=self.clock,
            interval_s=60.0,
            bytes_per_minute=1_000_000,
            deliver=self.answers.append,
            charge=lambda name, scanned: self.charged.append((name, scanned)),
            on_failure=self.failed.append,
        )

    def run(self, seconds: float) -> None:
        end_s = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s:
            self.clock.advance(min(self.call.turn(), end_s - self.clock.monotonic()))


def test_each_source_is_asked_once_a_minute_and_charged() -> None:
    calls = Calls()
    calls.run(181)
    assert calls.one.asked_s == calls.two.asked_s == [0, 60, 120, 180]
    assert calls.answers[0].names == {"gpu-1"}
    assert calls.charged[:2] == [("one", 1000), ("two", 1000)]


def test_a_question_that_costs_much_is_asked_less_often() -> None:
    calls = Calls()
    calls.one.scans = 3_000_000
    calls.run(181)
    assert calls.one.asked_s == [0, 180]
    assert len(calls.two.asked_s) == 4


@pytest.mark.parametrize(
    ("error", "asked_s"),
    [
        (LokiUnavailable("down"), [0, 60, 180, 420, 900, 1500]),
        (LokiRefused("no", status=400), [0, 600, 1200]),
        (KeyError("bug"), [0, 60, 180, 420, 900, 1500]),
    ],
)
def test_a_source_that_fails_is_asked_more_rarely_and_delays_no_other(
    error: Exception, asked_s: list[float]
) -> None:
    calls = Calls()
    calls.one.error = error
    calls.run(1501)
    assert calls.one.asked_s == asked_s
    assert len(calls.two.asked_s) == 26
    assert calls.failed == ["one"] * len(asked_s)
    calls.one.error = None
    calls.run(MOST_PAUSE_S + 61)
    assert calls.answers[-1].source in ("one", "two")
    assert calls.one.asked_s[-1] - calls.one.asked_s[-2] == 60


def test_the_thread_ends_when_told() -> None:
    calls, stop = Calls(), threading.Event()
    stop.set()
    calls.call.start(stop)
    for thread in [each for each in threading.enumerate() if each.name == "roll-call"]:
        thread.join(5)
        assert not thread.is_alive()
    assert calls.one.asked_s == []
