"""When, on the wall clock, did the kernel log a record?

printk stamps records with its own clock. It starts with the monotonic clock, but nobody
disciplines it, so that over weeks it may run away from the monotonic clock by seconds.
``PrintkClock`` measures that skew on records that are read the moment they are logged.

Invariant: the skew that is used is never smaller than the true one, and (while records
arrive) exceeds it by less than a second.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

_TOLERANCE_NS = 1_000_000_000  # wake-up latencies are below this, drift worth mending above


class Clocks(Protocol):
    """The clocks of the host, nanoseconds."""

    def realtime_ns(self) -> int:
        """Wall-clock time since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Time since boot without suspend (CLOCK_MONOTONIC)."""
        ...


class HostClocks:
    """The real clocks."""

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.clock_gettime_ns(time.CLOCK_REALTIME)

    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class PrintkClock:
    """Turns printk uptimes into wall-clock time."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._skew_ns = 0  # monotonic clock minus printk clock
        self._suspect_ns: int | None = None  # a larger skew that wants a second witness

    def seen_live(self, uptime_us: int) -> None:
        """A record was read as soon as it was logged: compare the clocks.

        A late wake-up looks like skew, so a larger value counts only when two records in a
        row show it.
        """
        sample = self._clocks.monotonic_ns() - uptime_us * 1000
        if sample < self._skew_ns:
            self._skew_ns, self._suspect_ns = sample, None
        elif sample <= self._skew_ns + _TOLERANCE_NS:
            self._suspect_ns = None
        elif self._suspect_ns is None:
            self._suspect_ns = sample
        else:
            self._skew_ns, self._suspect_ns = min(sample, self._suspect_ns), None

    def boot_ns(self) -> int:
        """Wall-clock time of printk's zero, Unix nanoseconds, by the clocks of this moment."""
        return self._clocks.realtime_ns() - self._clocks.monotonic_ns() + self._skew_ns

    def uptime_us(self) -> int:
        """What printk would stamp now, microseconds."""
        return max(0, self._clocks.monotonic_ns() - self._skew_ns) // 1000

    def event_ns(self, uptime_us: int) -> int:
        """Wall-clock time of a record, Unix nanoseconds."""
        return self.boot_ns() + uptime_us * 1000


def rfc3339_micro(ns: int) -> str:
    """Unix nanoseconds as RFC 3339 in UTC with microseconds; out of range becomes the epoch."""
    try:
        stamp = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00.000000Z"
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000 // 1000:06d}Z"
