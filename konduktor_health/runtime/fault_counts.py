"""How many faults were heard of, by fault id, severity and source? Counted until they are drained.

Bounded: what comes once there are MAX_FAULT_KINDS kinds counts as ``other``.
"""

from __future__ import annotations

from collections import Counter

from konduktor_health.model import Fault, Severity

MAX_FAULT_KINDS = 2000

FaultKind = tuple[str, str, str]  # (fault id, severity, source)


class FaultCounts:
    """The counts since they were drained last. Used by one thread."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Severity, str]] = Counter()

    def add(self, fault: Fault, count: int) -> None:
        """So many more of this fault."""
        kind = (fault.fault_id, fault.severity, fault.source)
        if len(self._counts) >= MAX_FAULT_KINDS and kind not in self._counts:
            kind = ("other", fault.severity, fault.source)
        self._counts[kind] += count

    def drain(self) -> Counter[FaultKind]:
        """The counts, which begin anew."""
        drained, self._counts = self._counts, Counter()
        return Counter({(kind[0], kind[1].value, kind[2]): n for kind, n in drained.items()})
