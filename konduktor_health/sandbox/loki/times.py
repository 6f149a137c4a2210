"""How does Loki read times and durations in query parameters, and print them in errors?"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

from konduktor_health.clock import NS

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)\Z"
)
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|w|y)")
_UNIT_NS = {
    "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3600 * NS, "d": 86_400 * NS,
    "w": 7 * 86_400 * NS, "y": 365 * 86_400 * NS,
}  # fmt: skip
_MAX_NS = 2**63 - 1
_SECONDS_DIGITS = 10  # integers up to this length are seconds, longer ones nanoseconds


def parse_time(text: str) -> int:
    """A start or end parameter to Unix ns: integer ns, float seconds or RFC 3339.

    Integers of up to ten digits are seconds, as in Loki. Raises ValueError.
    """
    if "." in text and not text.endswith("Z") and "T" not in text:
        seconds = float(text)
        if not math.isfinite(seconds):
            raise ValueError(text)
        # Loki rounds the fraction of a float to milliseconds.
        whole = math.floor(seconds)
        return whole * NS + round((seconds - whole) * 1000) * 1_000_000
    if re.fullmatch(r"[+-]?\d+", text):
        number = int(text)
        if abs(number) > _MAX_NS:
            raise ValueError(text)
        return number * NS if len(text) <= _SECONDS_DIGITS else number
    match = _RFC3339.match(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(g) for g in match.groups()[:6])
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    zone = match[8]
    if zone != "Z":
        shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        moment = moment - shift if zone[0] == "+" else moment + shift
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    fraction = int((match[7] or "0").ljust(9, "0"))
    return (delta.days * 86_400 + delta.seconds) * NS + fraction


def parse_duration(text: str) -> int:
    """A since parameter ("90s", "1h30m", "7d") to ns. Raises ValueError."""
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError(text)
    return sum(int(n) * _UNIT_NS[unit] for n, unit in _DURATION.findall(text))


def print_duration(ns: int) -> str:
    """Like Go's Duration.String(), whole seconds or larger: 744h0m0s, 1m5s, 3s."""
    seconds = ns // NS
    hours, minutes, rest = seconds // 3600, seconds // 60 % 60, seconds % 60
    fraction = f".{ns % NS:09d}".rstrip("0") if ns % NS else ""
    if hours:
        return f"{hours}h{minutes}m{rest}{fraction}s"
    return f"{minutes}m{rest}{fraction}s" if minutes else f"{rest}{fraction}s"


def print_limit(seconds: float) -> str:
    """Like Prometheus' model.Duration: 30d1h, 1h, 90s becomes 1m30s."""
    rest, parts = round(seconds * 1000), []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        if rest >= size:
            parts.append(f"{rest // size}{unit}")
            rest %= size
    return "".join(parts) or "0s"
