"""How are faults shown line by line? As a table, or as JSON lines.

What is shown is printable and never taken for markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from konduktor_health.timestamps import rfc3339_micro
from parsers.fault import Fault, Severity
from parsers.layer import uptime_stamp
from parsers.scan import ScanHit

STYLES = {
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


def render_jsonl(hit: ScanHit, file: str = "") -> str:
    """One JSON object in one line; ``time`` is RFC 3339 with microseconds, or null. ``file`` is
    told where there are several."""
    fault = hit.fault
    return json.dumps(
        {
            **({"file": file} if file else {}),
            "line_number": hit.line_number,
            "fault_id": fault.fault_id,
            "severity": fault.severity.value,
            "remedy": fault.remedy.value,
            "device": fault.device,
            "node": fault.node,
            "time": time_of(fault) or None,
            "uptime": None if fault.uptime_us is None else uptime_stamp(fault.uptime_us),
            "injected": fault.injected,
            "count": fault.count,
            "detail": fault.detail,
            "text": fault.text,
        }
    )


def render_table(hits: Iterable[tuple[str, ScanHit]], console: Console) -> None:
    """Print the hits, each with its file's name or "", as a table, line by line as they are found;
    the width cuts the text."""
    _print_row(console, {column: Text(column, style="bold") for column in _COLUMNS})
    for file, hit in hits:
        fault = hit.fault
        stamp = "" if fault.uptime_us is None else f"[{uptime_stamp(fault.uptime_us)}]"
        row = {
            "line": Text(f"{file}:{hit.line_number}" if file else str(hit.line_number)),
            "time": Text(time_of(fault)[:19] or stamp),
            "node": Text(fault.node),
            "device": Text(fault.device),
            "fault": Text(fault.fault_id + (" (injected)" if fault.injected else "")),
            "severity": Text(fault.severity.value, style=STYLES[fault.severity]),
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


def time_of(fault: Fault) -> str:
    """RFC 3339 with microseconds; "" where the line does not tell."""
    try:
        return rfc3339_micro(fault.time_ns) if fault.time_ns else ""
    except (ValueError, OverflowError, OSError):
        return ""  # a time beyond the year 9999
