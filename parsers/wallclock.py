"""Which point in time does an RFC 3339 text name?

Only texts with a year and a zone count: everything else would be a guess.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: ``2025-01-21T04:41:44,287197+00:00`` and its usual variants; six groups, fraction, zone.
RFC3339 = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_WHOLE = re.compile(RFC3339)


def rfc3339_ns(text: object) -> int | None:
    """Unix nanoseconds of an RFC 3339 text; None when it is none, or has no zone."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    match = _WHOLE.fullmatch(text)
    return moment(match) if match else None


def moment(match: re.Match[str]) -> int | None:
    """Unix nanoseconds of a match of ``RFC3339`` whose groups start at 1; None as above."""
    year, month, day, hour, minute, second, fraction, zone = match.groups()[:8]
    if zone is None:
        return None
    try:
        whole = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),
            tzinfo=UTC,
        )
        if zone != "Z":
            ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            whole = whole - ahead if zone[0] == "+" else whole + ahead
    except (ValueError, OverflowError):
        return None
    since = whole - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NS + int((fraction or "0").ljust(9, "0"))
