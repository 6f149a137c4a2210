"""When did the event of a log line happen? Event time of lines that carry a kernel uptime.

A boot's start is the smallest log time minus uptime seen in that boot: delivery only makes log
times later, so the estimate is never before the true start and only ever moves back. Only lines
of the kernel log tell about it; a pod's line has its log time, whatever it says.
"""

from __future__ import annotations

from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from konduktor_health.timestamps import NS

MOST_BOOTS = 20_000
LONGEST_UPTIME_NS = 10 * 366 * 86_400 * NS  # more is a damaged stamp


class BootTimes:
    """Starts of the boots that lines were seen of. Not thread-safe."""

    def __init__(self, *, most: int = MOST_BOOTS) -> None:
        self._most = most
        self._starts: dict[tuple[str, str], int] = {}

    def note(self, node: str, boot_id: str, entry: LogEntry) -> int | None:
        """Learn from a line. To be called for all lines of a poll before they are dated: a ring
        that is shipped at one go is dated by its last line. Returns the start of its boot, Unix ns,
        by the line alone; None where it does not tell."""
        start_ns = _start_ns(entry)
        if start_ns is None:
            return None
        starts, boot = self._starts, (node, boot_id)
        known_ns = starts.pop(boot, start_ns)  # put at the end: used last
        starts[boot] = start_ns if start_ns < known_ns else known_ns
        if len(starts) > self._most:
            del starts[next(iter(starts))]
        return start_ns

    def event_ns(
        self, node: str, boot_id: str, entry: LogEntry, start_ns: int | None = None
    ) -> int:
        """Event time of a line, Unix ns; never after its log time. ``start_ns``: what ``note`` has
        told of the line, if known."""
        if start_ns is None:
            start_ns = _start_ns(entry)
        if start_ns is not None:
            known_ns = self._starts.get((node, boot_id), start_ns)
            # the boot's start and the line's uptime; of the line that tells the start, its time
            return entry.time_ns - max(0, start_ns - known_ns)
        stated_ns = entry.record.time_ns
        if stated_ns is None or entry.trust is Trust.POD:
            return entry.time_ns
        return min(stated_ns, entry.time_ns) if entry.time_ns else stated_ns


def _start_ns(entry: LogEntry) -> int | None:
    uptime_us = entry.record.uptime_us
    if uptime_us is None or entry.trust is Trust.POD or entry.pod:
        return None
    uptime_ns = uptime_us * 1000
    return entry.time_ns - uptime_ns if 0 <= uptime_ns < LONGEST_UPTIME_NS else None
