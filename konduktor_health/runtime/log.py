"""How does the program log? JSON lines or text on stderr, through loguru, values never dumped.

``diagnose`` and ``backtrace`` are off: variable values (tokens among them) must not reach the
log. Text that came from outside is stripped of control characters here, once, for every line.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message

LINE_LIMIT = 4096
FRAMES = 6


def set_up(*, debug: bool, form: str, quiet: bool = False, stream: TextIO | None = None) -> None:
    """Install our sink as the only one. ``form`` is "json" or "text"; quiet: warnings and up."""
    out = stream or sys.stderr
    sink = _json_sink(out) if form == "json" else _text_sink(out)
    logger.remove()
    level = "DEBUG" if debug else "WARNING" if quiet else "INFO"
    logger.add(sink, level=level, diagnose=False, backtrace=False)
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


def printable(text: str) -> str:
    """Control and bidirectional characters become spaces; bounded to LINE_LIMIT."""
    return "".join(c if c.isprintable() else " " for c in text[:LINE_LIMIT])


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _frames(trace: TracebackType | None) -> list[str]:
    """Where it happened, innermost first: files, lines and functions, no values."""
    frames = traceback.extract_tb(trace, limit=-FRAMES)
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]


def _json_sink(out: TextIO) -> Any:
    def write(message: Message) -> None:
        record = message.record
        line: dict[str, Any] = {
            "time": record["time"].isoformat(timespec="milliseconds"),
            "level": record["level"].name.lower(),
            "message": printable(record["message"]),
        }
        for key, value in record["extra"].items():
            line[key] = _clean(value)
        if (raised := record["exception"]) and raised.value is not None:
            line["exception"] = printable(repr(raised.value))
            line["at"] = _frames(raised.traceback)
        out.write(json.dumps(line, default=str) + "\n")
        out.flush()

    return write


def _text_sink(out: TextIO) -> Any:
    def write(message: Message) -> None:
        record = message.record
        extra = " ".join(f"{key}={printable(str(value))}" for key, value in record["extra"].items())
        stamp = record["time"].strftime("%H:%M:%S.%f")[:-3]
        text = f"{stamp} {record['level'].name.lower():7} {printable(record['message'])} {extra}"
        if (raised := record["exception"]) and raised.value is not None:
            at = " < ".join(_frames(raised.traceback))
            text = f"{text.rstrip()} exception={printable(repr(raised.value))} at {at}"
        out.write(text.rstrip() + "\n")
        out.flush()

    return write


class _Bridge(logging.Handler):
    """Library warnings reach the same sink."""

    def emit(self, record: logging.LogRecord) -> None:
        level = "ERROR" if record.levelno >= logging.ERROR else "WARNING"
        try:
            logger.bind(logger=record.name).log(level, record.getMessage())
        except Exception:  # arguments that do not fit the format: never the library's problem
            logger.bind(logger=record.name).log(level, str(record.msg))
