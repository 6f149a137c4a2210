"""What did this very GPU reach before? For hardware without published limits.

The first runs of a GPU are learned (5 values for each measurement, kept by the check, keyed by the
GPU's UUID so that an exchanged one learns anew). Then 80 % of their median is the threshold, and it
does not move any more: a GPU that gets slower bit by bit is seen.

A GPU that is slow from the beginning would teach itself to be good. So a value also has to reach
80 % of the median of the other GPUs of its name on the node, where there are at least two; a value
that does not is not learned.

Invariant: what is kept is from the disk and may be anything; what is not a sane number is not used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from probes.backends.base import Gpu
from probes.check import Bound, Context, Threshold

#: So many values make a baseline.
RUNS = 5
#: Of the median; less fails.
SHARE = 0.8
#: So many other GPUs of the same name can judge one.
LEAST_SIBLINGS = 2
_KEY = "baseline"


def limit_of(context: Context, gpu: Gpu, measurement: str) -> Threshold | None:
    """The learned threshold, or None while it is being learned."""
    values = _learned(context.before).get(_name(gpu, measurement), ())
    if len(values) < RUNS:
        return None
    middle = median(values)
    source = (
        f"baseline of this GPU ({SHARE:.0%} of the median {middle:.4g} of its first {RUNS} runs)"
    )
    return Threshold(SHARE * middle, Bound.AT_LEAST, source)


def sibling_limit(gpu: Gpu, values: Mapping[Gpu, float]) -> Threshold | None:
    """What the other GPUs of its name reached in the same run ask of this one."""
    others = [value for other, value in values.items() if other.name == gpu.name and other != gpu]
    if len(others) < LEAST_SIBLINGS:
        return None
    middle = median(others)
    source = f"baseline of this node ({SHARE:.0%} of the median {middle:.4g} of {len(others)} GPUs)"
    return Threshold(SHARE * middle, Bound.AT_LEAST, source)


def learn(context: Context, measurement: str, values: Mapping[Gpu, float]) -> None:
    """Remember the values of a run for the next one (``context.keep``). All that was learned is
    carried on; slow ones among their siblings are left out."""
    kept = context.keep.get(_KEY)
    learned: dict[str, list[float]] = (
        kept
        if isinstance(kept, dict)
        else {name: list(numbers) for name, numbers in _learned(context.before).items()}
    )
    for gpu, value in values.items():
        siblings = sibling_limit(gpu, values)
        numbers = learned.setdefault(_name(gpu, measurement), [])
        if len(numbers) < RUNS and _sane(value) and (not siblings or value >= siblings.value):
            numbers.append(value)
    context.keep[_KEY] = learned


def runs_left(context: Context, gpu: Gpu, measurement: str) -> int:
    """How many more runs its baseline needs, before this one."""
    return RUNS - len(_learned(context.before).get(_name(gpu, measurement), ()))


def _name(gpu: Gpu, measurement: str) -> str:
    return f"{gpu.uuid} {measurement}"


def _learned(before: Mapping[str, object]) -> dict[str, tuple[float, ...]]:
    kept = before.get(_KEY)
    if not isinstance(kept, dict):
        return {}
    return {
        str(name): tuple(float(each) for each in numbers if _sane(each))[:RUNS]
        for name, numbers in kept.items()
        if isinstance(numbers, list)
    }


def _sane(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0
