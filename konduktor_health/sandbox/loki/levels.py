"""Which ``detected_level`` does Loki give an entry? A label of its own that nobody asked for.

Close to the real one, not equal: it only has to be there, so that readers do not take the
labels of an entry for its identity.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_FIELDS = ("level", "severity", "severity_text", "severitytext", "lvl")
_LEVELS = {
    "trace": "trace", "trc": "trace", "debug": "debug", "dbg": "debug", "info": "info",
    "inf": "info", "information": "info", "warn": "warn", "wrn": "warn", "warning": "warn",
    "error": "error", "err": "error", "critical": "critical", "fatal": "fatal",
}  # fmt: skip
_IN_LOGFMT = re.compile(r'(?:^|\s)(?:level|lvl|severity)="?(\w+)', re.IGNORECASE)
_IN_TEXT = re.compile(
    r"(?<![\w>])(trace|debug|info|warn|warning|error|err|critical|fatal)(?!\w)", re.IGNORECASE
)
_BY_NUMBER = ("trace", "debug", "info", "warn", "error", "fatal")  # OTLP: four numbers each


def detect_level(line: str, metadata: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """trace, debug, info, warn, error, critical, fatal, unknown, or what the sender said."""
    for source in (labels, metadata):
        for name, value in source.items():
            if name.lower() in _FIELDS and value:
                return _LEVELS.get(value.lower(), value)
    number = metadata.get("severity_number", "")
    if number.isdecimal() and 1 <= int(number) <= 4 * len(_BY_NUMBER):
        return _BY_NUMBER[(int(number) - 1) // 4]
    said = _field(line)
    if said:
        return _LEVELS.get(said.lower(), "unknown")
    match = _IN_TEXT.search(line)
    return _LEVELS[match[1].lower()] if match else "unknown"


def _field(line: str) -> str:
    """The level field of a JSON or logfmt line, "" without one."""
    if not line.startswith("{"):
        match = _IN_LOGFMT.search(line)
        return match[1] if match else ""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    return next((str(v) for k, v in document.items() if k.lower() in _FIELDS), "")
