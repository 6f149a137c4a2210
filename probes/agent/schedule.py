"""Which cadence is due, and when is the next one?

A cadence has points on the host's monotonic clock, one interval apart and shifted by the node's
name: 10,000 nodes do not beat together, even when all of them were booted at once, and a restart of
the agent neither moves the points nor brings one run more.

Invariants: what was missed (a long run, a suspended machine) is made up by one run, not by many; of
two that are due the one that waits longer comes first, so that none starves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping

#: A cadence that has not run yet in this boot does so within this time, where its interval is not
#: shorter: nobody waits an hour for the first figures of a new node.
FIRST_WITHIN_S = 300.0


def share(text: str) -> float:
    """A number from 0 to below 1, the same for the same text and spread evenly over texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


class Schedule:
    """Points in time of each cadence. ``now`` is always the monotonic clock, seconds.

    ``intervals``: seconds; a cadence without one, or with 0, is never due. ``patient``: those
    whose first run may wait for their point.
    """

    def __init__(
        self,
        intervals: Mapping[str, float],
        *,
        node: str,
        now: float,
        known: Collection[str] = (),
        patient: Collection[str] = (),
    ) -> None:
        self._intervals = {name: each for name, each in intervals.items() if each > 0}
        self._offsets = {
            name: interval * share(f"{node}/{name}") for name, interval in self._intervals.items()
        }
        self._due = {
            name: self._point_after(name, now)
            if name in known or name in patient
            else now + min(interval, FIRST_WITHIN_S) * share(f"{node}/{name}")
            for name, interval in self._intervals.items()
        }

    def due(self, now: float) -> tuple[str, ...]:
        """Cadences that are due, the one that has waited longest first."""
        late = [(when, name) for name, when in self._due.items() if when <= now]
        return tuple(name for _, name in sorted(late))

    def wait_s(self, now: float) -> float:
        """Seconds until one is due; infinity when none ever is."""
        return max(0.0, min(self._due.values(), default=math.inf) - now)

    def ran(self, name: str, now: float) -> None:
        """A run of it has begun: the next point is due then."""
        if name in self._due:
            self._due[name] = self._point_after(name, now)

    def postpone(self, name: str, until: float) -> None:
        """It cannot run now."""
        if name in self._due:
            self._due[name] = until

    def _point_after(self, name: str, now: float) -> float:
        interval, offset = self._intervals[name], self._offsets[name]
        point = offset + (math.floor((now - offset) / interval) + 1) * interval
        return point if point > now else point + interval  # rounding may fall on now itself
