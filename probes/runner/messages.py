"""What does a child tell while it runs? One JSON object per line, on a pipe of its own.

    {"m": "begin", "check": NAME}               its time counts from here
    {"m": "backend", "name": NAME, "fake": BOOL}
    {"m": "finding", "finding": {...}}          of the check that has begun, at once
    {"m": "left", "processes": [[PID, START]]}  what it started and cannot be ended
    {"m": "keep", "keep": {...}}                what the check wants to see next time
    {"m": "done"}                               the check has ended
    {"m": "end"}                                the run has ended

Standard output and standard error are no part of it: libraries write there as they like. A line
that is none of these ends the parent's trust in the child.
"""

from __future__ import annotations

import json
from typing import Any

#: Longest line, in bytes: a finding with 64 measurements is about 12 KiB, ``keep`` at most 64 KiB.
LINE_LIMIT = 256 * 1024
#: Most findings of one check.
MOST_FINDINGS = 256
#: Most bytes of what a check keeps, as JSON.
KEEP_LIMIT = 64 * 1024

_MEMBERS: dict[str, tuple[tuple[str, type], ...]] = {
    "begin": (("check", str),),
    "backend": (("name", str), ("fake", bool)),
    "finding": (("finding", dict),),
    "left": (("processes", list),),
    "keep": (("keep", dict),),
    "done": (),
    "end": (),
}


class GarbageError(Exception):
    """The child wrote what is no message."""


def encode(kind: str, **members: object) -> bytes:
    """A line. Raises ValueError, TypeError: not JSON (NaN, an object); OverflowError: too long."""
    line = json.dumps({"m": kind, **members}, allow_nan=False).encode() + b"\n"
    if len(line) > LINE_LIMIT:
        raise OverflowError(f"{len(line)} bytes, more than {LINE_LIMIT}")
    return line


def decode(line: bytes) -> dict[str, Any]:
    """A line without its end. Raises GarbageError."""
    try:
        value = json.loads(line)
        members = _MEMBERS[value["m"]]
        if all(isinstance(value[name], kind) for name, kind in members):
            return dict(value)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise GarbageError(f"no message: {line[:60]!r}")


class LineReader:
    """Lines out of pieces. Bounded: a line that is too long raises GarbageError."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that are whole now, without their ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_LIMIT or any(len(line) > LINE_LIMIT for line in lines):
            raise GarbageError(f"a line of more than {LINE_LIMIT} bytes")
        return lines
