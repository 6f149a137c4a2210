"""What time is it in the past that is played? It moves when told, and never back."""

from __future__ import annotations

import math
import threading

from konduktor_health.timestamps import NS


class PastClock:
    """A ``Clock`` of which wall clock and monotonic clock are one."""

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time that is played, Unix nanoseconds."""
        return self._now_ns

    def monotonic(self) -> float:
        """Seconds since the start of the past."""
        return (self._now_ns - self._start_ns) / NS

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Nothing is waited for: time is moved by who plays."""
        del seconds
        return event.is_set()

    def go_to(self, time_ns: int) -> None:
        """It is this time now, unless it is later already."""
        if time_ns > self._now_ns:
            self._now_ns = time_ns

    def ns_of(self, monotonic_s: float) -> int:
        """The first time at which ``monotonic`` is not less than this."""
        time_ns = self._start_ns + math.ceil(monotonic_s * NS)
        while (time_ns - self._start_ns) / NS < monotonic_s:  # the product was rounded down
            time_ns += 1
        return time_ns
