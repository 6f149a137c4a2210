"""A source that hangs or fails delays nobody, and a slow loop slows the readers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from loguru import logger

from konduktor_health.clock import SystemClock
from konduktor_health.ports import Poll, SourceStatus
from konduktor_health.runtime.sources import Sources


class Source:
    """Polls at once; ``hang``: until the test is over; ``error``: is raised."""

    def __init__(
        self, name: str, hang: threading.Event | None = None, error: Exception | None = None
    ) -> None:
        self.name = name
        self.polls = 0
        self._hang, self._error = hang, error

    def poll(self) -> Poll:
        self.polls += 1
        if self._hang:
            self._hang.wait(20)
        if self._error:
            raise self._error
        return Poll((), SourceStatus(self.name, ok=True, cursor_ns=self.polls))

    def checkpoint(self) -> Mapping[str, Any]:
        return {"cursor": self.polls}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.polls = int(state["cursor"])


@pytest.fixture
def over() -> Any:
    stop = threading.Event()
    yield stop
    stop.set()


def test_source_that_hangs_or_fails_delays_no_other(over: threading.Event) -> None:
    logger.remove()
    wake = threading.Event()
    made = [Source("hung", hang=over), Source("bad", error=KeyError("x")), Source("good")]
    sources = Sources(made, clock=SystemClock(), poll_interval_s=0.01, wake=wake)
    sources.start(over)
    heard: dict[str, int] = {}
    checkpoints: list[str] = []
    for _ in range(500):
        wake.wait(0.1)
        wake.clear()
        for delivery in sources.take():
            heard[delivery.source] = heard.get(delivery.source, 0) + 1
            checkpoints += [delivery.source] if delivery.checkpoint is not None else []
        if min(heard.get("good", 0), heard.get("bad", 0)) >= 3:
            break
    assert heard.keys() == {"good", "bad"}
    assert set(checkpoints) == {"good"}  # what failed moves no stored cursor
    over.set()
    sources.join(1)
    assert [t.name for t in threading.enumerate() if t.name.startswith("source-")] == []


def test_loop_that_does_not_take_slows_the_readers_down(over: threading.Event) -> None:
    source = Source("fast")
    sources = Sources([source], clock=SystemClock(), poll_interval_s=0.001, wake=threading.Event())
    sources.start(over)
    threading.Event().wait(0.3)
    assert source.polls <= 3
    assert len(sources.take()) == 1


def test_stored_checkpoints_reach_their_source() -> None:
    source = Source("kmsg")
    sources = Sources([source], clock=SystemClock(), poll_interval_s=1, wake=threading.Event())
    sources.restore({"kmsg": {"cursor": 5}, "gone": {"cursor": 7}})
    assert source.polls == 5
