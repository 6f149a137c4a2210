"""What was a check told? Options of a run, and limits that the controller sets for a node.

Invariant: what cannot be meant is refused with its name, its value and what would be right; it
never becomes a default.
"""

from __future__ import annotations

import math

from parsers.printable import printable
from probes.check import Bound, Context, Threshold
from probes.errors import CheckError


def text(context: Context, name: str, default: str = "") -> str:
    """An option as it was given, without blanks around it."""
    return context.options.get(name, "").strip() or default


def words(context: Context, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """An option that is a list: separated by commas or blanks."""
    given = tuple(context.options.get(name, "").replace(",", " ").split())
    return given or default


def number(context: Context, name: str, default: float, least: float, most: float) -> float:
    """An option that is a number. Raises CheckError when it is none, or out of its bounds."""
    given = text(context, name)
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise CheckError(
            f"option {name}: {printable(given, 64)!r} is not a number from {least:g} to {most:g}"
        )
    return value


def whole(context: Context, name: str, default: int, least: int, most: int) -> int:
    """An option that is a whole number. Raises CheckError."""
    value = number(context, name, default, least, most)
    if value != int(value):
        raise CheckError(f"option {name}: {value:g} is not a whole number")
    return int(value)


def limit(
    context: Context, check: str, measurement: str, default: float, bound: Bound, source: str
) -> Threshold:
    """What a value is judged by: the controller's word for this node ("check/measurement"), else
    the option of the measurement's name, else the default with its source. Raises CheckError."""
    name = f"{check}/{measurement}"
    told = context.node.thresholds.get(name)
    if told is not None:
        if not math.isfinite(told) or told < 0:
            raise CheckError(f"threshold {name}: {told} is not a number of at least 0")
        return Threshold(told, bound, "override of the controller")
    if text(context, measurement):
        value = number(context, measurement, default, 0, 1e15)
        return Threshold(value, bound, f"option {check}.{measurement}")
    return Threshold(default, bound, source)
