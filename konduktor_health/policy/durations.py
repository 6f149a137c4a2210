"""How is a stretch of time written in a policy file? ``10m``, ``24h``, ``1h30m``, or seconds."""

from __future__ import annotations

import re

#: The longest that is taken, seconds: ten years.
LONGEST_S = 10 * 365 * 86_400.0
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|[dhms])", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


def seconds(value: object) -> float:
    """A duration in seconds. Raises ValueError for what is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value) if abs(value) <= LONGEST_S else LONGEST_S + 1
    elif isinstance(value, str) and len(value) <= 40 and _WHOLE.fullmatch(value):
        found = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    else:
        raise ValueError("no duration")
    if not 0 <= found <= LONGEST_S:  # not a number neither
        raise ValueError("a duration is not negative, and at most ten years")
    return found


def written(value_s: float) -> str | float:
    """Seconds as a policy file says them; ``seconds`` reads the same number again."""
    if value_s != int(value_s):
        return value_s
    if value_s == 0:
        return "0s"
    for unit in ("d", "h", "m"):
        if value_s % _UNITS[unit] == 0 and (unit != "d" or value_s > _UNITS["d"]):
            return f"{int(value_s // _UNITS[unit])}{unit}"
    return f"{int(value_s)}s"
