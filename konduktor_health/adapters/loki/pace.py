"""When is the next read due, and may the past be read again now?

Invariants: what one poll scanned is spread over the time that the byte bound allows for it;
failures back off exponentially with jitter, and what Loki asked for (Retry-After) is kept;
re-reading waits while the bound is used up, but not for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

MAX_BACKOFF_S = 60.0
_MINUTE_S = 60.0
_SLACK = 0.05  # a caller that wakes a little early must not lose a whole interval


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
        if self._again_at_s is None or self.bytes_per_minute(now_s) < self._bound / 2:
            self._again_bytes = 0
            return True
        pause_s = max(_MINUTE_S, 2 * _MINUTE_S * self._again_bytes / self._bound)
        if now_s - self._again_at_s < pause_s:
            return False
        self._again_bytes = 0
        return True

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
        wait_s = max(backoff_s * (1 + 0.2 * self._jitter()), retry_after_s or 0.0)
        self.interval_s = wait_s
        self._due_s = now_s + wait_s
