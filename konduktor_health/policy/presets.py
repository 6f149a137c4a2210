"""Which policies are there to begin with? Rules in order, and limits that differ from the defaults.

Every list begins with the rule ``operator``: what a person has recorded on a Node is cleared by a
person, whatever else a policy says. Pod lines act in no preset, whoever it is compatible with
(docs/concepts/safety.md 3), nor do faults of a program: they are verified. No preset uses
NoExecute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from konduktor_health.policy.document import PresetName
from konduktor_health.treatment import (
    DAY_S,
    DEFAULT_RULES,
    HOUR_S,
    Asked,
    ClearRule,
    Effect,
    Match,
    Mode,
    Repeat,
    Rule,
    Treatment,
)
from parsers.fault import Severity, Trust


@dataclass(frozen=True, slots=True)
class Preset:
    """Rules, and fields of ``model.Policy`` that are not at their defaults."""

    meaning: str
    rules: tuple[Rule, ...]
    limits: Mapping[str, object] = field(default_factory=dict)


_DEFAULT = {rule.name: rule for rule in DEFAULT_RULES}
#: Before every other rule of every policy.
OPERATOR = DEFAULT_RULES[0]
#: After every other rule of every policy, unless the last one matches everything anyway.
REST = DEFAULT_RULES[-1]
_PODS = _DEFAULT["pods-never-act"]
_APPLICATION = _DEFAULT["application-is-verified"]
_UNKNOWN = _DEFAULT["unknown-is-shown"]
_BY_KERNEL = frozenset({Trust.ATTESTED, Trust.KERNEL})
_BY_PERSON = ClearRule(Asked.NOTHING, operator=True)


def _treated(name: str, **changes: Any) -> Rule:
    """A rule of the default with another treatment."""
    rule = _DEFAULT[name]
    return replace(rule, treatment=replace(rule.treatment, **changes))


def _quiet(name: str, quiet_s: float) -> ClearRule:
    return replace(_DEFAULT[name].treatment.clear, quiet_s=quiet_s)


_CONSERVATIVE = (
    OPERATOR,
    _PODS,
    Rule(
        "fatal-hardware",
        Match(
            faults=("xid/*", "kernel/*"),
            severities=frozenset({Severity.FATAL}),
            trusts=_BY_KERNEL,
        ),
        Treatment(clear=_BY_PERSON),
    ),
    _APPLICATION,
    _UNKNOWN,
    REST,
)

_STRICT = (
    OPERATOR,
    _treated("unexpected-reboots", repeat=Repeat(2, DAY_S)),
    _PODS,
    _DEFAULT["probes-unresponsive"],
    _treated("allocatable-gpus", effect=Effect.NO_SCHEDULE),
    _treated("probes-fatal", clear=_quiet("probes-fatal", HOUR_S)),
    _treated(
        "probes-degraded",
        effect=Effect.NO_SCHEDULE,
        clear=_quiet("probes-degraded", 6 * HOUR_S),
    ),
    _treated("fatal", clear=_quiet("fatal", HOUR_S)),
    _treated("degraded", effect=Effect.NO_SCHEDULE, clear=_quiet("degraded", 6 * HOUR_S)),
    _APPLICATION,
    _UNKNOWN,
    REST,
)

#: SXids that Konduktor holds to be harmless (its allow-list).
KONDUKTOR_HARMLESS = (
    11012, 11021, 11022, 11023, 12021, 12023, 15008, 15011, 19049, 19055, 19057, 19059, 19062,
    19065, 19068, 19071, 22013, 24001, 24002, 24003,
)  # fmt: skip
_KONDUKTOR = (
    OPERATOR,
    _PODS,
    Rule(
        "konduktor-harmless-sxids",
        Match(faults=tuple(f"sxid/{code}" for code in KONDUKTOR_HARMLESS)),
        Treatment(Mode.OBSERVE, decay_s=DAY_S),
    ),
    Rule(
        "konduktor-xids",
        Match(
            faults=("xid/*", "sxid/*"),
            severities=frozenset({Severity.FATAL, Severity.DEGRADED}),
            trusts=_BY_KERNEL,
        ),
        Treatment(clear=_BY_PERSON),
    ),
    _treated("fatal", clear=_BY_PERSON),
    _APPLICATION,
    _UNKNOWN,
    REST,
)

#: Xids of Navarch's rule ``fatal-xid``.
NAVARCH_FATAL = (
    13, 31, 32, 43, 45, 48, 61, 62, 63, 64, 68, 69, 74, 79, 92, 94, 95, 100, 119, 120,
)  # fmt: skip
_NAVARCH = (
    OPERATOR,
    _PODS,
    Rule(
        "navarch-fatal-xids",
        Match(
            faults=tuple(f"xid/{code}" for code in NAVARCH_FATAL),
            severities=frozenset({Severity.FATAL, Severity.DEGRADED}),
            trusts=_BY_KERNEL,
        ),
        Treatment(clear=_BY_PERSON),
    ),
    _treated("fatal", clear=_BY_PERSON),
    Rule(
        "navarch-recoverable-xids",
        Match(
            faults=("xid/*",),
            severities=frozenset({Severity.DEGRADED}),
            trusts=_BY_KERNEL,
        ),
        Treatment(effect=Effect.PREFER_NO_SCHEDULE, clear=_BY_PERSON),
    ),
    _treated("degraded", clear=_BY_PERSON),
    _APPLICATION,
    _UNKNOWN,
    REST,
)

PRESETS: Mapping[PresetName, Preset] = {
    PresetName.DEFAULT: Preset(
        "Fatal faults taint with NoSchedule and are cleared by proof, degraded ones with"
        " PreferNoSchedule. This is also what holds without a policy file.",
        DEFAULT_RULES,
    ),
    PresetName.CONSERVATIVE: Preset(
        "Only fatal faults of GPUs and nodes that the kernel reports act, with NoSchedule; all"
        " others are observed. Only a person clears. Budget: 5 %, at most 5 nodes.",
        _CONSERVATIVE,
        {"budget_percent": 5.0, "budget_max_nodes": 5},
    ),
    PresetName.STRICT: Preset(
        "Degraded faults taint with NoSchedule, two unexpected reboots within a day are enough,"
        " and all have to be quiet for longer.",
        _STRICT,
    ),
    PresetName.KONDUKTOR: Preset(
        "As Konduktor's controller: every fatal or degraded Xid or SXid that the kernel reports"
        " taints with NoSchedule, its harmless SXids excepted. Nothing is cleared but by a person."
        " Unlike there, faults of a program and pods' lines never taint.",
        _KONDUKTOR,
    ),
    PresetName.NAVARCH: Preset(
        "As Navarch's health policy: its fatal Xids taint with NoSchedule, other degraded ones"
        " with PreferNoSchedule. Nothing is cleared but by a person. Unlike there, faults of a"
        " program never taint.",
        _NAVARCH,
    ),
    PresetName.NONE: Preset("No rules: the file says all of them.", (OPERATOR, REST)),
}
