"""What may be repeated of an agent's text, and which status does it come to?

An agent's text is not trusted: a compromised node must not speak for another one. Invariants: what
is repeated is printable and bounded; a line that would read as one of the fan-out's own is marked.
"""

from __future__ import annotations

import re

from konduktor_health.adapters.kube.nodes import printable

_MOST_LINES = 1000
_LINE = 500
_OURS = re.compile(r"\s*(?:Autopilot Endpoint:|Node:|url\(s\):|Response:|Node S|-{5})")
_VERDICT = re.compile(r"FAIL|ABORT|ERR|SUCCESS|Disconnected")
#: Part of a line with FAIL or ABORT, and the status that it stands for. The first that fits.
_STATUS = (
    ("PCIE", "PCIE Failed"),
    ("REMAPPED ROWS", "REMAPPED ROWS Failed"),
    ("DCGM", "DCGM Failed"),
    ("GPU POWER", "GPU POWER Failed"),
    ("PING", "PING Failed"),
    ("GPU-MEM", "GPU MEM Test Failed"),
    ("PVC", "PVC Create-Delete Test Failed"),
    ("Disconnected", "Connection to Server Failed"),
)
OK = "OK"
#: Not of Autopilot's: a line with FAIL or ABORT that names none of them.
UNKNOWN = "Failed"
DISCONNECTED = "Server Disconnected. ABORT"


def repeated(text: str) -> str:
    """An agent's text as it may stand in an answer."""
    lines = text[: _MOST_LINES * _LINE].split("\n")[:_MOST_LINES]
    return "\n".join(_line(each) for each in lines)


def _line(line: str) -> str:
    kept = "".join(c if c.isprintable() else " " for c in line[:_LINE])
    return f"| {kept}" if _OURS.match(kept) else kept


def statuses(text: str) -> list[str]:
    """What the lines of a node's answer come to, each status once; OK when nothing failed and
    nothing could not be run."""
    found: dict[str, None] = {}
    for line in text.split("\n"):
        if "FAIL" in line or "ABORT" in line:
            found[next((status for part, status in _STATUS if part in line), UNKNOWN)] = None
    return list(found) or [OK]


def plain(text: str, limit: int = 300) -> str:
    """Somebody's text in a line of ours: no verdict is read in it."""
    return _VERDICT.sub(lambda match: match[0].lower(), printable(text, limit))
