"""Which clocks does the agent go by?

The wall clock stamps runs and judges how long a signed request is good; the monotonic one, which is
the host's and goes on while the agent restarts, says when something is due.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Both."""

    def now_ns(self) -> int:
        """Unix nanoseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds since the host booted, without suspend."""
        ...


class HostClock:
    """The real ones."""

    def now_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()
