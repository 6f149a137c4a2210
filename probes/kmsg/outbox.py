"""Which lines wait for Loki?

A bounded queue between the follower (puts) and the pusher (takes batches, acknowledges).
Invariants: lines leave in the order they came, and only when acknowledged; the bytes held
exceed the limit by at most two lines; nothing is dropped to make room.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from probes.kmsg.output import Line

#: What a queued line costs beside its text: tuple, integers, object headers; the stamp in JSON.
_OVERHEAD = 240


class Entry(NamedTuple):
    """A line as it goes into a push."""

    time_ns: int
    quoted: bytes  # the line as a JSON string, ASCII
    seq: int

    @property
    def cost(self) -> int:
        """Bytes it is counted with, in the queue and in a push."""
        return len(self.quoted) + _OVERHEAD


class Outbox:
    """Thread-safe. ``on_room`` is called when a full outbox has room again."""

    def __init__(
        self,
        limit_bytes: int,
        on_room: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit_bytes
        self._on_room = on_room
        self._monotonic = monotonic
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._delivered: int | None = None
        self._changed = threading.Condition()
        self._close_by: float | None = None

    def has_room(self) -> bool:
        """True while less than the limit is held."""
        with self._changed:
            return self._bytes < self._limit

    def put(self, line: Line) -> None:
        """Queue a line; never blocks, never drops."""
        entry = Entry(line.time_ns, json.dumps(line.text).encode("ascii"), line.seq)
        with self._changed:
            self._entries.append(entry)
            self._bytes += entry.cost
            self._changed.notify_all()

    def delivered(self) -> int | None:
        """Sequence number of the last acknowledged line."""
        with self._changed:
            return self._delivered

    def batch(self, max_bytes: int) -> list[Entry]:
        """The oldest lines, at least one; waits for one. Empty: closing, and all is delivered."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._close_by is not None)
            taken: list[Entry] = []
            room = max_bytes
            for entry in self._entries:
                room -= entry.cost
                if taken and room < 0:
                    break
                taken.append(entry)
            return taken

    def acknowledge(self, count: int) -> None:
        """The oldest ``count`` lines are delivered."""
        with self._changed:
            was_full = self._bytes >= self._limit
            for _ in range(count):
                entry = self._entries.popleft()
                self._bytes -= entry.cost
                self._delivered = entry.seq
            has_room = self._bytes < self._limit
            self._changed.notify_all()
        if was_full and has_room:
            self._on_room()

    def pause(self, seconds: float) -> None:
        """Wait; closing ends the wait, and while closing it lasts no longer than is left."""
        with self._changed:
            if self._close_by is None:
                self._changed.wait_for(lambda: self._close_by is not None, timeout=seconds)
            else:
                self._changed.wait(timeout=max(0.0, min(seconds, self._left(self._close_by))))

    def given_up(self) -> bool:
        """True when the time that ``close`` gave is over."""
        with self._changed:
            return self._close_by is not None and self._left(self._close_by) <= 0

    def close(self, seconds: float) -> None:
        """No more lines come: deliver what is left without delay, within ``seconds``."""
        with self._changed:
            self._close_by = self._monotonic() + seconds
            self._changed.notify_all()

    def _left(self, close_by: float) -> float:
        return close_by - self._monotonic()
