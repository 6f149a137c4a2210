"""How are values printed in a Table? Ages and optional fields as kubectl shows them."""

from __future__ import annotations

from typing import Any

from konduktor_health.clock import NS, parse_rfc3339

UNKNOWN = "<unknown>"


def at(obj: Any, *path: str, default: Any = "") -> Any:
    """A value inside of an object, or the default where anything is missing or empty."""
    for key in path:
        obj = obj.get(key) if isinstance(obj, dict) else None
    return default if obj in (None, "") else obj


def human_duration(seconds: int) -> str:
    """An age as kubectl prints it: 5s, 3m20s, 4h, 2d3h, 5y20d."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(0, seconds)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(first: int, unit: str, second: int, sub_unit: str) -> str:
    return f"{first}{unit}{second}{sub_unit}" if second else f"{first}{unit}"


def since(stamp: Any, now: int) -> str:
    """The age of a timestamp, ``<unknown>`` where there is none."""
    try:
        return human_duration((now - parse_rfc3339(str(stamp))) // NS)
    except ValueError:
        return UNKNOWN
