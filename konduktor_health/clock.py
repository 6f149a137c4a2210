"""What time is it? The only module that reads a clock.

Durations are measured with the boot-time clock: on Linux ``time.monotonic()`` stands still while
the machine is suspended, and a Lease runs out all the same. Where there is no CLOCK_BOOTTIME
(macOS), CLOCK_MONOTONIC is read: there it goes on during sleep, and ``time.monotonic()`` does not.
"""

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
        """Seconds that never go back, time of suspension included; for durations and deadlines."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set (True) or the time is over (False)."""
        ...


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Wall-clock time, Unix nanoseconds."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, time of suspension included."""
        return time.clock_gettime(_BOOT_CLOCK)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on the event with a time-out in seconds."""
        return event.wait(max(0.0, seconds))
