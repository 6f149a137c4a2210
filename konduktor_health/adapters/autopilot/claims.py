"""What does the test ``pvc`` say here? Autopilot's text of the controller's test of storage.

The test is of the storage, not of a node: all nodes are told the same one. Invariants: nothing is
begun unless that is allowed, and then at most once in ``AGAIN_S``, however many ask; whatever could
not be tested is an ABORT.
"""

from __future__ import annotations

from typing import Protocol

from konduktor_health.adapters.autopilot.words import plain
from konduktor_health.clock import Clock
from konduktor_health.errors import LeadershipLost
from konduktor_health.model import ProbeStatus
from konduktor_health.timestamps import NS, rfc3339

#: A claim is not made again for so long, seconds.
AGAIN_S = 300.0
_NAME = "[PVC Create-Delete]"
_JUST_S = 1.0  # a result this young needs no time beside it
_VERDICT = {
    ProbeStatus.PASS: f"{_NAME} PVC SUCCESS",
    ProbeStatus.FAIL: f"{_NAME} FAIL",
    ProbeStatus.SKIP: f"{_NAME} PVC was not bound. ABORT",
}
_NOT_MADE = f"{_NAME} Create PVC Failed. ABORT"


class VolumeTold(Protocol):
    """What a test of storage came to (``runtime.volume_check.VolumeResult``)."""

    @property
    def status(self) -> ProbeStatus:
        """Its outcome."""
        ...

    @property
    def message(self) -> str:
        """Why."""
        ...

    @property
    def ended_ns(self) -> int:
        """When it ended, Unix ns."""
        ...


class TestsVolumes(Protocol):
    """Who tests storage (``runtime.volume_check``)."""

    @property
    def last(self) -> VolumeTold | None:
        """The newest result; None: none yet."""
        ...

    def fresh(self, oldest_s: float) -> VolumeTold | None:
        """One that is not older, seconds; None: nothing is tested here now. Raises
        LeadershipLost."""
        ...


class Claims:
    """Writes the text. Thread-safe; a call may wait for a whole test."""

    def __init__(self, volumes: TestsVolumes, clock: Clock, *, starts: bool) -> None:
        """``starts``: whoever asks may have a claim made; else the newest result is told."""
        self._volumes, self._clock, self._starts = volumes, clock, starts

    def __call__(self, _node: str) -> str:
        """The text for a node, without a line feed at its end."""
        try:
            found = self._volumes.fresh(AGAIN_S) if self._starts else self._volumes.last
        except LeadershipLost:
            return f"{_NAME} Another replica leads: ask again. ABORT"
        if found is None:
            return f"{_NAME} Storage was not tested yet. ABORT"
        lines = [_VERDICT.get(found.status, _NOT_MADE), plain(found.message)]
        age_s = (self._clock.now_ns() - found.ended_ns) / NS
        if age_s > _JUST_S:
            lines.append(f"measured at {rfc3339(found.ended_ns)}, {age_s:.0f} s ago")
        return "\n".join(lines)
