"""How is a window of log time read completely?

``Pager.read`` walks [start, end) forward in windows and pages and hands out batches. A
batch's ``upto_ns`` says: every entry before it that Loki showed has been handed out. Entries
may be handed out twice at a batch's edge; the caller de-duplicates by identity.

Invariants: a page that is full is never taken for all; the next page starts *at* the last
timestamp; [T, T+1) is left only after it was read in parts that each were not full, or with a
``saturated`` mark. Windows shrink when Loki finds them too much and grow back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction
from konduktor_health.adapters.loki.query import Query
from konduktor_health.adapters.loki.refusals import AnswerTooLarge
from konduktor_health.adapters.loki.ties import TieReader
from konduktor_health.clock import NS
from konduktor_health.errors import LokiTooMuch

HOUR_NS = 3600 * NS
FLOOR_NS = NS  # windows are not made smaller than this
FEWEST_LINES = 16  # nor pages


class RangeReader(Protocol):
    """The part of LokiClient that paging needs."""

    @property
    def page_lines(self) -> int:
        """Most lines a page."""
        ...

    def query_range(
        self,
        query: str,
        start_ns: int,
        end_ns: int,
        limit: int | None = None,
        direction: Direction = "forward",
    ) -> Page:
        """As LokiClient.query_range."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded piece of a window, in time order."""

    lines: tuple[Line, ...]
    upto_ns: int  # all before this has been handed out
    saturated_ns: int | None = None  # [this, +1 ns) could not be read completely
    window_done: bool = False  # a whole window is complete: a good place to pause


class Pager:
    """Reads windows; remembers which sizes Loki bears."""

    def __init__(
        self, reader: RangeReader, *, tie_pages: int = 64, on_page: Callable[[Page], None]
    ) -> None:
        """``on_page`` sees every page (bytes, warnings, skipped entries).
        ``tie_pages``: most pages spent on one nanosecond."""
        self._reader = reader
        self._on_page = on_page
        self._window_ns = HOUR_NS
        self._lines: int | None = None  # None: as many as the client allows
        self._tie_pages = tie_pages

    def read(self, query: Query, start_ns: int, end_ns: int) -> Iterator[Batch]:
        """Read [start, end), oldest first. Ranges longer than an hour are cut at full hours
        (Loki splits there). Raises what query_range raises; batches up to then are valid."""
        by_hour = end_ns - start_ns > HOUR_NS
        at_ns = start_ns
        edge_keys: frozenset[object] = frozenset()  # handed out already, all at ``at_ns``
        while at_ns < end_ns:
            window_end = min(end_ns, at_ns + self._window_ns)
            if by_hour:
                window_end = min(window_end, (at_ns // HOUR_NS + 1) * HOUR_NS)
            try:
                page = self._fetch(query, at_ns, window_end, "forward")
                if not page.full:
                    lines = _without(page.lines, edge_keys)
                    at_ns, edge_keys = window_end, frozenset()
                    self._grow()
                    yield Batch(lines, at_ns, window_done=True)
                    continue
                if page.lines[-1].time_ns > at_ns:
                    lines = _without(page.lines, edge_keys)
                    at_ns = page.lines[-1].time_ns
                    edge_keys = frozenset(
                        line.key() for line in page.lines if line.time_ns == at_ns
                    )
                    yield Batch(lines, at_ns)
                    continue
                lines, complete = self._tie(query, at_ns, page)
                lines = _without(lines, edge_keys)
                saturated = None if complete else at_ns
                at_ns, edge_keys = at_ns + 1, frozenset()
                yield Batch(lines, at_ns, saturated_ns=saturated, window_done=at_ns == window_end)
            except LokiTooMuch as error:
                if not self._shrink(error, window_end - at_ns):
                    raise
                yield Batch((), at_ns)  # lets the caller look at its time budget

    def _fetch(self, query: Query, start_ns: int, end_ns: int, direction: Direction) -> Page:
        page = self._reader.query_range(str(query), start_ns, end_ns, self._lines, direction)
        self._on_page(page)
        return page

    def _tie(self, query: Query, at_ns: int, page: Page) -> tuple[tuple[Line, ...], bool]:
        def fetch(part: Query, direction: Direction) -> Page:
            return self._fetch(part, at_ns, at_ns + 1, direction)

        return TieReader(fetch, max_pages=self._tie_pages).read(query, page)

    def _shrink(self, error: LokiTooMuch, span_ns: int) -> bool:
        """Ask for less next time; False when there is nothing left to give."""
        lines = self._lines or self._reader.page_lines
        page_first = isinstance(error, AnswerTooLarge)
        if page_first and lines > FEWEST_LINES:
            self._lines = max(FEWEST_LINES, lines // 2)
        elif span_ns > FLOOR_NS:
            self._window_ns = max(FLOOR_NS, min(self._window_ns, span_ns) // 2)
        elif lines > FEWEST_LINES:
            self._lines = max(FEWEST_LINES, lines // 2)
        else:
            return False
        return True

    def _grow(self) -> None:
        self._window_ns = min(HOUR_NS, self._window_ns * 2)
        if self._lines is not None:
            doubled = self._lines * 2
            self._lines = None if doubled >= self._reader.page_lines else doubled


def _without(lines: tuple[Line, ...], keys: frozenset[object]) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.key() not in keys) if keys else lines
