"""What goes wrong on purpose, and what was asked? For tests and for the demo.

Rules are tried in the order in which they were added; each has a number of times (None: always).
A path is matched as a regular expression against the path without the query.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Rule:
    """One way to misbehave."""

    method: str | None
    path: re.Pattern[str]
    times: int | None
    delay_s: float = 0.0
    code: int = 0  # answer this instead of doing anything
    message: str = ""
    retry_after: int | None = None
    drop: str = ""  # "before" or "after" the request took effect


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was answered. ``code`` 0: the connection was dropped."""

    method: str
    path: str
    query: str
    user: str
    code: int


class RequestLog:
    """The latest requests, oldest first. Thread-safe."""

    def __init__(self, limit: int = 20_000) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque(maxlen=limit)

    def add(self, request: Request) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

    def all(self) -> list[Request]:
        """A copy of what is remembered."""
        with self._lock:
            return list(self._requests)

    def matching(self, method: str | None = None, path: str = "") -> list[Request]:
        """Requests with this method whose path matches the regular expression."""
        pattern = re.compile(path)
        return [
            r
            for r in self.all()
            if (method is None or r.method == method) and pattern.search(r.path)
        ]

    def writes(self) -> list[Request]:
        """Everything but reads."""
        return [r for r in self.all() if r.method != "GET"]

    def clear(self) -> None:
        """Forget."""
        with self._lock:
            self._requests.clear()


class Faults:
    """The rules in force. Thread-safe."""

    def __init__(self, compact: Callable[[], None], wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._compact = compact
        self._wake = wake
        self._watch_epoch = 0

    def delay(
        self,
        seconds: float,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = None,
    ) -> None:
        """Wait before handling."""
        self._add(Rule(method, re.compile(path), times, delay_s=seconds))

    def answer(
        self,
        code: int,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        message: str = "",
        retry_after: int | None = None,
    ) -> None:
        """Answer with a Status of this code instead of handling the request."""
        self._add(
            Rule(
                method,
                re.compile(path),
                times,
                code=code,
                message=message,
                retry_after=retry_after,
            )
        )

    def drop(
        self,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        after: bool = False,
    ) -> None:
        """Close the connection without an answer; ``after``: the request has taken effect."""
        self._add(Rule(method, re.compile(path), times, drop="after" if after else "before"))

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._rules.clear()

    def kill_watches(self) -> None:
        """End every watch that is open now, as a restarting server would."""
        with self._lock:
            self._watch_epoch += 1
        self._wake()

    def compact(self) -> None:
        """Forget the history: resuming a watch from an older revision gives 410."""
        self._compact()

    @property
    def watch_epoch(self) -> int:
        """Rises with each kill_watches()."""
        with self._lock:
            return self._watch_epoch

    def take(self, method: str, path: str) -> list[Rule]:
        """The rules that apply to a request; their counts go down. Delays add up, and the first
        rule that answers or drops ends the search."""
        taken: list[Rule] = []
        with self._lock:
            for rule in list(self._rules):
                if rule.method not in (None, method) or not rule.path.search(path):
                    continue
                taken.append(rule)
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                if rule.code or rule.drop:
                    break
        return taken

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)
