"""Which point in time does an RFC 3339 text name?

Only texts with a year and a zone count: everything else would be a guess.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

_NS = 1_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# The years 1 to 9999, as the calendar has them.
_FIRST_S = (date.min.toordinal() - _EPOCH_DAY) * 86_400
_LAST_S = (date.max.toordinal() + 1 - _EPOCH_DAY) * 86_400 - 1

#: ``2025-01-21T04:41:44,287197+00:00`` and its usual variants; three groups: the second, its
#: fraction, the zone.
RFC3339 = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_WHOLE = re.compile(RFC3339)
_NUMBER = re.compile("[0-9]+")


def rfc3339_ns(text: object) -> int | None:
    """Unix nanoseconds of an RFC 3339 text; None when it is none, or has no zone."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    match = _WHOLE.fullmatch(text)
    return moment(*match.groups()) if match else None


def moment(second: str, fraction: str | None, zone: str | None) -> int | None:
    """Unix nanoseconds of the three groups of ``RFC3339``; None as above."""
    if zone is None:
        return None
    whole = _whole_ns(second, zone)
    if fraction is None or whole is None:
        return whole
    return whole + int(f"{fraction}00000000"[:9])


@lru_cache(maxsize=64)  # lines come in the order of time, many in a second
def _whole_ns(second: str, zone: str) -> int | None:
    seconds = _seconds(second)
    if seconds is None:
        return None
    if zone not in ("Z", "+00:00"):
        ahead = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        seconds += ahead if zone[0] == "-" else -ahead
        if not _FIRST_S <= seconds <= _LAST_S:
            return None
    return seconds * _NS


def _seconds(text: str) -> int | None:
    """Unix seconds of a second (its text without fraction and zone, in UTC); None if there is
    no such second."""
    start = _minute(text[:-2])
    return None if start is None else start + min(int(text[-2:]), 59)


@lru_cache(maxsize=64)
def _minute(text: str) -> int | None:
    """Unix seconds of the beginning of a minute."""
    year, month, day, hour, minute = (int(part) for part in _NUMBER.findall(text))
    if hour > 23 or minute > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * 86_400 + hour * 3600 + minute * 60
