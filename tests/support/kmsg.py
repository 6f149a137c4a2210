"""A kernel ring in memory that behaves like /dev/kmsg, and a clock that tests move."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable

from probes.kmsg.follow import Follower
from probes.kmsg.hostclock import PrintkClock
from probes.kmsg.output import Line, LineFormat
from probes.kmsg.ring import RingCursor, RingError
from probes.kmsg.waiting import Waker

BOOT_ID = "0123456789abcdef0123456789abcdef"
BOOT_NS = 1_800_000_000_000_000_000


class KernelRing:
    """What the kernel holds: numbered records, the oldest of which it may overwrite."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.oldest = 0
        self.errors: list[int] = []  # error numbers that the next reads fail with
        self.openable = True

    def log(self, text: str, uptime_us: int = 0, prefix: int = 4) -> int:
        seq = len(self.records)
        self.records.append(f"{prefix},{seq},{uptime_us},-;{text}\n".encode())
        return seq

    def overwrite(self, count: int) -> None:
        self.oldest = min(len(self.records), self.oldest + count)

    def open(self) -> RingHandle:
        if not self.openable:
            raise RingError("cannot open the ring")
        return RingHandle(self)


class RingHandle:
    """One open descriptor."""

    def __init__(self, ring: KernelRing) -> None:
        self._ring = ring
        self._next = ring.oldest

    def read(self) -> bytes:
        if self._ring.errors:
            number = self._ring.errors.pop(0)
            if number == errno.EINVAL:
                self._next += 1  # the kernel passes over what does not fit
            raise OSError(number, os.strerror(number))
        if self._next < self._ring.oldest:
            self._next = self._ring.oldest
            raise BrokenPipeError(errno.EPIPE, "overwritten")
        if self._next >= len(self._ring.records):
            raise BlockingIOError(errno.EAGAIN, "nothing new")
        self._next += 1
        return self._ring.records[self._next - 1]

    def fileno(self) -> int:
        return -1

    def seek_end(self) -> None:
        self._next = len(self._ring.records)

    def close(self) -> None:
        pass


class FakeClocks:
    """The host's clocks; uptime in seconds is what tests set."""

    def __init__(self) -> None:
        self.uptime_s = 0.0

    def realtime_ns(self) -> int:
        return BOOT_NS + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        return int(self.uptime_s * 1e9)


class CollectingSink:
    """Keeps lines; has room and acknowledges as told."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.room = True
        self.acknowledges = True
        self._delivered: int | None = None

    def has_room(self) -> bool:
        return self.room

    def put(self, line: Line) -> None:
        self.lines.append(line)
        if self.acknowledges:
            self._delivered = line.seq

    def delivered(self) -> int | None:
        return self._delivered


class ScriptedWaker(Waker):
    """Instead of waiting, time passes and the next step of the script happens; then it stops."""

    def __init__(self, clocks: FakeClocks, script: Iterable[Callable[[], object]]) -> None:
        super().__init__()
        self._clocks = clocks
        self._script = iter(script)

    def wait(self, fd: int | None, seconds: float) -> bool:
        self._clocks.uptime_s += seconds
        step = next(self._script, None)
        if step is None:
            self.stop()
        else:
            step()
        return fd is not None


class Node:
    """A node with a ring, on which the follower is run, stopped and run again."""

    def __init__(self) -> None:
        self.ring = KernelRing()
        self.clocks = FakeClocks()
        self.sink = CollectingSink()
        self.saved: list[int] = []
        self.log: list[str] = []

    def follow(
        self,
        *script: Callable[[], object],
        last: int | None = None,
        from_now: bool = False,
        once: bool = False,
    ) -> None:
        """Run the follower until the script is over."""
        waker = ScriptedWaker(self.clocks, script)
        clock = PrintkClock(self.clocks)
        cursor = RingCursor(self.ring.open, last)
        follower = Follower(
            cursor,
            LineFormat(BOOT_ID, "node-a", clock),
            self.sink,
            clock=clock,
            waker=waker,
            save=self.saved.append,
            log=self.log.append,
            monotonic=lambda: self.clocks.uptime_s,
        )
        try:
            if from_now:
                follower.skip_to_now()
            follower.run(once=once)
            follower.save_position()
        finally:
            waker.close()
