"""How does the embedded Loki misbehave on demand?

A test queues faults; each request whose path contains the fault's ``path`` (is it, where that
begins with a slash) uses up one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Kind = Literal["status", "drop", "hang", "truncate", "html"]


@dataclass(slots=True)
class Fault:
    """One kind of misbehaviour, ``times`` times."""

    kind: Kind
    times: int
    path: str
    status: int = 500
    body: str = ""
    retry_after: str = ""
    seconds: float = 0.0


class Faults:
    """A queue of faults. Thread-safe; the oldest one that fits a request is taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Fault] = []

    def status(
        self, code: int, *, times: int = 1, retry_after: str = "", body: str = "",
        path: str = "query_range",
    ) -> None:  # fmt: skip
        """Answer with this status, a plain text and, if given, a Retry-After header."""
        text = body or f"forced status {code}"
        self._add(Fault("status", times, path, status=code, body=text, retry_after=retry_after))

    def drop(self, *, times: int = 1, path: str = "query_range") -> None:
        """Close the connection without an answer."""
        self._add(Fault("drop", times, path))

    def hang(self, seconds: float, *, times: int = 1, path: str = "query_range") -> None:
        """Wait before answering (stop() ends the wait)."""
        self._add(Fault("hang", times, path, seconds=seconds))

    def truncate(self, *, times: int = 1, path: str = "query_range") -> None:
        """Answer 200 with the first half of the JSON."""
        self._add(Fault("truncate", times, path))

    def html(self, *, times: int = 1, path: str = "query_range") -> None:
        """Answer 200 with a web page, as a gateway's login page does."""
        self._add(Fault("html", times, path))

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._queue.clear()

    def take(self, path: str) -> Fault | None:
        """The fault that this request meets, used up by one."""
        with self._lock:
            for fault in self._queue:
                whole = fault.path.startswith("/")
                if path == fault.path if whole else fault.path in path:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._queue.remove(fault)
                    return fault
        return None

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._queue.append(fault)
