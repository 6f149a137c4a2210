"""Is what a check yields a finding that may be told? In the child, before it is sent.

Invariants: a number that is no number, or a pass whose own measurement is beyond its own threshold,
is an error, never a pass. Text is bounded and printable.
"""

from __future__ import annotations

import math
import re
from typing import Any

from parsers.printable import printable
from probes.check import Bound, Finding, Measurement, Outcome, Threshold

_SHORT, _TEXT, _MOST_DETAILS, _MOST_MEASUREMENTS = 128, 512, 16, 64
_DEVICE = re.compile(r"[A-Za-z0-9:._/-]{0,64}")


def told(finding: object) -> dict[str, Any]:
    """The members of ``probes.report.Result`` that are the check's own to say."""
    if not isinstance(finding, Finding):
        return error(f"the check yielded {type(finding).__name__}, no Finding")
    if why := _why_not(finding):
        return error(f"{why} ({finding.outcome.value}: {finding.message})", finding.device)
    return {
        "outcome": finding.outcome.value,
        "message": finding.message,
        "device": finding.device,
        "measurements": [_measured(each) for each in finding.measurements],
        "severity": finding.severity,
        "remedy": finding.remedy,
        "busy": finding.busy,
        "under_load": finding.under_load,
        "detail": {
            printable(str(key), _SHORT): printable(str(value), _TEXT)
            for key, value in list(finding.detail.items())[:_MOST_DETAILS]
        },
    }


def error(message: str, device: str = "") -> dict[str, Any]:
    """An ``error`` finding."""
    return of(Outcome.ERROR, message, device)


def of(outcome: Outcome, message: str, device: str = "", **detail: str) -> dict[str, Any]:
    """A finding without measurements."""
    device = device if isinstance(device, str) and _DEVICE.fullmatch(device) else ""
    return {
        "outcome": outcome.value,
        "message": printable(message, _TEXT),
        "device": device,
        "detail": {key: printable(value, _TEXT) for key, value in detail.items()},
    }


def beyond(value: float, threshold: Threshold) -> bool:
    """Whether a value is on the bad side of its threshold."""
    if threshold.bound is Bound.AT_LEAST:
        return value < threshold.value
    if threshold.bound is Bound.AT_MOST:
        return value > threshold.value
    return value != threshold.value


def _why_not(finding: Finding) -> str:
    """Why it cannot be told; "" when it can."""
    outcome: object = finding.outcome  # a check's slip is not seen before it is told
    if not isinstance(outcome, Outcome):
        return "an outcome that is none"
    if not isinstance(finding.device, str) or not _DEVICE.fullmatch(finding.device):
        return f"no name of a device: {printable(str(finding.device), 80)!r}"
    if len(finding.measurements) > _MOST_MEASUREMENTS:
        return f"{len(finding.measurements)} measurements, more than {_MOST_MEASUREMENTS}"
    for each in finding.measurements:
        limits = () if each.threshold is None else (each.threshold.value,)
        if not all(_is_number(number) for number in (each.value, *limits)):
            return f"{printable(each.name, 60)} is no number"
        contradicted = each.threshold is not None and beyond(each.value, each.threshold)
        if contradicted and finding.outcome is Outcome.PASS:
            return f"{printable(each.name, 60)} is beyond its threshold in a pass"
    return ""


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _measured(measurement: Measurement) -> dict[str, Any]:
    limit = measurement.threshold
    return {
        "name": printable(measurement.name, _SHORT),
        "value": measurement.value,
        "unit": printable(measurement.unit, _SHORT),
        "threshold": limit
        and {
            "value": limit.value,
            "bound": limit.bound.value,
            "source": printable(limit.source, _SHORT),
        },
    }
