"""How do several log sources reach one loop? A thread each, polls handed over in a queue.

A source that hangs in its time-outs, or fails, delays nobody else. The queue is short: a loop
that cannot keep up slows the readers down instead of filling memory.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import excerpt
from konduktor_health.ports import LogSource, Poll, SourceStatus

QUEUE_LENGTH = 1  # polls per source; one may hold some ten MiB of text
ONCE_POLLS = 1000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One poll of one source with the checkpoint that covers it (None: it failed)."""

    source: str
    poll: Poll
    checkpoint: Mapping[str, Any] | None


class Sources:
    """Polls each source in its own thread until stopped."""

    def __init__(
        self,
        sources: Sequence[LogSource],
        *,
        clock: Clock,
        poll_interval_s: float,
        wake: threading.Event,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._interval_s = poll_interval_s
        self._wake = wake
        self._queue: queue.Queue[Delivery] = queue.Queue(maxsize=QUEUE_LENGTH * len(sources) or 1)
        self._left: deque[Delivery] = deque()
        self._threads: list[threading.Thread] = []
        self._bugs: dict[str, str] = {}  # per source, each written by its own thread

    @property
    def count(self) -> int:
        """How many sources there are."""
        return len(self._sources)

    def restore(self, checkpoints: Mapping[str, Mapping[str, Any]]) -> None:
        """Hand stored checkpoints to the sources (before start)."""
        for source in self._sources:
            if source.name in checkpoints:
                source.restore(checkpoints[source.name])

    def start(self, stop: threading.Event) -> None:
        """Start the threads; they end when ``stop`` is set."""
        for source in self._sources:
            thread = threading.Thread(
                target=self._follow, args=(source, stop), name=f"source-{source.name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def poll_once(self, stop: threading.Event) -> Iterator[Delivery]:
        """Poll every source in turn, for ``run --once``, until it has been read up to now.

        A poll hands out a bounded number of lines, so that a backlog takes several.
        """
        began_ns = self._clock.now_ns()
        for source in self._sources:
            reached_ns = -1
            for _ in range(ONCE_POLLS):
                delivery = self._poll(source)
                yield delivery
                if delivery.poll.more and not stop.is_set():
                    continue
                status = delivery.poll.status
                stuck = status.cursor_ns <= reached_ns and not delivery.poll.entries
                if not status.ok or status.cursor_ns >= began_ns or stuck or stop.is_set():
                    break
                reached_ns = status.cursor_ns
                self._clock.wait(stop, status.poll_interval_s)

    def take(self) -> list[Delivery]:
        """What has been delivered since the last call."""
        taken: list[Delivery] = []
        while True:
            try:
                taken.append(self._queue.get_nowait())
            except queue.Empty:
                return taken

    def in_turn(self) -> Iterator[Delivery]:
        """The same, one after the other: what a cycle that fails has not come to is left for the
        next call."""
        if not self._left:
            self._left.extend(self.take())
        while self._left:
            yield self._left.popleft()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads; they are daemons, so a hung read cannot keep the process."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _follow(self, source: LogSource, stop: threading.Event) -> None:
        while not stop.is_set():
            started = self._clock.monotonic()
            delivery = self._poll(source)
            self._hand_over(delivery, stop)
            if delivery.poll.more:
                continue
            took = self._clock.monotonic() - started
            interval = max(self._interval_s, delivery.poll.status.poll_interval_s)
            self._clock.wait(stop, interval - took)

    def _poll(self, source: LogSource) -> Delivery:
        """One poll; a source that breaks its promise not to raise is a source that is not ok."""
        try:
            delivery = Delivery(source.name, source.poll(), source.checkpoint())
        except Exception as error:
            said = excerpt(repr(error))
            if self._bugs.get(source.name) != said:  # with its traceback once, not at each poll
                logger.bind(source=source.name).exception(f"bug: source failed: {said}")
            self._bugs[source.name] = said
            status = SourceStatus(source.name, ok=False, message=f"bug: {said}")
            return Delivery(source.name, Poll((), status), None)
        self._bugs.pop(source.name, None)
        return delivery

    def _hand_over(self, delivery: Delivery, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._queue.put(delivery, timeout=0.2)
            except queue.Full:
                continue
            self._wake.set()
            return
