"""A log source, its Loki and the time, all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from konduktor_health.adapters.loki.portion import HOUR_NS
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.adapters.loki.reader import LokiSource
from konduktor_health.clock import NS
from konduktor_health.model import Trust
from konduktor_health.settings import ReadingSettings
from parsers.record import LogRecord
from tests.support.memory_loki import FakeClock, MemoryLoki, line

NOW = 1_800_000_000 * NS


def unwrap(text: str) -> LogRecord:
    """``stamp|text`` has an uptime stamp; ``heartbeat`` is one."""
    stamp, bar, rest = text.partition("|")
    if bar:
        return LogRecord(text=rest, uptime_stamp=stamp)
    return LogRecord(text=text, heartbeat=text == "heartbeat", hostname="from-record")


class World:
    """A source, its Loki and the time."""

    def __init__(
        self, state: Mapping[str, Any] | None = None, *, page_lines: int = 20, **reading: Any
    ) -> None:
        self.clock = FakeClock(NOW)
        self.loki = MemoryLoki(page_lines, self.clock)
        self.reading = ReadingSettings(**{"poll_interval_s": 1.0, **reading})
        self.spec = SourceSpec("kmsg", '{job="kmsg"}', ("metadata:node", "record"), Trust.KERNEL)
        self.loki.put(line(NOW - 20 * HOUR_NS, "unrelated and long ago"))
        self.options: dict[str, Any] = {}
        self.source = self.start(state)

    def start(self, state: Mapping[str, Any] | None) -> LokiSource:
        self.source = LokiSource(
            self.loki,
            self.spec,
            self.reading,
            clock=self.clock,
            literals=(),
            unwrap=unwrap,
            jitter=lambda: 0.0,
            **self.options,
        )
        if state is not None:
            self.source.restore(state)
        return self.source

    def poll(self, after_s: float = 1.0) -> list[str]:
        self.clock.advance(after_s)
        return [entry.record.text for entry in self.source.poll().entries]

    def polls(self, seconds: float, step_s: float = 30.0) -> list[str]:
        found: list[str] = []
        for _ in range(int(seconds / step_s)):
            found += self.poll(step_s)
        return found

    def bytes_of_a_poll(self, after_s: float) -> int:
        """Bytes that Loki scanned for the next poll."""
        before = self.loki.scanned
        self.poll(after_s)
        return self.loki.scanned - before

    def ago(self, seconds: float) -> int:
        return self.clock.wall_ns - int(seconds * NS)
