"""Was this signed request taken before?

Invariants: a nonce is on the disk before its request is acted on, and stays until the request could
not be taken any more. When the file was lost, what may have been signed before the loss is refused,
since any of it may have been taken: all that is not issued later than the clocks' skew after it, by
a controller whose clock is ahead. That holds over further restarts, until the last of it has
expired.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any

from probes.agent.clocks import Clock
from probes.agent.files import StateDir
from probes.report import LONGEST_VALIDITY_S

_FILE = "nonces.json"
#: More than can be taken within their validity (``limits``).
MOST_NONCES = 4096
_MOST_BYTES = 1024 * 1024
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TAKEN, _NOT_BEFORE = "taken", "not_before_ns"


class ReplayedError(Exception):
    """This nonce was taken."""


class UncertainError(Exception):
    """It may have been taken: what was remembered is lost. ``again_s``: a request that is signed
    so many seconds from now is certain."""

    def __init__(self, again_s: float) -> None:
        super().__init__(
            "signed before this agent can tell: its record of used nonces was lost, or is new"
        )
        self.again_s = again_s


@dataclass(slots=True)
class _Kept:
    """What the file has."""

    taken: dict[str, int] = field(default_factory=dict)  # nonce to the end of its request, ns
    not_before_ns: int = 0


class Nonces:
    """Any thread. ``grace_ns``: how far apart clocks may be, and so how long after its end a
    request may still be taken."""

    def __init__(self, state: StateDir, clock: Clock, *, grace_ns: int) -> None:
        self._state, self._clock, self._grace_ns = state, clock, grace_ns
        self._lock = threading.Lock()
        read = state.read(_FILE, _kept, most_bytes=_MOST_BYTES)
        latest_ns = clock.now_ns() + grace_ns  # later: the wall clock was set back meanwhile
        self._not_before_ns = latest_ns if read is None else min(read.not_before_ns, latest_ns)
        self._taken = read.taken if read is not None else {}
        uncertain_s = LONGEST_VALIDITY_S + 2 * grace_ns / 1e9
        self._certain_from = clock.monotonic() + (uncertain_s if self._not_before_ns else 0.0)

    def take(self, nonce: str, *, issued_ns: int, expires_ns: int) -> None:
        """Remember it. Raises ReplayedError, UncertainError, OSError (cannot be remembered)."""
        with self._lock:
            if nonce in self._taken:
                raise ReplayedError("this nonce was used before")
            if self._clock.monotonic() >= self._certain_from:
                self._not_before_ns = 0
            now = self._clock.now_ns()
            if issued_ns <= self._not_before_ns:
                raise UncertainError(max(0.0, (self._not_before_ns - issued_ns) / 1e9))
            taken = {n: end for n, end in self._taken.items() if end + self._grace_ns >= now}
            if len(taken) >= MOST_NONCES:
                raise OSError(f"{len(taken)} nonces are remembered already")
            taken[nonce] = expires_ns
            content = {_TAKEN: taken, _NOT_BEFORE: self._not_before_ns}
            self._state.write(_FILE, json.dumps(content).encode(), durable=True)
            self._taken = taken


def _kept(content: bytes) -> _Kept:
    value: Any = json.loads(content)
    if not isinstance(value, dict):
        raise TypeError("no nonces")
    taken, not_before_ns = value, 0
    if value.keys() == {_TAKEN, _NOT_BEFORE}:  # older agents had the nonces alone
        taken, not_before_ns = value[_TAKEN], value[_NOT_BEFORE]
    if not isinstance(taken, dict) or len(taken) > 2 * MOST_NONCES:
        raise TypeError("no nonces")
    if type(not_before_ns) is not int or not_before_ns < 0:
        raise ValueError("no time")
    for nonce, end in taken.items():
        if not _NONCE.fullmatch(nonce) or type(end) is not int:
            raise ValueError("no nonce")
    return _Kept(taken, not_before_ns)
