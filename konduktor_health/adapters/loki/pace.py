"""When is the next read due, how far back does it begin, and may the past be read again now?

Invariants: what one poll scanned is spread over the time that the byte bound allows for it;
failures back off exponentially with jitter, and what Loki asked for (Retry-After) is kept;
re-reading waits while the bound is used up, but not for ever; a read of the past that fails
delays only the past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_BACKOFF_S = 60.0
MAX_OVERLAP_S = 600.0  # above it Loki's result cache may answer (reference: result-cache trap)
_AGAIN_BACKOFF_S = (30.0, 300.0)
_MINUTE_S = 60.0
_SLACK = 0.05  # a caller that wakes a little early must not lose a whole interval
_SAMPLES = 512
_ODD = 20  # one line in so many may be later than the overlap: the minute's band finds it
_KEEP_S = 3600.0


class Lag:
    """Age of new lines when they were found, over the last ones of the last hour."""

    def __init__(self, least_s: float) -> None:
        self._least_s = least_s
        self._ages: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)  # (found at, age)

    def add(self, now_s: float, age_s: float) -> None:
        """A line was new when it was this old, seconds. Beyond the overlap's bound: ignored."""
        if 0 <= age_s <= MAX_OVERLAP_S:
            self._ages.append((now_s, age_s))

    def overlap_s(self, now_s: float) -> float:
        """Seconds that a poll reads again: what 19 of 20 ages are below, within bounds. A single
        odd line never counts: it would multiply what every poll reads for an hour."""
        return min(max(self._least_s, self.common_s(now_s) or 0.0), MAX_OVERLAP_S)

    def common_s(self, now_s: float) -> float | None:
        """What 19 of 20 ages are below, seconds; None where too few lines came."""
        while self._ages and self._ages[0][0] < now_s - _KEEP_S:
            self._ages.popleft()
        ages = sorted(age for _, age in self._ages)
        common = ages[: len(ages) - max(1, len(ages) // _ODD)]
        return common[-1] if common else None


class Pace:
    """Due times of one source, in seconds of a monotonic clock."""

    def __init__(
        self, interval_s: float, bytes_per_minute: int, *, jitter: Callable[[], float]
    ) -> None:
        """``jitter`` gives numbers in [0, 1)."""
        self._least_s = interval_s
        self._bound = bytes_per_minute
        self._jitter = jitter
        self._due_s: float | None = None
        self._started_s = 0.0
        self._failures = 0
        self._spent: deque[tuple[float, int]] = deque()
        self._forward_bytes = 0
        self._again_at_s: float | None = None  # when the past was read last
        self._again_bytes = 0
        self._again_failures = 0
        self._again_not_before_s: float | None = None
        self.interval_s = interval_s  # as it is now, slowed down

    def due(self, now_s: float) -> bool:
        """True when it is time to read (the first time always)."""
        return self._due_s is None or now_s >= self._due_s - _SLACK * self._least_s

    def start(self, now_s: float) -> None:
        """A poll begins."""
        self._started_s = now_s
        self._forward_bytes = 0

    def scanned(self, now_s: float, count: int, *, again: bool) -> None:
        """Loki scanned ``count`` bytes for a page; ``again``: of the past."""
        self._spent.append((now_s, count))
        if again:
            self._again_at_s = now_s
            self._again_bytes += count
        else:
            self._forward_bytes += count

    def bytes_per_minute(self, now_s: float) -> int:
        """Bytes scanned within the last minute."""
        while self._spent and self._spent[0][0] <= now_s - _MINUTE_S:
            self._spent.popleft()
        return sum(count for _, count in self._spent)

    def may_read_again(self, now_s: float) -> bool:
        """True when the bound leaves room for a window of the past, or the last is long ago."""
        if self._again_not_before_s is not None and now_s < self._again_not_before_s:
            return False
        if self._again_at_s is None or self.bytes_per_minute(now_s) < self._bound / 2:
            self._again_bytes = 0
            return True
        pause_s = max(_MINUTE_S, 2 * _MINUTE_S * self._again_bytes / self._bound)
        if now_s - self._again_at_s < pause_s:
            return False
        self._again_bytes = 0
        return True

    def read_again(self, now_s: float, *, ok: bool) -> None:
        """A window of the past was read, or could not be."""
        self._again_failures = 0 if ok else min(self._again_failures + 1, 16)
        first_s, most_s = _AGAIN_BACKOFF_S
        wait_s = min(most_s, first_s * 2.0 ** (self._again_failures - 1))
        self._again_not_before_s = None if ok else now_s + wait_s

    def succeed(self, *, more: bool) -> None:
        """The poll went well; ``more``: it stopped early, the rest is due at once."""
        self._failures = 0
        cost_s = _MINUTE_S * self._forward_bytes / self._bound
        self.interval_s = max(self._least_s, cost_s)
        self._due_s = self._started_s + (cost_s if more else self.interval_s)

    def fail(self, now_s: float, retry_after_s: float | None) -> None:
        """The poll failed at ``now_s``."""
        self._failures = min(self._failures + 1, 16)
        backoff_s = min(MAX_BACKOFF_S, self._least_s * 2.0 ** (self._failures - 1))
        backoff_s *= 1 + 0.2 * self._jitter()
        # what was waited for an answer counts
        self._due_s = max(self._started_s + backoff_s, now_s + (retry_after_s or 0.0))
        self.interval_s = self._due_s - self._started_s
