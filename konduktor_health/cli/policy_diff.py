"""``konduktor-health policy diff``: which faults do two policies treat differently?"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konduktor_health.cli import options, policy_source
from konduktor_health.runtime.log import printable

if TYPE_CHECKING:
    from konduktor_health.policy.comparing import Difference, Treated

_SHOWN_VALUE = 80


class Output(StrEnum):
    """Forms of output."""

    TEXT = "text"
    JSON = "json"


def command(
    before: Annotated[str, typer.Argument(help="Policy file, or name of a preset.")],
    after: Annotated[str, typer.Argument(help="The one to compare it with.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TEXT,
    config: options.Config = None,
    rules: options.Rules = None,
) -> None:
    """Compare two policies by what they do about every known fault, and by their limits.

    Faults are taken as they usually come: on a GPU of a node without labels, told by the kernel,
    those of pods by pods. Exit code 1 when the policies differ, 2 when a file has a problem.
    """
    from konduktor_health.policy.comparing import differences, limits_changed, same_rules
    from konduktor_health.policy.known import Known

    sources = policy_source.sources(config, rules)
    one, other = sources.named(before).policy, sources.named(after).policy
    faults = differences(one, other, Known(sources.read))
    limits = limits_changed(one, other)
    alike = same_rules(one, other)
    if output is Output.JSON:
        whole = {
            "faults": [_as_json(each) for each in faults],
            "limits": [
                {"key": key, "before": was, "after": now} for key, was, now in limits
            ],
            "same_rules": alike,
        }  # fmt: skip
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))
    else:
        for each in faults:
            what = f"{each.fault_id} ({each.severity.value})"
            typer.echo(printable(f"{what}: {_told(each.before)} -> {_told(each.after)}"))
        for key, was, now in limits:
            typer.echo(printable(f"{key}: {_value(was)} -> {_value(now)}"))
        if not faults and not alike:
            typer.echo(
                "no known fault is treated differently as it usually comes; the rules differ for"
                " some devices, labels, trust classes or severities, or in decay, verify or ladder"
            )
    raise typer.Exit(1 if faults or limits or not alike else 0)


def _told(treated: Treated) -> str:
    repeat = f" {treated.repeat}" if treated.repeat else ""
    effect = f" {treated.effect}" if treated.effect else ""
    return f"{treated.mode}{effect}{repeat}, clear {_value(treated.clear)} [{treated.rule}]"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_value(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    text = "-" if value is None else str(value)
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "fault_id": difference.fault_id,
        "severity": difference.severity.value,
        "before": _treated(difference.before),
        "after": _treated(difference.after),
    }


def _treated(treated: Treated) -> dict[str, Any]:
    return {
        "rule": treated.rule,
        "mode": treated.mode,
        "effect": treated.effect or None,
        "repeat": treated.repeat or None,
        "clear": treated.clear,
    }
