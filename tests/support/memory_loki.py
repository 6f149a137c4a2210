"""A Loki in memory, as far as the reader asks: half-open windows, limits, ties, late lines.

Which lines of a tie a page shows depends on the query's text and direction, as with the real
one. Entries become visible when they are put; ``fail`` makes requests fail.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction, Limits
from konduktor_health.adapters.loki.refusals import AnswerLost
from konduktor_health.clock import NS
from konduktor_health.errors import HealthError, LokiTooMuch, LokiUnavailable

_STRING = r'"(?:[^"\\]|\\.)*"'
_STAGE = re.compile(
    rf"\s*(?:(?P<op>\|=|!=|\|~|!~) (?P<values>{_STRING}(?: or {_STRING})*)"
    rf"|\| (?P<name>\w+)(?P<cmp>!?=)(?P<value>{_STRING}))"
)


@dataclass(frozen=True, slots=True)
class _Stage:
    op: str
    name: str  # "": a line filter
    values: tuple[str, ...]


class FakeClock:
    """Time that moves when told."""

    def __init__(self, now_ns: int) -> None:
        self.wall_ns = now_ns
        self.mono_s = 1000.0

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic(self) -> float:
        return self.mono_s

    def wait(self, event: object, seconds: float) -> bool:
        self.advance(max(0.0, seconds))
        return False

    def advance(self, seconds: float) -> None:
        self.wall_ns += int(seconds * 1e9)
        self.mono_s += seconds


def line(time_ns: int, text: str, labels: Mapping[str, str] | None = None, **metadata: str) -> Line:
    return Line(time_ns, text, labels or {"job": "kmsg"}, metadata)


class MemoryLoki:
    """Stands in for LokiClient."""

    def __init__(self, page_lines: int = 5000, clock: FakeClock | None = None) -> None:
        self.page_lines = page_lines
        self.clock = clock  # moves while an answer is waited for
        self.lines: list[Line] = []
        self.fail: HealthError | None = None
        self.fail_in = 0  # requests until it fails
        self.most_in_window: int | None = None  # more lines than this is "too much"
        self.queries: list[tuple[str, int, int]] = []
        self.limits_asked: list[int | None] = []
        self.bytes_a_query = 0
        self.bytes_a_second = 0.0  # scanned of the window
        self.broken_ns: tuple[int, int] | None = None  # windows that touch it fail
        self.scanned = 0  # in all
        self.most_answer_bytes: int | None = None  # a larger answer is lost,
        self.lost_after_s = 60.0  # and the connection cut after this
        self.slow_s = 0.0  # that other answers take
        self.warnings: tuple[str, ...] = ()
        self.hide_below_ns: int | None = None  # max_query_lookback

    def put(self, *lines: Line) -> None:
        self.lines.extend(lines)

    def query_range(
        self,
        query: str,
        start_ns: int,
        end_ns: int,
        limit: int | None = None,
        direction: Direction = "forward",
        timeout_s: float | None = None,
    ) -> Page:
        self._trip()
        self.queries.append((query, start_ns, end_ns))
        self.limits_asked.append(limit)
        lines = min(limit or self.page_lines, self.page_lines)
        found = [
            one for one in self.lines if start_ns <= one.time_ns < end_ns and _keeps(query, one)
        ]
        if self.most_in_window is not None and len(found) > self.most_in_window:
            raise LokiTooMuch("the query would read too many bytes")
        backward = direction == "backward"
        found.sort(
            key=lambda one: (
                -one.time_ns if backward else one.time_ns,
                _order(one, query + direction),
            )
        )
        broken = self.broken_ns
        if broken is not None and start_ns < broken[1] and broken[0] < end_ns:
            raise LokiUnavailable("Loki answered 500: failed to load a chunk")
        shown = sorted(found[:lines], key=lambda one: one.time_ns)
        size = sum(len(one.text) for one in shown)
        self._wait(size, min(timeout_s or 65.0, 65.0))
        scanned = self.bytes_a_query + int(self.bytes_a_second * (end_ns - start_ns) / NS)
        self.scanned += scanned
        return Page(tuple(shown), lines, 0, scanned, self.warnings, size, self.slow_s)

    def _wait(self, size: int, timeout_s: float) -> None:
        """As the real one: an answer above its message size is lost, after a long wait."""
        lost = self.most_answer_bytes is not None and size > self.most_answer_bytes
        wait_s = self.lost_after_s if lost else self.slow_s
        if self.clock is not None:
            self.clock.advance(min(wait_s, timeout_s))
        if lost or wait_s > timeout_s:
            raise AnswerLost("no answer")

    def series(self, selector: str, start_ns: int, end_ns: int) -> list[Mapping[str, str]]:
        self._trip()
        return [one.labels for one in self.lines if start_ns <= one.time_ns < end_ns]

    def label_values(self, name: str, selector: str, start_ns: int, end_ns: int) -> list[str]:
        self._trip()
        return sorted({one.labels[name] for one in self.lines if name in one.labels})

    def label_names(self, start_ns: int, end_ns: int) -> list[str]:
        self._trip()
        return ["cluster", "namespace"]

    def limits(self) -> Limits:
        self._trip()
        if self.hide_below_ns is None:
            return Limits()
        return Limits(lookback_ns=self.hide_below_ns)

    def _trip(self) -> None:
        if self.fail is not None:
            if self.fail_in <= 0:
                raise self.fail
            self.fail_in -= 1


def _order(one: Line, how: str) -> bytes:
    what = f"{one.text}{sorted(one.labels.items())}{sorted(one.metadata.items())}{how}"
    return hashlib.blake2b(what.encode(), digest_size=8).digest()


def _keeps(query: str, one: Line) -> bool:
    return all(_stage_keeps(stage, one) for stage in _stages(query))


@functools.lru_cache(maxsize=64)
def _stages(query: str) -> tuple[_Stage, ...]:
    position, stages = query.index("}") + 1, []
    while position < len(query):
        found = _STAGE.match(query, position)
        assert found is not None, f"not understood: {query[position:]}"
        position = found.end()
        values = re.findall(_STRING, found["values"] or found["value"])
        stages.append(
            _Stage(found["op"] or found["cmp"], found["name"] or "", tuple(map(json.loads, values)))
        )
    return tuple(stages)


def _stage_keeps(stage: _Stage, one: Line) -> bool:
    if stage.name:
        value = one.labels.get(stage.name, one.metadata.get(stage.name, ""))
        return (value == stage.values[0]) == (stage.op == "=")
    if stage.op in ("|=", "!="):
        return any(value in one.text for value in stage.values) == (stage.op == "|=")
    pattern = re.sub(r"\$\Z", r"\\Z", stage.values[0])
    return (re.search(pattern, one.text) is not None) == (stage.op == "|~")
