"""Was this signed request taken before?

Invariants: a nonce is on the disk before its request is acted on, and stays until the request could
not be taken any more; when the file was lost, requests from before the loss are refused, since any
of them may have been taken.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any

from probes.agent.clocks import Clock
from probes.agent.files import StateDir

_FILE = "nonces.json"
#: More than can be taken within their validity (``limits``).
MOST_NONCES = 4096
_MOST_BYTES = 1024 * 1024
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


class ReplayedError(Exception):
    """This nonce was taken, or may have been: the text says which."""


class Nonces:
    """Any thread. ``grace_ns``: how long after its end a request may still be taken."""

    def __init__(self, state: StateDir, clock: Clock, *, grace_ns: int) -> None:
        self._state, self._clock, self._grace_ns = state, clock, grace_ns
        self._lock = threading.Lock()
        read = state.read(_FILE, _nonces, most_bytes=_MOST_BYTES)
        self._taken = read if read is not None else {}
        self._lost_before_ns = clock.now_ns() if read is None else 0

    def take(self, nonce: str, *, issued_ns: int, expires_ns: int) -> None:
        """Remember it. Raises ReplayedError, OSError (cannot be remembered)."""
        with self._lock:
            if nonce in self._taken:
                raise ReplayedError("this nonce was used before")
            if issued_ns < self._lost_before_ns:
                raise ReplayedError(
                    "signed before this agent began to keep nonces: it may have been used"
                )
            now = self._clock.now_ns()
            taken = {n: end for n, end in self._taken.items() if end + self._grace_ns >= now}
            if len(taken) >= MOST_NONCES:
                raise OSError(f"{len(taken)} nonces are remembered already")
            taken[nonce] = expires_ns
            self._state.write(_FILE, json.dumps(taken).encode(), durable=True)
            self._taken = taken


def _nonces(content: bytes) -> dict[str, int]:
    value: Any = json.loads(content)
    if not isinstance(value, dict) or len(value) > 2 * MOST_NONCES:
        raise TypeError("no nonces")
    for nonce, end in value.items():
        if not _NONCE.fullmatch(nonce) or type(end) is not int:
            raise ValueError("no nonce")
    return value
