"""Which stretches of log time were not read?

Invariants: at most ``limit`` gaps are kept, and when there are more, neighbours are joined
(the space between them then counts as not read, never the other way round); reading a stretch
completely takes it out of every gap that may still close; permanent gaps stay until forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from konduktor_health.ports import Gap

UNAVAILABLE = "unavailable"
TOO_OLD = "too_old"
LOOKBACK_CUT = "lookback_cut"
LIMIT_SATURATED = "limit_saturated"
CONFIG = "config"
_REASONS = frozenset({UNAVAILABLE, TOO_OLD, LOOKBACK_CUT, LIMIT_SATURATED, CONFIG})


class GapBook:
    """The gaps of one source, in time order."""

    def __init__(self, gaps: Iterable[Gap] = (), *, limit: int = 100) -> None:
        self._limit = limit
        self._gaps: list[Gap] = []
        for gap in gaps:
            self.open(gap.start_ns, gap.end_ns, gap.reason, permanent=gap.permanent)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """All gaps, oldest first."""
        return tuple(self._gaps)

    def open(self, start_ns: int, end_ns: int, reason: str, *, permanent: bool = False) -> None:
        """[start, end) was not read. Joined with gaps of the same kind that it touches."""
        if start_ns >= end_ns:
            return
        apart: list[Gap] = []
        for gap in self._gaps:
            same = (gap.reason, gap.permanent) == (reason, permanent)
            if same and gap.start_ns <= end_ns and start_ns <= gap.end_ns:
                start_ns, end_ns = min(start_ns, gap.start_ns), max(end_ns, gap.end_ns)
            else:
                apart.append(gap)
        self._gaps = sorted(
            [*apart, Gap(start_ns, end_ns, reason, permanent)],
            key=lambda gap: (gap.start_ns, gap.end_ns),
        )
        self._bound()

    def cover(self, start_ns: int, end_ns: int) -> None:
        """[start, end) has been read completely (again)."""
        left: list[Gap] = []
        for gap in self._gaps:
            if gap.permanent or gap.end_ns <= start_ns or end_ns <= gap.start_ns:
                left.append(gap)
                continue
            if gap.start_ns < start_ns:
                left.append(Gap(gap.start_ns, start_ns, gap.reason))
            if end_ns < gap.end_ns:
                left.append(Gap(end_ns, gap.end_ns, gap.reason))
        self._gaps = left

    def give_up(self, before_ns: int, reason: str = "") -> None:
        """What is older than ``before_ns`` will not be read any more: permanent, for ``reason``
        (none: its own)."""
        for gap in self.gaps:
            if gap.permanent or gap.start_ns >= before_ns:
                continue
            end_ns = min(gap.end_ns, before_ns)
            self.cover(gap.start_ns, end_ns)
            self.open(gap.start_ns, end_ns, reason or gap.reason, permanent=True)

    def forget(self, before_ns: int) -> None:
        """Drop permanent gaps that end before this: nobody waits for that time any more."""
        self._gaps = [gap for gap in self._gaps if not gap.permanent or gap.end_ns >= before_ns]

    def _bound(self) -> None:
        while len(self._gaps) > self._limit:
            spaces = [
                (later.start_ns - earlier.end_ns, index)
                for index, (earlier, later) in enumerate(
                    zip(self._gaps, self._gaps[1:], strict=False)
                )
            ]
            _, index = min(spaces)
            one, other = self._gaps[index], self._gaps[index + 1]
            self._gaps[index : index + 2] = [
                Gap(
                    min(one.start_ns, other.start_ns),
                    max(one.end_ns, other.end_ns),
                    one.reason,
                    one.permanent and other.permanent,
                )
            ]


def to_json(gaps: Iterable[Gap]) -> list[list[Any]]:
    """Gaps as small JSON: [start, end, reason, permanent]."""
    return [[gap.start_ns, gap.end_ns, gap.reason, gap.permanent] for gap in gaps]


def from_json(state: Mapping[str, Any]) -> list[Gap]:
    """The gaps of a checkpoint. Raises ValueError for anything but what to_json made."""
    stored = state.get("gaps", [])
    if not isinstance(stored, list) or len(stored) > 1000:
        raise ValueError("gaps")
    found = []
    for item in stored:
        if not isinstance(item, list) or len(item) != 4:
            raise ValueError("gap")
        start_ns, end_ns, reason, permanent = item
        if type(start_ns) is not int or type(end_ns) is not int or type(permanent) is not bool:
            raise ValueError("gap")
        if reason not in _REASONS or not 0 <= start_ns < end_ns < 2**63:
            raise ValueError("gap")
        found.append(Gap(start_ns, end_ns, reason, permanent))
    return found
