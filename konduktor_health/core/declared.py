"""What have people declared on a Node? The annotations ``hold`` and ``maintenance``.

Both are small JSON objects with the same fields; a bare RFC 3339 time is read as ``until``. What
cannot be read, or has no end, holds until somebody removes it: an operator's wish is not dropped
for a slip of the pen. A past ``until`` is no declaration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from konduktor_health.timestamps import parse_rfc3339, rfc3339, rfc3339_micro
from parsers.printable import printable

REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Declared:
    """From when, until when (Unix ns; None: until it is removed), and why."""

    since_ns: int = 0
    until_ns: int | None = None
    reason: str = ""

    def holds(self, now_ns: int) -> bool:
        """Whether it holds now."""
        return self.since_ns <= now_ns and (self.until_ns is None or now_ns < self.until_ns)


def render_declared(declared: Declared) -> str:
    """The annotation's text."""
    data = {"since": rfc3339_micro(declared.since_ns)}
    if declared.until_ns is not None:
        data["until"] = rfc3339_micro(declared.until_ns)
    if declared.reason:
        data["reason"] = printable(declared.reason, REASON_LIMIT)
    return json.dumps(data, separators=(",", ":"))


def parse_declared(text: str | None) -> Declared | None:
    """Read the annotation; None only where there is none."""
    if text is None:
        return None
    try:
        if not text.lstrip().startswith("{"):
            return Declared(until_ns=parse_rfc3339(text.strip()))
        data = json.loads(text)
        until = data.get("until")
        return Declared(
            since_ns=parse_rfc3339(data["since"]) if data.get("since") else 0,
            until_ns=None if until is None else parse_rfc3339(until),
            reason=printable(str(data.get("reason", "")), REASON_LIMIT),
        )
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RecursionError):
        return Declared(reason="the annotation cannot be read")


def describe_declared(declared: Declared) -> str:
    """Until when and why, in a few words."""
    if declared.until_ns is None:
        text = "until it is ended"
    else:
        try:
            text = f"until {rfc3339(declared.until_ns)}"
        except (ValueError, OverflowError, OSError):  # a year that no calendar has
            text = "until a time that cannot be told"
    return f"{text}: {declared.reason}" if declared.reason else text
