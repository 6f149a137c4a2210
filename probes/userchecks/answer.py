"""What does the output of a site's program say? Findings, or why it says none.

Invariant: what does not fit the format whole is refused whole, so that a slip of the pen is no
pass; a program that ended with a failure has not passed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from parsers.fault import Remedy
from parsers.printable import printable
from probes.check import Bound, Finding, Measurement, Outcome, Threshold, ToolOutput
from probes.errors import CheckError
from probes.runner.findings import beyond

_DEVICE = re.compile(r"[A-Za-z0-9:._/-]{0,64}")
_RESULT = frozenset(
    ("outcome", "message", "device", "measurements", "severity", "remedy", "busy", "detail")
)
_MEASUREMENT = frozenset(("name", "value", "unit", "threshold"))
_THRESHOLD = frozenset(("value", "bound", "source"))
#: ``timeout`` is not the program's to say.
_OUTCOMES = ("pass", "fail", "warn", "skip", "error")
_SEVERITIES = ("fatal", "degraded")
_REMEDIES = tuple(remedy.value for remedy in Remedy)
_MOST_RESULTS, _MOST_MEASUREMENTS, _MOST_DETAILS = 128, 64, 16


def findings(output: ToolOutput) -> tuple[Finding, ...]:
    """One for each result. Raises CheckError: no JSON, or not of this form."""
    try:
        value = json.loads(output.stdout, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CheckError(_no_json(output, str(error))) from error
    results = value if isinstance(value, list) else [value]
    if not 0 < len(results) <= _MOST_RESULTS:
        raise CheckError(f"{len(results)} results; 1 to {_MOST_RESULTS} are expected")
    prefix = "[{}]" if isinstance(value, list) else ""
    found = [_finding(each, prefix.format(number)) for number, each in enumerate(results)]
    return tuple(_with_exit_code(each, output.returncode) for each in found)


def _no_json(output: ToolOutput, why: str) -> str:
    ended = _ended(output.returncode)
    said = printable(output.stderr.strip()[-300:] or output.stdout.strip()[:300], 200)
    text = f"its output is no JSON ({printable(why, 80)})" if output.stdout.strip() else "no output"
    return f"it {ended}; {text}" + (f"; it said: {said}" if said else "")


def _ended(returncode: int) -> str:
    return f"was ended by signal {-returncode}" if returncode < 0 else f"exited with {returncode}"


def _with_exit_code(finding: Finding, returncode: int) -> Finding:
    if returncode == 0 or finding.outcome is not Outcome.PASS:
        return finding
    message = f"says pass, but the program {_ended(returncode)}: {finding.message}"
    return Finding(Outcome.ERROR, message, finding.device, finding.measurements)


def _finding(value: object, where: str) -> Finding:
    entry = _object(value, where or "the output", _RESULT)
    outcome = Outcome(_one_of(entry, where, "outcome", _OUTCOMES))
    message = _text(entry, where, "message", 4096)
    if not message.strip():
        _refuse(f"{where}.message", message, "say what was found")
    device = _text(entry, where, "device", 64, "")
    if not _DEVICE.fullmatch(device):
        _refuse(f"{where}.device", device, "letters, digits and :._/- as in 0000:3b:00")
    busy = entry.get("busy")
    if busy is not None and not isinstance(busy, bool):
        _refuse(f"{where}.busy", busy, "true, false or null")
    measurements = entry.get("measurements", [])
    if not isinstance(measurements, list) or len(measurements) > _MOST_MEASUREMENTS:
        _refuse(f"{where}.measurements", measurements, f"a list of at most {_MOST_MEASUREMENTS}")
    measured = tuple(
        _measurement(each, f"{where}.measurements[{number}]")
        for number, each in enumerate(measurements)
    )
    if outcome is Outcome.PASS:
        for each in measured:
            if each.threshold is not None and beyond(each.value, each.threshold):
                _refuse(f"{where}.outcome", "pass", f"{each.name} is beyond its threshold")
    return Finding(
        outcome,
        message,
        device,
        measured,
        severity=_one_of(entry, where, "severity", _SEVERITIES, "degraded"),
        remedy=_one_of(entry, where, "remedy", _REMEDIES, "inspect"),
        busy=busy,
        detail=_detail(entry.get("detail", {}), f"{where}.detail"),
    )


def _measurement(value: object, where: str) -> Measurement:
    entry = _object(value, where, _MEASUREMENT)
    limit = entry.get("threshold")
    return Measurement(
        _named(entry, where, "name"),
        _number(entry, where),
        _named(entry, where, "unit"),
        None if limit is None else _threshold(limit, f"{where}.threshold"),
    )


def _threshold(value: object, where: str) -> Threshold:
    entry = _object(value, where, _THRESHOLD)
    bound = Bound(_one_of(entry, where, "bound", tuple(each.value for each in Bound)))
    return Threshold(_number(entry, where), bound, _named(entry, where, "source"))


def _detail(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MOST_DETAILS:
        _refuse(where, value, f"an object of at most {_MOST_DETAILS} texts")
    for name, each in value.items():
        if not isinstance(each, str):
            _refuse(f"{where}.{printable(name, 40)}", each, "a text")
    return value


def _object(value: object, where: str, members: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _refuse(where, value, "an object")
    for name in value:
        if name not in members:
            at = f"{where}.{printable(name, 40)}"
            _refuse(at, value[name], f"known are {', '.join(sorted(members))}")
    return value


def _one_of(
    entry: Mapping[str, Any], where: str, name: str, choices: tuple[str, ...], default: str = ""
) -> str:
    value = entry.get(name, default)
    if value not in choices:
        _refuse(f"{where}.{name}", value, f"one of {', '.join(choices)}")
    return str(value)


def _text(
    entry: Mapping[str, Any], where: str, name: str, longest: int, default: str | None = None
) -> str:
    value = entry.get(name, default)
    if not isinstance(value, str) or len(value) > longest:
        _refuse(f"{where}.{name}", value, f"a text of at most {longest} characters")
    return value


def _named(entry: Mapping[str, Any], where: str, name: str) -> str:
    value = _text(entry, where, name, 128)
    if not value.strip():
        _refuse(f"{where}.{name}", value, 'it must say something; a number of things is "count"')
    return value


def _number(entry: Mapping[str, Any], where: str) -> float:
    value: Any = entry.get("value")
    if type(value) not in (int, float) or not -1e300 < value < 1e300:  # also false for NaN
        _refuse(f"{where}.value", value, "a finite number")
    return float(value)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _refuse(where: str, value: object, hint: str) -> NoReturn:
    shown = printable(repr(value), 80)
    raise CheckError(f"{where.lstrip('.')} of its output: {shown}; expected: {hint}")
