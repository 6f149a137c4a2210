"""Is a measured value good? Implausible values are no measurement; near the limit is a warning.

- Not a number, infinite, negative or zero, or above what the hardware can reach: CheckError. A tool
  that says so has not measured.
- Below the threshold: fail. Below 1.05 times the threshold: warn (the band of AzNHC).
- Without a threshold (unknown hardware, still learning): told, as ``skip``; it is not a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from probes.backends.base import Gpu
from probes.check import Bound, Context, Measurement, Outcome, Threshold
from probes.errors import CheckError
from probes.thresholds import baseline
from probes.thresholds.facts import facts_of
from probes.thresholds.hardware import Hardware, shipped
from probes.thresholds.lookup import limit_for, peak

#: Values up to so many times the threshold are a warning.
WARN_BAND = 1.05


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of one value."""

    outcome: Outcome
    measurement: Measurement
    message: str  # "h2d 23.1 GB/s, at least 48 (H100 ...)"


def judge(
    context: Context,
    check: str,
    measurement: str,
    unit: str,
    values: Mapping[Gpu, float],
    hardware: Hardware | None = None,
) -> dict[Gpu, Judgement]:
    """Judge one measurement of all GPUs of a run, and learn from it where the hardware is unknown.

    An implausible value is an ``error`` of its GPU alone. Raises CheckError for an override that
    cannot be meant, BackendError when the hardware cannot be asked.
    """
    hardware = hardware or shipped()
    judgements: dict[Gpu, Judgement] = {}
    good = {
        gpu: value
        for gpu, value in values.items()
        if plausible(
            value, peak(facts_of(context.backend, gpu, hardware), hardware, check, measurement)
        )
    }
    unknown = False
    for gpu, value in values.items():
        if gpu not in good:
            told = Measurement(measurement, value if math.isfinite(value) else 0.0, unit)
            judgements[gpu] = Judgement(
                Outcome.ERROR, told, f"{measurement} {value:g} {unit} cannot be: not measured"
            )
            continue
        if context.node.thresholds.get(f"{check}/{measurement}") == 0:
            told = Measurement(measurement, value, unit)
            words = f"{measurement} {value:.4g} {unit}: only told, as its override of 0 says"
            judgements[gpu] = Judgement(Outcome.SKIP, told, words)
            continue
        limit = limit_for(context, gpu, check, measurement, unit, hardware)
        if limit is None or limit.source.startswith("baseline"):
            unknown = True
            limit = _stricter(limit, baseline.sibling_limit(gpu, good))
        judgements[gpu] = _judged(context, gpu, Measurement(measurement, value, unit, limit))
    if unknown:
        baseline.learn(context, measurement, good)
    return judgements


def plausible(value: float, most: float | None) -> bool:
    """Whether a rate can be true at all: finite, above zero, not above what hardware reaches."""
    return math.isfinite(value) and value > 0 and (most is None or value <= most)


def outcome_of(value: float, threshold: Threshold) -> Outcome:
    """Compare. Raises CheckError for what is not a number."""
    if not math.isfinite(value):
        raise CheckError(f"{value} is not a number")
    limit = threshold.value
    if threshold.bound is Bound.EQUAL:
        return Outcome.PASS if value == limit else Outcome.FAIL
    if threshold.bound is Bound.AT_MOST:
        return Outcome.PASS if value <= limit else Outcome.FAIL
    if value < limit:
        return Outcome.FAIL
    return Outcome.WARN if value < WARN_BAND * limit else Outcome.PASS


def _judged(context: Context, gpu: Gpu, told: Measurement) -> Judgement:
    what = f"{told.name} {told.value:.4g} {told.unit}"
    if told.threshold is None:
        left = baseline.runs_left(context, gpu, told.name)
        why = f"no limit for {gpu.name}: learning a baseline, {left} more runs with this one"
        return Judgement(Outcome.SKIP, told, f"{what}; {why}")
    outcome = outcome_of(told.value, told.threshold)
    words = {Outcome.FAIL: "below", Outcome.WARN: "near its limit of"}.get(outcome, "at least")
    return Judgement(
        outcome, told, f"{what}, {words} {told.threshold.value:.4g}: {told.threshold.source}"
    )


def _stricter(one: Threshold | None, other: Threshold | None) -> Threshold | None:
    if one is None or other is None:
        return one or other
    return one if one.value >= other.value else other
