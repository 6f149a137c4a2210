"""Which faults are in this log file, and how are they shown? The engine of ``scan``.

Pure of the command line: the typer command opens nothing itself and calls these functions.
What is read is hostile: memory is bounded, a broken file is one clear ConfigError, and what is
shown is printable and never taken for markup.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, cast

from rich.console import Console
from rich.text import Text

from konduktor_health.errors import ConfigError
from konduktor_health.timestamps import rfc3339_micro
from parsers.fault import Fault, Remedy, Severity
from parsers.layer import uptime_stamp
from parsers.scan import ScanHit, scan, scan_stream
from parsers.tables import Tables

#: A Loki answer (query_range) is one JSON object, which has to be held as a whole.
ANSWER_BYTES = 256 << 20

_GZIP = b"\x1f\x8b"
_ANSWER = re.compile(rb'\s*\{\s*"status"\s*:\s*"success"')
_HINT = "give a readable log file, gzipped or not, or - for standard input"
_STYLES = {
    Severity.FATAL: "bold red",
    Severity.DEGRADED: "yellow",
    Severity.UNKNOWN: "magenta",
    Severity.APPLICATION: "cyan",
    Severity.INFO: "dim",
}
#: Columns of the table and their widths.
_COLUMNS = {
    "line": 5,
    "time": 19,
    "node": 10,
    "device": 12,
    "fault": 10,
    "severity": 11,
    "remedy": 11,
    "text": 0,
}
_ADVICE = {
    Remedy.NONE: "nothing to repair",
    Remedy.RESTART_APP: "restart the application",
    Remedy.RESET_GPU: "reset the GPU",
    Remedy.DRAIN_RESET: "drain the node and reset the GPU when it is idle",
    Remedy.DRAIN_INSPECT: "drain the node and inspect it",
    Remedy.REBOOT: "reboot the node",
    Remedy.POWER_CYCLE: "power-cycle the node",
    Remedy.INSPECT: "inspect the hardware",
}


#: Told now and then how many bytes of how many were read.
Watch = Callable[[int, int], None]


def scan_file(
    path: str, stdin: BinaryIO, watch: Watch | None = None, rules: Tables | None = None
) -> Iterator[ScanHit]:
    """The faults in a file, or in ``stdin`` for "-"; gunzipped where the content is gzip.

    A Loki ``query_range`` answer gives its entries in time order, each as a line of ``logcli
    --output jsonl``. ``watch`` is called for a regular file only. ``rules``: default is the shipped
    tables. Raises ConfigError when the
    file cannot be read or is damaged.
    """
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            yield from _hits(_peekable(stdin), name, watch, rules)
        else:
            with Path(path).open("rb") as file:
                yield from _hits(file, name, watch, rules)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError(f"cannot read {name}: {reason}", hint=_HINT) from error
    except ValueError as error:  # an embedded NUL in the path
        raise ConfigError(f"cannot read {name!r}: {error}", hint=_HINT) from error


def _peekable(stream: BinaryIO) -> io.BufferedReader:
    if isinstance(stream, io.BufferedReader):
        return stream
    return io.BufferedReader(cast(io.RawIOBase, stream))


def _hits(
    stream: io.BufferedReader, name: str, watch: Watch | None, rules: Tables | None
) -> Iterator[ScanHit]:
    file, size = stream, _size(stream)
    if stream.peek(2)[:2] == _GZIP:
        stream = io.BufferedReader(gzip.GzipFile(fileobj=stream))
    if _ANSWER.match(stream.peek(256)[:256]):
        yield from scan(_answer_lines(stream, name), rules)
        return

    def watched(buffer: memoryview) -> int:
        if size:
            if watch is not None:
                watch(file.tell(), size)
            return stream.readinto(buffer)
        # What a pipe has so far is read at once, so that a fault shows when it happens.
        # readinto1 would wait for more when it finds the beginning in its own buffer.
        content = stream.read1(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    yield from scan_stream(watched, rules, at_once=not size)


def _size(stream: io.BufferedReader) -> int:
    """Bytes of a regular file; 0 for anything else."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file at all
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _answer_lines(stream: io.BufferedReader, name: str) -> Iterator[str]:
    content = stream.read(ANSWER_BYTES + 1)
    if len(content) > ANSWER_BYTES:
        raise ConfigError(
            f"{name}: a Loki answer of more than {ANSWER_BYTES >> 20} MiB",
            hint="export with logcli --output jsonl, which is read line by line",
        )
    try:
        entries = sorted(_entries(json.loads(content)), key=lambda entry: entry[0])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{name}: not a query_range answer with log streams") from error
    for stamp, labels, line in entries:
        yield json.dumps({"timestamp": str(stamp), "labels": labels, "line": line})


