"""From when to when is a past asked for?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.timestamps import NS, parse_rfc3339

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_S = 3650 * 86_400
LOKI_SINCE_S = 86_400  # where nothing is said


@dataclass(frozen=True, slots=True)
class Window:
    """Lines of [start, end); None: all. ``to_ns``: how far is played after the last line."""

    start_ns: int | None
    end_ns: int | None
    to_ns: int | None


def window(
    since: str | None, start: str | None, end: str | None, *, loki: bool, now_ns: int
) -> Window:
    """What --since, --from and --to say. Raises ConfigError."""
    if since is not None and start is not None:
        raise ConfigError("--since and --from", hint="one or the other")
    start_ns = None if start is None else _time("--from", start)
    end_ns = None if end is None else _time("--to", end)
    if since is not None:
        start_ns = now_ns - seconds_of("--since", since) * NS
    if loki:
        end_ns = now_ns if end_ns is None else end_ns
        start_ns = end_ns - LOKI_SINCE_S * NS if start_ns is None else start_ns
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError("--from is not before --to", hint="the oldest time first")
    return Window(start_ns, end_ns, end_ns)


def seconds_of(option: str, text: str) -> int:
    """A duration such as 90s, 15m, 6h or 2d. Raises ConfigError that names the option."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if not found:
        hint = "e.g. 90s, 15m, 6h, 2d"
        raise ConfigError(f"{option}: not a duration: {excerpt(text)!r}", hint=hint)
    seconds = int(found[1]) * _UNITS[found[2]]
    if seconds > MOST_S:
        raise ConfigError(f"{option}: too long: {excerpt(text)}", hint="at most 3650d")
    return seconds


def _time(option: str, text: str) -> int:
    try:
        return parse_rfc3339(text.strip())
    except (ValueError, OverflowError) as error:
        hint = "RFC 3339, e.g. 2026-03-01T00:00:00Z"
        raise ConfigError(f"{option}: not a time: {excerpt(text)!r}", hint=hint) from error
