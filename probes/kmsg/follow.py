"""How do kernel records become lines, without losing one on the way?

The follower reads as long as the sink has room. When it has none, the kernel's own ring is
the buffer: reading stops, and only what the kernel overwrites meanwhile is reported missed.
The delivered position is saved every few seconds and at the end, so a restart repeats a
little and loses nothing. Invariant: after ``Waker.stop`` the loop ends without waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from probes.kmsg.hostclock import PrintkClock
from probes.kmsg.output import LineFormat, Sink
from probes.kmsg.ring import RingCursor, RingError
from probes.kmsg.waiting import Waker

_REOPEN_S = 1.0  # between tries to open a kernel log that failed
_SAVE_S = 3.0  # between position saves
_SKIP_S = 2.0  # "from now" looks through the ring at most this long


class Follower:
    """Follows one ring into one sink.

    ``save`` stores the number of the last delivered record and deals with its own errors;
    ``log`` takes single lines for a person.
    """

    def __init__(
        self,
        cursor: RingCursor,
        lines: LineFormat,
        sink: Sink,
        *,
        clock: PrintkClock,
        waker: Waker,
        save: Callable[[int], None],
        log: Callable[[str], None],
        heartbeat_s: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cursor = cursor
        self._lines = lines
        self._sink = sink
        self._clock = clock
        self._waker = waker
        self._save = save
        self._log = log
        self._heartbeat_s = heartbeat_s
        self._monotonic = monotonic
        self._heartbeat_due = monotonic()
        self._save_due = monotonic()
        self._start: int | None = cursor.last

    def skip_to_now(self) -> None:
        """Begin with the next record; what is in the ring counts as delivered."""
        end = self._monotonic() + _SKIP_S
        self._cursor.skip_past(lambda: self._monotonic() < end and not self._waker.stopping)
        self._start = self._cursor.last

    def run(self, *, once: bool = False) -> None:
        """Follow until the waker stops, or with ``once`` until the ring is drained.

        Raises OutputClosed when the sink's reader has gone, with ``once`` also RingError.
        """
        woken_by_ring = False
        while not self._waker.stopping:
            self._save_if_due()
            if not self._sink.has_room():
                self._waker.wait(None, self._pause(heartbeat=False))
                continue
            try:
                drained = self._step(live=woken_by_ring)
            except RingError as error:
                if once:
                    raise
                self._log(f"{error}; trying again")
                self._waker.wait(None, _REOPEN_S)
                continue
            woken_by_ring = False
            if drained:
                if once:
                    return
                self._beat_if_due()
                woken_by_ring = self._waker.wait(self._cursor.fileno(), self._pause())

    def save_position(self) -> None:
        """Store what was delivered so far."""
        delivered = self._sink.delivered()
        seq = self._start if delivered is None else delivered
        if seq is not None:
            self._save(seq)

    def _step(self, *, live: bool) -> bool:
        """One step of the cursor; True when the ring is drained."""
        read = self._cursor.step()
        if read.record is None:
            return read.drained
        if live:
            self._clock.seen_live(read.record.uptime_us)
        if read.missed:
            self._log(f"missed {read.missed} kernel records: overwritten before they were read")
            self._sink.put(self._lines.missed(read.missed, read.record))
        self._sink.put(self._lines.record(read.record))
        return False

    def _beat_if_due(self) -> None:
        """Only on a drained ring: older records must not reach Loki behind a heartbeat."""
        now = self._monotonic()
        if now >= self._heartbeat_due:
            self._heartbeat_due = now + self._heartbeat_s
            last = self._cursor.last
            self._sink.put(self._lines.heartbeat(-1 if last is None else last))

    def _save_if_due(self) -> None:
        now = self._monotonic()
        if now >= self._save_due:
            self._save_due = now + _SAVE_S
            self.save_position()

    def _pause(self, *, heartbeat: bool = True) -> float:
        """Seconds until something is due without the ring's doing."""
        due = min(self._save_due, self._heartbeat_due) if heartbeat else self._save_due
        return max(0.0, due - self._monotonic())
