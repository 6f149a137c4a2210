"""Who ships logs at all, source by source? Asked about once a minute, in a thread of its own.

A question that fails delays the next one and nothing else: the fault path never waits for it. What
Loki scans for it is charged to the source and slows the roll call down, as it slows down reading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError, HealthError, LokiRefused, excerpt
from konduktor_health.ports import Attendance, Coverage, NodeFeed

MOST_PAUSE_S = 600.0
MINUTE_S = 60.0


class RollCall:
    """Asks each source in turn until stopped."""

    def __init__(
        self,
        sources: Sequence[Coverage],
        feed: NodeFeed,
        *,
        clock: Clock,
        interval_s: float,
        bytes_per_minute: int,
        deliver: Callable[[Attendance], None],
        charge: Callable[[str, int], None] = lambda _source, _bytes: None,
        on_failure: Callable[[str], None] = lambda _source: None,
    ) -> None:
        """``bytes_per_minute``: what may be scanned per source, on average."""
        self._sources = sources
        self._feed = feed
        self._clock = clock
        self._interval_s = interval_s
        self._bound = bytes_per_minute
        self._deliver = deliver
        self._charge = charge
        self._on_failure = on_failure
        self._due_s: dict[str, float] = {}
        self._failures: dict[str, tuple[int, str]] = {}

    def start(self, stop: threading.Event) -> None:
        """Start the thread; it ends when ``stop`` is set."""
        if self._sources:
            threading.Thread(
                target=self._follow, args=(stop,), name="roll-call", daemon=True
            ).start()

    def turn(self) -> float:
        """Ask each source whose time has come; returns the seconds until the next one's."""
        for source in self._sources:
            if self._clock.monotonic() >= self._due_s.get(source.name, 0.0):
                self._due_s[source.name] = self._clock.monotonic() + self._ask(source)
        next_s = min(self._due_s.values(), default=MOST_PAUSE_S)
        return max(0.1, next_s - self._clock.monotonic())

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._clock.wait(stop, self.turn())

    def _ask(self, source: Coverage) -> float:
        """Ask one source; returns the pause that follows, seconds."""
        try:
            answer = source.ask(self._feed.nodes().values())
        except HealthError as error:
            return self._failed(source.name, str(error), error.hint, error)
        except Exception as error:  # a bug here must not end the thread unseen
            logger.bind(source=source.name).exception(f"bug: roll call failed: {error!r}")
            return self._failed(source.name, f"bug: {excerpt(repr(error))}", "", error)
        if self._failures.pop(source.name, None):
            logger.bind(source=source.name).info("the roll is called again")
        self._charge(source.name, answer.bytes_scanned)
        self._deliver(answer)
        return max(self._interval_s, MINUTE_S * answer.bytes_scanned / self._bound)

    def _failed(self, name: str, said: str, hint: str, error: Exception) -> float:
        count, before = self._failures.get(name, (0, ""))
        if said != before:
            logger.bind(source=name, hint=hint).warning(
                f"the roll cannot be called, only lines that are read tell who ships: {said}"
            )
        self._failures[name] = (min(count + 1, 10), said)
        self._on_failure(name)
        if isinstance(error, (ConfigError, LokiRefused)):
            return MOST_PAUSE_S
        return float(min(MOST_PAUSE_S, self._interval_s * 2.0**count))
