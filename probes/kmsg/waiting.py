"""What does the follower wait for, and how is it woken?

A self-pipe makes a signal, or room in the outbox, end a poll at once. Invariant: once
``stop`` was called no wait lasts.
"""

from __future__ import annotations

import contextlib
import os
import select


class Waker:
    """Waits on descriptors; ``stop`` (from a signal handler) and ``wake`` (any thread) end it."""

    def __init__(self) -> None:
        self.stopping = False
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def stop(self) -> None:
        """End the program: all waits return, now and later. Safe in a signal handler."""
        self.stopping = True
        self.wake()

    def wake(self) -> None:
        """End the current wait. A full pipe has woken it already."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b".")

    def wait(self, fd: int | None, seconds: float) -> bool:
        """Wait until ``fd`` is readable (True), or a wake, a stop, or the time is over."""
        return self._poll(fd, select.POLLIN | select.POLLPRI, seconds)

    def wait_writable(self, fd: int) -> bool:
        """Wait until ``fd`` takes data, or is broken (True), or a stop (False)."""
        while not self._poll(fd, select.POLLOUT, 1.0):
            if self.stopping:
                return False
        return True

    def close(self) -> None:
        """Close the pipe; nobody may wake any more."""
        os.close(self._reader)
        os.close(self._writer)

    def _poll(self, fd: int | None, events: int, seconds: float) -> bool:
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        if fd is not None:
            poller.register(fd, events)
        ready = poller.poll(0 if self.stopping else max(0, int(seconds * 1000)))
        if any(number == self._reader for number, _ in ready):
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        return any(number == fd for number, _ in ready)
