"""What does the agent write for people? One JSON line for each thing that happened, on stdout.

``{"time": RFC 3339, "level": "info", "message": ..., more}``. Invariants: a line is bounded and
printable whatever the node or a client wrote; a warning that comes again within a minute is counted
and told with the next one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from typing import Protocol, TextIO

from parsers.printable import printable
from probes.agent.clocks import Clock
from probes.kmsg.hostclock import rfc3339_micro

_TEXT_LIMIT = 512
_QUIET_S = 60.0
_MOST_TOPICS = 200
_LEVELS = ("debug", "info", "warning", "error")


class Log(Protocol):
    """Where parts of the agent tell what happened. ``message`` is constant, ``more`` varies."""

    def debug(self, message: str, **more: object) -> None:
        """What happens all the time, and what helps to find a fault of the agent itself."""
        ...

    def info(self, message: str, **more: object) -> None:
        """What is worth a line each time."""
        ...

    def warning(self, message: str, **more: object) -> None:
        """Trouble that may come again and again: at most once a minute."""
        ...

    def failed(self, message: str, **more: object) -> None:
        """What ends the agent, or a bug."""
        ...


class JsonLog:
    """Lines to a stream; one that cannot be written is lost."""

    def __init__(self, stream: TextIO, clock: Clock, *, level: str = "info") -> None:
        self._stream, self._clock = stream, clock
        self._lowest = _LEVELS.index(level)
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, int]] = {}  # message -> when, how often since

    def debug(self, message: str, **more: object) -> None:
        """What happens all the time, and what helps to find a fault of the agent itself."""
        self._write("debug", message, more)

    def info(self, message: str, **more: object) -> None:
        """What is worth a line each time."""
        self._write("info", message, more)

    def warning(self, message: str, **more: object) -> None:
        """Trouble that may come again and again: at most once a minute."""
        now = self._clock.monotonic()
        with self._lock:
            when, held = self._told.get(message, (now - _QUIET_S, 0))
            if now - when < _QUIET_S:
                self._told[message] = (when, held + 1)
                return
            if len(self._told) >= _MOST_TOPICS:
                self._told.clear()
            self._told[message] = (now, 0)
        self._write("warning", message, {**more, "repeated": held} if held else more)

    def failed(self, message: str, **more: object) -> None:
        """What ends the agent, or a bug."""
        self._write("error", message, more)

    def _write(self, level: str, message: str, more: dict[str, object]) -> None:
        if _LEVELS.index(level) < self._lowest:
            return
        fields: dict[str, object] = {
            "time": rfc3339_micro(self._clock.now_ns()),
            "level": level,
            "message": printable(message, _TEXT_LIMIT),
        }
        fields |= {name: _plain(value) for name, value in more.items()}
        line = json.dumps(fields, ensure_ascii=False) + "\n"
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line)
            self._stream.flush()


class LibraryLog(logging.Handler):
    """What the HTTP server says, through a Log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Warnings as they are; an exception with its type and text, no traceback."""
        error = record.exc_info[1] if record.exc_info else None
        why = f"{type(error).__name__}: {error}" if error is not None else ""
        tell = self._log.failed if error is not None else self._log.warning
        tell("HTTP server", said=record.getMessage(), **({"why": why} if why else {}))


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return printable(str(value), _TEXT_LIMIT)
