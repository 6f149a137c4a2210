"""How far has a source been read, and what is still to be read again?

``Progress`` is what a checkpoint holds; ``Backlog`` the stretches of the past that are to be
read once more. Invariants: the cursor only moves forward with what was read, and never past
now; nothing before ``floor_ns`` is ever read; damaged state counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.adapters.loki.gaps import GapBook, from_json, to_json
from konduktor_health.clock import NS

VERSION = 1
MAX_TASKS = 32
_LATE_NS = 3600 * NS


@dataclass(slots=True)
class Task:
    """[start, end) is to be read again; ``position_ns`` is how far that has come."""

    start_ns: int
    end_ns: int
    position_ns: int
    deep_ns: int = 0  # a deep scan: when it was begun


@dataclass(slots=True)
class Backlog:
    """Stretches to read again, in the order they came in; overlapping ones are joined."""

    tasks: list[Task] = field(default_factory=list)

    def push(self, start_ns: int, end_ns: int) -> None:
        """Read [start, end) again: lines may have come late there."""
        if start_ns >= end_ns:
            return
        kept: list[Task] = []
        for task in self.tasks:
            touching = task.start_ns <= end_ns and start_ns <= task.end_ns
            crowded = len(self.tasks) >= MAX_TASKS
            if task.deep_ns or not (touching or crowded):
                kept.append(task)
            else:
                start_ns, end_ns = min(start_ns, task.start_ns), max(end_ns, task.end_ns)
        self.tasks = [*kept, Task(start_ns, end_ns, start_ns)]

    def push_deep(self, start_ns: int, end_ns: int) -> None:
        """Begin a deep scan, unless one is on its way."""
        if start_ns < end_ns and not any(task.deep_ns for task in self.tasks):
            self.tasks.append(Task(start_ns, end_ns, start_ns, deep_ns=end_ns))

    def rest(self) -> list[list[int]]:
        """What is left of the tasks that are no deep scans, as JSON."""
        return [[task.position_ns, task.end_ns] for task in self.tasks if not task.deep_ns]


@dataclass(slots=True)
class Progress:
    """The persistent state of one source; times are Unix ns."""

    cursor_ns: int
    floor_ns: int
    deep_ns: int  # the last deep scan that was completed
    gaps: GapBook = field(default_factory=GapBook)
    backlog: Backlog = field(default_factory=Backlog)
    outage: tuple[int, int] | None = None  # [cursor then, last failure) until caught up

    def not_read(self, now_ns: int, reason: str) -> None:
        """From the cursor to now could not be read."""
        if self.cursor_ns < now_ns:
            self.gaps.open(self.cursor_ns, now_ns, reason)
            self.outage = (self.outage[0] if self.outage else self.cursor_ns, now_ns)

    def caught_up(self) -> None:
        """Everything up to now has been read: after an outage, lines may have come late there
        and in the hour before (that much Loki takes), so it is read once more."""
        if self.outage is not None and self.cursor_ns >= self.outage[1]:
            self.backlog.push(max(self.floor_ns, self.outage[0] - _LATE_NS), self.outage[1])
            self.outage = None

    def horizon_ns(self, deep_band_ns: int) -> int:
        """Nothing before this log time will be read again, Unix ns."""
        times = [self.cursor_ns - 2 * _LATE_NS, *(task.start_ns for task in self.backlog.tasks)]
        if deep_band_ns:
            times.append(self.deep_ns - deep_band_ns)
        if self.outage is not None:
            times.append(self.outage[0] - _LATE_NS)
        return min(times)

    def to_json(self) -> dict[str, Any]:
        """Small JSON that ``restored`` takes."""
        rest = self.backlog.rest()
        if self.outage is not None:  # what is behind the cursor by now
            late_ns = max(self.floor_ns, self.outage[0] - _LATE_NS)
            rest += [[late_ns, self.cursor_ns]] if late_ns < self.cursor_ns else []
        return {
            "v": VERSION,
            "cursor": self.cursor_ns,
            "floor": self.floor_ns,
            "deep": self.deep_ns,
            "again": rest,
            "gaps": to_json(self.gaps.gaps),
        }


def first(now_ns: int, look_back_ns: int) -> Progress:
    """A first start, or a lost cursor: look back so far and never further."""
    floor_ns = max(0, now_ns - look_back_ns)
    return Progress(cursor_ns=floor_ns, floor_ns=floor_ns, deep_ns=now_ns)


def restored(state: Mapping[str, Any]) -> Progress:
    """The progress of a checkpoint. Raises ValueError for damaged state."""
    if state.get("v") != VERSION:
        raise ValueError("version")
    progress = Progress(
        _time(state.get("cursor")), _time(state.get("floor")), _time(state.get("deep", 0))
    )
    progress.gaps = GapBook(from_json(state))
    again = state.get("again", [])
    if not isinstance(again, list) or len(again) > 2 * MAX_TASKS:
        raise ValueError("again")
    for item in again:
        if not isinstance(item, list) or len(item) != 2:
            raise ValueError("again")
        progress.backlog.push(_time(item[0]), _time(item[1]))
    return progress


def _time(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("time")
    return value
