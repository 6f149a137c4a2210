"""Which runs were asked for and have not begun?

Invariants: bounded; first come, first served; a run id is taken once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: More are refused: the controller asks again.
MOST_QUEUED = 16
_MOST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Request:
    """Checks to run once."""

    run_id: str
    checks: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)  # "ping.peer": "node-b"


class QueueFullError(Exception):
    """Too many wait already."""


class KnownRunError(Exception):
    """A run of this id was asked for before."""


class Requests:
    """Handed in by the threads of the HTTP server, taken by the worker."""

    def __init__(self, *, known: Iterable[str] = (), limit: int = MOST_QUEUED) -> None:
        """``known``: ids of runs that have ended."""
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[Request] = deque()
        self._ids: deque[str] = deque(known, maxlen=_MOST_REMEMBERED)

    def put(self, request: Request) -> int:
        """Queue it; returns how many wait before it. Raises QueueFullError, KnownRunError."""
        with self._lock:
            if request.run_id in self._ids:
                raise KnownRunError(request.run_id)
            if len(self._waiting) >= self._limit:
                raise QueueFullError(str(len(self._waiting)))
            self._ids.append(request.run_id)
            self._waiting.append(request)
            return len(self._waiting) - 1

    def take(self) -> Request | None:
        """The one that waits longest."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def knows(self, run_id: str) -> bool:
        """Whether a run of this id was asked for, not too long ago."""
        with self._lock:
            return run_id in self._ids

    def __len__(self) -> int:
        return len(self._waiting)
