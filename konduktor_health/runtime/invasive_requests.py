"""Which nodes has somebody asked to be tested, beside proof and schedule?

What is remembered is of this process alone: a request that nobody carried out before another
replica leads has to be made again. Invariants: a request ends after ``WAITS_S``, carried out or
not; a node whose test was requested is not tested for a request again within ``AGAIN_S``, however
often it is asked for. Thread-safe.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from konduktor_health.clock import Clock

WAITS_S = 3600.0  # for idle GPUs
AGAIN_S = 4 * 3600.0  # as often as agents do it by themselves


@dataclass(slots=True)
class _Request:
    """Times are monotonic."""

    end_s: float
    next_s: float  # its GPUs are not looked at before


class InvasiveRequests:
    """Requests by node."""

    def __init__(self, clock: Clock, *, pause_s: float) -> None:
        """``pause_s``: so long a node is left whose GPUs are in use."""
        self._clock = clock
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._waiting: dict[str, _Request] = {}
        self._begun_s: dict[str, float] = {}

    def ask(self, node: str) -> str:
        """Have it tested once its GPUs are idle; why not, or "" """
        now_s = self._clock.monotonic()
        with self._lock:
            self._forget(now_s)
            if node in self._begun_s:
                return "it was tested for a request in the last four hours"
            self._waiting.setdefault(node, _Request(now_s + WAITS_S, now_s))
        return ""

    def due(self) -> frozenset[str]:
        """Nodes whose GPUs are to be looked at now."""
        now_s = self._clock.monotonic()
        with self._lock:
            self._forget(now_s)
            return frozenset(name for name, one in self._waiting.items() if one.next_s <= now_s)

    def put_off(self, node: str) -> None:
        """Its GPUs are held, or it may not be tested now."""
        with self._lock:
            one = self._waiting.get(node)
            if one is not None:
                one.next_s = self._clock.monotonic() + self._pause_s

    def begun(self, node: str) -> None:
        """Its test has begun."""
        with self._lock:
            if self._waiting.pop(node, None) is not None:
                self._begun_s[node] = self._clock.monotonic()

    def withdraw(self, node: str) -> None:
        """Nobody asks for it any more."""
        with self._lock:
            self._waiting.pop(node, None)

    def drop(self, node: str) -> None:
        """The node is gone."""
        with self._lock:
            self._waiting.pop(node, None)
            self._begun_s.pop(node, None)

    def _forget(self, now_s: float) -> None:
        self._waiting = {name: one for name, one in self._waiting.items() if now_s < one.end_s}
        self._begun_s = {n: s for n, s in self._begun_s.items() if now_s - s < AGAIN_S}
