"""How is a point in time written for a person, how long ago was it, and how does one say it?"""

from __future__ import annotations

import re

from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.timestamps import NS, parse_rfc3339, rfc3339_micro

MOST_S = 3650 * 86_400
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def when(ns: int) -> str | None:
    """Unix nanoseconds as RFC 3339 with microseconds; None for no time (0), and for one that no
    calendar has."""
    try:
        return rfc3339_micro(ns) if ns else None
    except (ValueError, OverflowError, OSError):
        return None


def age(ns: int, now_ns: int) -> str:
    """How long ago, as kubectl writes it: 45s, 12m, 3h, 2d; "" for no time. What is still to come
    (another machine's clock) is 0s."""
    if not ns:
        return ""
    seconds = max(0, now_ns - ns) // NS
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def ago(ns: int, now_ns: int) -> str:
    """A time and how long ago it is."""
    stamp = when(ns)
    return f"{stamp[:19]}Z ({age(ns, now_ns)} ago)" if stamp else "an unknown time"


def span(length_s: float) -> str:
    """A length of time, in the largest unit that says it exactly: 90s, 10m, 1h, 7d."""
    whole = round(length_s)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def seconds(text: str, option: str) -> int:
    """A duration such as 90s, 15m, 6h, 2d. Raises ConfigError that names the option."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ConfigError(
            f"{option}: not a duration: {excerpt(text[:40])!r}", hint="e.g. 90s, 15m, 6h, 2d"
        )
    length = int(found[1]) * _UNITS[found[2]]
    if length > MOST_S:
        raise ConfigError(f"{option}: too long: {text.strip()}", hint="at most 3650d")
    return length


def after(text: str, option: str, now_ns: int) -> int:
    """A duration from now on, and none that is over at once. Unix ns; raises ConfigError."""
    length = seconds(text, option)
    if not length:
        raise ConfigError(f"{option}: that is over at once: {text.strip()}", hint="e.g. 90s, 15m")
    return now_ns + length * NS


def moment(text: str, option: str, now_ns: int) -> int:
    """A time to come: RFC 3339, or a duration from now. Unix nanoseconds; raises ConfigError."""
    word = text.strip()
    if _DURATION.fullmatch(word):
        return after(word, option, now_ns)
    try:
        told = parse_rfc3339(word)
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{option}: neither a time nor a duration: {excerpt(text[:40])!r}",
            hint="e.g. 90s, 15m, 6h, 2d, 2030-01-31T18:00:00Z, 2030-01-31T18:00:00+01:00",
        ) from None
    if told <= now_ns:
        raise ConfigError(f"{option}: that is over: {word[:40]}", hint="name a time to come")
    if told > now_ns + MOST_S * NS:
        raise ConfigError(f"{option}: too far away: {word[:40]}", hint="at most 3650d from now")
    return told
