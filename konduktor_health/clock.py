"""What time is it? The only module that reads a clock."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from konduktor_health.timestamps import NS, parse_rfc3339, rfc3339, rfc3339_micro

__all__ = ["NS", "Clock", "SystemClock", "parse_rfc3339", "rfc3339", "rfc3339_micro"]


class Clock(Protocol):
    """Time as the rest of the program sees it."""

    def now_ns(self) -> int:
        """Wall-clock time, Unix nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for durations and deadlines."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set (True) or the time is over (False)."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Wall-clock time, Unix nanoseconds."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on the event with a time-out in seconds."""
        return event.wait(max(0.0, seconds))
