"""How much is asked for at once, and how long is the answer waited for?

Loki loses an answer above 4 MiB on its way between its parts: the request hangs until the
query's time-out and ends with 504 or without an answer. Asking again for the same would go on
for ever. So a page is sized by what lines took in the answers before, it begins modestly, and
when an answer does not come, less is asked for: first of lines, then of time.

Invariants: nothing shrinks below FEWEST_LINES and FLOOR_NS; whatever has shrunk grows back with
the answers that come; a portion never depends on when something happened.
"""

from __future__ import annotations

from konduktor_health.adapters.loki.answers import Page
from konduktor_health.adapters.loki.refusals import AnswerLost
from konduktor_health.clock import NS
from konduktor_health.errors import HealthError, LokiTooMuch

HOUR_NS = 3600 * NS
FLOOR_NS = NS  # windows are not made smaller than this
FIRST_LINES = 1000  # of a page while nothing is known: 4 kB a line would get through
FEWEST_LINES = 2  # one that is known already, and the next
TARGET_BYTES = 2 * 1024 * 1024  # half of what gets through: lines differ in length
_SOUNDING_LINES = 16  # a smaller page helps with huge lines only: the window comes first
_TELLING_BYTES = 65_536  # smaller answers are mostly statistics
_STEP = 4  # by so much less when an answer did not come: each try may cost a long wait


class PageSize:
    """Lines a page, by what lines take: known for all queries of one source."""

    def __init__(self) -> None:
        self._ceiling = FIRST_LINES
        self._line_bytes = 0.0

    def lines(self, most: int) -> int:
        """Lines to ask for, when Loki allows ``most``."""
        fitting = int(TARGET_BYTES / self._line_bytes) if self._line_bytes else most
        return max(FEWEST_LINES, min(most, self._ceiling, fitting))

    def answered(self, page: Page) -> None:
        """An answer came: longer lines count at once, shorter ones by and by."""
        count = len(page.lines) + page.skipped
        if count >= _SOUNDING_LINES or (count and page.answer_bytes >= _TELLING_BYTES):
            now = page.answer_bytes / count
            self._line_bytes = max(now, 0.9 * self._line_bytes + 0.1 * now)
        if page.full:
            self._ceiling = max(self._ceiling, 2 * count)

    def limit(self, lines: int) -> None:
        """No more lines than this, until full pages have come."""
        self._ceiling = max(FEWEST_LINES, lines)


class Portion:
    """The page, window and patience that one kind of query has been found to need."""

    def __init__(
        self,
        size: PageSize | None = None,
        *,
        patience_s: float = 10.0,
        most_patience_s: float = 300.0,
    ) -> None:
        """``patience_s``: seconds that an answer is waited for; up to ``most_patience_s``, and
        three times what the answers before took, when that turned out not to be enough."""
        self._size = size or PageSize()
        self._least_s, self._most_s = patience_s, most_patience_s
        self._asked = FIRST_LINES
        self.timeout_s = patience_s
        self.window_ns = HOUR_NS

    def lines(self, most: int) -> int:
        """Lines to ask for, when Loki allows ``most``."""
        self._asked = self._size.lines(most)
        return self._asked

    def answered(self, page: Page) -> None:
        """An answer came."""
        self._size.answered(page)
        wanted_s = max(self._least_s, 3 * page.took_s, 0.7 * self.timeout_s)
        self.timeout_s = min(wanted_s, self._most_s)

    def window_done(self) -> None:
        """A whole window was read."""
        self.window_ns = min(HOUR_NS, self.window_ns * 5 // 4)

    def shrink(self, error: HealthError, span_ns: int) -> bool:
        """The answer for a window of ``span_ns`` did not come: less next time. False when there
        is nothing left to give."""
        scans_too_much = type(error) is LokiTooMuch  # by its own words
        if self._asked > _SOUNDING_LINES and not scans_too_much:
            self._size.limit(max(_SOUNDING_LINES, self._asked // _STEP))
            return True
        if isinstance(error, AnswerLost):  # it was not the size: perhaps it is only slow
            self.timeout_s = min(2 * self.timeout_s, self._most_s)
        if span_ns > FLOOR_NS:
            self.window_ns = max(FLOOR_NS, min(self.window_ns, span_ns) // _STEP)
        elif self._asked > FEWEST_LINES:
            self._size.limit(FEWEST_LINES)
        else:
            return False
        return True
