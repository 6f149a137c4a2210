"""A Loki in memory, as far as the reader asks: half-open windows, limits, ties, late lines.

Which lines of a tie a page shows depends on the query's text and direction, as with the real
one. Entries become visible when they are put; ``fail`` makes requests fail.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction, Limits
from konduktor_health.errors import HealthError, LokiTooMuch

_STRING = r'"(?:[^"\\]|\\.)*"'
_STAGE = re.compile(
    rf"\s*(?:(?P<op>\|=|!=|\|~|!~) (?P<values>{_STRING}(?: or {_STRING})*)"
    rf"|\| (?P<name>\w+)(?P<cmp>!?=)(?P<value>{_STRING}))"
)


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

    def __init__(self, page_lines: int = 5000) -> None:
        self.page_lines = page_lines
        self.lines: list[Line] = []
        self.fail: HealthError | None = None
        self.fail_in = 0  # requests until it fails
        self.most_in_window: int | None = None  # more lines than this is "too much"
        self.queries: list[tuple[str, int, int]] = []
        self.bytes_a_query = 0
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
    ) -> Page:
        self._trip()
        self.queries.append((query, start_ns, end_ns))
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
        shown = sorted(found[:lines], key=lambda one: one.time_ns)
        return Page(tuple(shown), lines, 0, self.bytes_a_query, self.warnings)

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
    position = query.index("}") + 1
    while position < len(query):
        stage = _STAGE.match(query, position)
        assert stage is not None, f"not understood: {query[position:]}"
        position = stage.end()
        if not _stage_keeps(stage, one):
            return False
    return True


def _stage_keeps(stage: re.Match[str], one: Line) -> bool:
    if stage["name"]:
        value = one.labels.get(stage["name"], one.metadata.get(stage["name"], ""))
        same = value == str(json.loads(stage["value"]))
        return same == (stage["cmp"] == "=")
    values = [json.loads(text) for text in re.findall(_STRING, stage["values"])]
    if stage["op"] in ("|=", "!="):
        return any(value in one.text for value in values) == (stage["op"] == "|=")
    found = re.search(re.sub(r"\$\Z", r"\\Z", values[0]), one.text) is not None
    return found == (stage["op"] == "|~")
