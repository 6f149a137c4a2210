"""How is a window of log time read completely?

``Pager.read`` walks [start, end) forward in windows and pages and hands out batches. A
batch's ``upto_ns`` says: every entry before it that Loki showed has been handed out. Entries
may be handed out twice at a batch's edge; the caller de-duplicates by identity.

Invariants: a page that is full is never taken for all; the next page starts *at* the last
timestamp; time is left out only with an ``unread`` mark: a nanosecond with more lines than can
be told apart, or the smallest window when its answer does not come while others do. What does
not come is asked for in smaller portions (``portion``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction
from konduktor_health.adapters.loki.portion import FEWEST_LINES, FLOOR_NS, HOUR_NS, Portion
from konduktor_health.adapters.loki.query import Query
from konduktor_health.adapters.loki.refusals import AnswerLost, Unreachable
from konduktor_health.adapters.loki.ties import TieReader
from konduktor_health.errors import HealthError, LokiTooMuch, LokiUnavailable

_OFTEN = 3  # failures in a row that are taken for the window's, not the moment's
_PROBE_S = 10.0


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
        timeout_s: float | None = None,
    ) -> Page:
        """As LokiClient.query_range."""
        ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A bounded piece of a window, in time order."""

    lines: tuple[Line, ...]
    upto_ns: int  # all before this has been handed out
    unread: tuple[int, int] | None = None  # but for [start, end), which could not be read
    trouble: HealthError | None = None  # a page did not come; the next one is smaller
    window_done: bool = False  # a whole window is complete: a good place to pause


class Pager:
    """Reads windows; remembers which sizes Loki bears."""

    def __init__(
        self,
        reader: RangeReader,
        *,
        tie_pages: int = 64,
        on_page: Callable[[Page], None],
        portion: Portion | None = None,
    ) -> None:
        """``on_page`` sees every page (bytes, warnings, skipped entries).
        ``tie_pages``: most pages spent on one nanosecond."""
        self._reader = reader
        self._on_page = on_page
        self._portion = portion or Portion()
        self._tie_pages = tie_pages
        self._failures = 0  # in a row
        self._stride_ns = FLOOR_NS  # to leave out next; doubled while nothing can be read

    def read(self, query: Query, start_ns: int, end_ns: int) -> Iterator[Batch]:
        """Read [start, end), oldest first. Ranges longer than an hour are cut at full hours
        (Loki splits there). Raises what query_range raises; batches up to then are valid."""
        by_hour = end_ns - start_ns > HOUR_NS
        at_ns = start_ns
        edge: frozenset[object] = frozenset()  # keys of what was handed out already at ``at_ns``
        while at_ns < end_ns:
            window_end = min(end_ns, at_ns + self._portion.window_ns)
            if by_hour:
                window_end = min(window_end, (at_ns // HOUR_NS + 1) * HOUR_NS)
            try:
                batch, edge = self._next(query, at_ns, window_end, edge)
            except (LokiTooMuch, LokiUnavailable) as error:
                batch = self._without_page(error, query, (at_ns, window_end, end_ns))
                edge = edge if batch.upto_ns == at_ns else frozenset()
            at_ns = batch.upto_ns
            yield batch

    def _next(
        self, query: Query, at_ns: int, window_end: int, edge: frozenset[object]
    ) -> tuple[Batch, frozenset[object]]:
        """The next batch, and the keys of its lines at ``upto_ns``."""
        page = self._fetch(query, at_ns, window_end, "forward")
        if not page.full:
            self._portion.window_done()
            return Batch(_without(page.lines, edge), window_end, window_done=True), frozenset()
        last_ns = page.lines[-1].time_ns
        if last_ns > at_ns:
            keys = frozenset(line.key() for line in page.lines if line.time_ns == last_ns)
            return Batch(_without(page.lines, edge), last_ns), keys
        lines, complete = self._tie(query, at_ns, page)
        upto_ns = at_ns + 1
        return Batch(
            _without(lines, edge),
            upto_ns,
            unread=None if complete else (at_ns, upto_ns),
            window_done=upto_ns == window_end,
        ), frozenset()

    def _without_page(
        self, error: LokiTooMuch | LokiUnavailable, query: Query, times: tuple[int, int, int]
    ) -> Batch:
        """What to do when the page of [at, window end) did not come. Raises the error when the
        reason is not in the page, or there is nothing left to do."""
        at_ns, window_end, end_ns = times
        if isinstance(error, Unreachable):
            raise error
        self._failures += 1
        at_once = isinstance(error, (LokiTooMuch, AnswerLost))
        if not at_once and self._failures < _OFTEN:
            raise error
        if self._portion.shrink(error, window_end - at_ns):
            if at_once:
                return Batch((), at_ns, trouble=error)
            raise error  # the client has tried several times by now
        if not self._answers_elsewhere(query, at_ns, end_ns):
            raise error
        upto_ns = min(end_ns, at_ns + self._stride_ns)
        self._stride_ns *= 2
        return Batch((), upto_ns, unread=(at_ns, upto_ns), trouble=error)

    def _answers_elsewhere(self, query: Query, at_ns: int, end_ns: int) -> bool:
        """True when Loki answers this query for the newest of the times that are wanted."""
        start_ns = end_ns - FLOOR_NS
        if start_ns <= at_ns:
            return False
        try:
            page = self._reader.query_range(
                str(query), start_ns, end_ns, FEWEST_LINES, timeout_s=_PROBE_S
            )
        except (LokiTooMuch, LokiUnavailable):
            return False
        self._on_page(page)
        return True

    def _fetch(self, query: Query, start_ns: int, end_ns: int, direction: Direction) -> Page:
        lines = self._portion.lines(self._reader.page_lines)
        page = self._reader.query_range(
            str(query), start_ns, end_ns, lines, direction, self._portion.timeout_s
        )
        self._portion.answered(page)
        self._failures, self._stride_ns = 0, FLOOR_NS
        self._on_page(page)
        return page

    def _tie(self, query: Query, at_ns: int, page: Page) -> tuple[tuple[Line, ...], bool]:
        def fetch(part: Query, direction: Direction) -> Page:
            return self._fetch(part, at_ns, at_ns + 1, direction)

        return TieReader(fetch, max_pages=self._tie_pages).read(query, page)


def _without(lines: tuple[Line, ...], keys: frozenset[object]) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.key() not in keys) if keys else lines
