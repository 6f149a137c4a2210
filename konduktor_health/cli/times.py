"""How is a point in time written for a person, and how long ago was it?"""

from __future__ import annotations

from konduktor_health.timestamps import NS, rfc3339_micro


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