def _entries(answer: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any], str]]:
    for stream in answer["data"]["result"]:
        for value in stream["values"]:
            yield int(value[0]), stream["stream"], str(value[1])


def render_jsonl(hit: ScanHit) -> str:
    """One JSON object in one line; ``time`` is RFC 3339 with microseconds, or null."""
    fault = hit.fault
    return json.dumps(
        {
            "line_number": hit.line_number,
            "fault_id": fault.fault_id,
            "severity": fault.severity.value,
            "remedy": fault.remedy.value,
            "device": fault.device,
            "node": fault.node,
            "time": _time(fault) or None,
            "uptime": None if fault.uptime_us is None else uptime_stamp(fault.uptime_us),
            "injected": fault.injected,
            "count": fault.count,
            "detail": fault.detail,
            "text": fault.text,
        }
    )


def render_table(hits: Iterable[ScanHit], console: Console) -> None:
    """Print the hits as a table, line by line as they are found; the width cuts the text."""
    _print_row(console, {column: Text(column, style="bold") for column in _COLUMNS})
    for hit in hits:
        fault = hit.fault
        stamp = "" if fault.uptime_us is None else f"[{uptime_stamp(fault.uptime_us)}]"
        row = {
            "line": Text(str(hit.line_number)),
            "time": Text(_time(fault)[:19] or stamp),
            "node": Text(fault.node),
            "device": Text(fault.device),
            "fault": Text(fault.fault_id + (" (injected)" if fault.injected else "")),
            "severity": Text(fault.severity.value, style=_STYLES[fault.severity]),
            "remedy": Text(fault.remedy.value),
            "text": Text(fault.text),
        }
        _print_row(console, row)


def _print_row(console: Console, row: dict[str, Text]) -> None:
    """One line: a cell wider than its column pushes the rest to the right, as in ps."""
    line = Text()
    for column, width in _COLUMNS.items():
        cell = row[column]
        cell.append(" " * max(0, width - cell.cell_len))
        line.append_text(cell).append(" ")
    line.rstrip()
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)


def render_summary(hits: Iterable[ScanHit]) -> str:
    """Per device: how often which fault, how bad at worst, and what to do about it."""
    devices: dict[tuple[str, str], _Device] = {}
    for hit in hits:
        key = (hit.fault.node, hit.fault.device)
        devices.setdefault(key, _Device(hit.fault)).add(hit.fault)
    if not devices:
        return "No faults found."
    return "\n".join(device.summary() for _, device in sorted(devices.items(), key=itemgetter(0)))


class _Device:
    """What the faults of one device come to."""

    def __init__(self, first: Fault) -> None:
        self._counts: Counter[str] = Counter()
        self._worst = first
        self._directive: Fault | None = None

    def add(self, fault: Fault) -> None:
        self._counts[fault.fault_id] += fault.count
        self._worst = min(self._worst, fault, key=_badness)
        if fault.fault_id == "xid/154" and "to" in fault.detail:
            self._directive = fault

    def summary(self) -> str:
        worst = self._worst
        where = " ".join(part for part in (worst.node, worst.device or "node") if part)
        said = ", ".join(f"{name} x{count}" for name, count in self._counts.most_common())
        told = f"worst is {worst.severity.value} ({worst.fault_id})"
        return f"{where}: {said}\n  {told}: {self._advice()}."

    def _advice(self) -> str:
        """The driver's own directive (the last Xid 154) outranks what the catalog says."""
        if self._directive is not None:
            said = self._directive.detail.get("action", "")
            return f"the driver says {said!r}, so {_ADVICE[self._directive.remedy]}"
        if self._worst.severity is Severity.UNKNOWN:
            return "its meaning is not known, look at the line"
        return _ADVICE[self._worst.remedy]


def _badness(fault: Fault) -> tuple[int, int]:
    """Sorts the worst first: by severity, then by the remedy that reaches further."""
    return fault.severity.rank, -list(Remedy).index(fault.remedy)


def _time(fault: Fault) -> str:
    try:
        return rfc3339_micro(fault.time_ns) if fault.time_ns else ""
    except (ValueError, OverflowError, OSError):
        return ""  # a time beyond the year 9999
