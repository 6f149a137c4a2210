"""A poll that stopped early is followed by the next one at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from loguru import logger

from konduktor_health.ports import Poll, SourceStatus
from konduktor_health.runtime.sources import Delivery, Sources
from tests.support.memory_loki import FakeClock


class Scripted:
    """A source that says these things (True: there is more), then ends the test."""

    name = "kmsg"

    def __init__(self, stop: threading.Event, *script: bool | Exception) -> None:
        self._stop = stop
        self._script = list(script)

    def poll(self) -> Poll:
        step = self._script.pop(0)
        if not self._script:
            self._stop.set()
        if isinstance(step, Exception):
            raise step
        return Poll(status=SourceStatus(self.name, ok=True, cursor_ns=0 if step else 1), more=step)

    def checkpoint(self) -> Mapping[str, Any]:
        return {"left": len(self._script)}

    def restore(self, state: Mapping[str, Any]) -> None:
        pass


class Wake(threading.Event):
    """Calls back when it is set."""

    def __init__(self, callback: Callable[[], None]) -> None:
        super().__init__()
        self._callback = callback

    def set(self) -> None:
        self._callback()


class Follower(FakeClock):
    """Takes what the source's thread delivers, and notes what is waited for."""

    def __init__(self, *script: bool | Exception) -> None:
        super().__init__(1)
        self.stop = threading.Event()
        self.waited: list[float] = []
        self.taken: list[Delivery] = []
        self.sources = Sources(
            [Scripted(self.stop, *script)], clock=self, poll_interval_s=2.0, wake=Wake(self._take)
        )

    def _take(self) -> None:
        self.taken += self.sources.take()

    def wait(self, event: object, seconds: float) -> bool:
        self.waited.append(seconds)
        return super().wait(event, seconds)

    def run(self) -> list[int]:
        """How much was left of the script at each poll that was handed over."""
        self.sources.start(self.stop)
        self.sources.join(5)
        return left(self.taken)


def left(deliveries: Iterable[Delivery]) -> list[int]:
    return [(delivery.checkpoint or {}).get("left", -1) for delivery in deliveries]


def test_the_interval_is_waited_only_when_there_is_no_more() -> None:
    follower = Follower(True, True, False, False)

    assert follower.run() == [3, 2, 1]  # once stopped, nothing is handed over
    assert follower.waited == [2.0, 2.0]


def test_one_pass_takes_all_there_is() -> None:
    follower = Follower(True, True, False, False)

    assert left(follower.sources.poll_once(follower.stop)) == [3, 2, 1]
    assert follower.waited == []


def test_a_source_that_breaks_is_not_ok_and_logged_once() -> None:
    said: list[str] = []
    sink = logger.add(lambda message: said.append(message.record["message"]))
    follower = Follower(ValueError("a"), ValueError("a"), KeyError("b"), False, ValueError("a"))

    follower.run()
    logger.remove(sink)

    assert [poll.poll.status.ok for poll in follower.taken] == [False, False, False, True]
    assert [text.rpartition(": ")[2] for text in said] == [
        "ValueError('a')",
        "KeyError('b')",
        "ValueError('a')",
    ]
    assert len(follower.waited) == 5
