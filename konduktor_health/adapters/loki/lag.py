"""How late do lines arrive? Measured, so that each poll overlaps what was read by enough."""

from __future__ import annotations

from collections import deque

MAX_OVERLAP_S = 600.0  # above it Loki's result cache may answer (reference: result-cache trap)
_SAMPLES = 512
_HIGH = 0.99
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
        """Seconds that a poll reads again: the high quantile of the ages, within bounds."""
        while self._ages and self._ages[0][0] < now_s - _KEEP_S:
            self._ages.popleft()
        ages = sorted(age for _, age in self._ages)
        high = ages[min(len(ages) - 1, int(_HIGH * len(ages)))] if ages else 0.0
        return min(max(self._least_s, high), MAX_OVERLAP_S)
