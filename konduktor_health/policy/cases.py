"""Does a policy do what its author expects? Cases: a fault, and the rule, mode or effect wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.model import Policy
from konduktor_health.policy.document import CasePart
from konduktor_health.policy.known import Known
from konduktor_health.treatment import FaultFacts, Mode, choose
from parsers.fault import Remedy, Severity

#: The effect of a rule that only observes.
NO_EFFECT = "none"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case that was played. ``wrong``: field to (expected, got); empty: as expected."""

    number: int  # from 1
    case: CasePart
    facts: FaultFacts
    got: Mapping[str, str]
    wrong: Mapping[str, tuple[str, str]]


def play(policy: Policy, cases: Iterable[CasePart], known: Known) -> tuple[Outcome, ...]:
    """What the policy does about each case."""
    return tuple(_play(policy, number, case, known) for number, case in enumerate(cases, 1))


def _play(policy: Policy, number: int, case: CasePart, known: Known) -> Outcome:
    fault_id = known.canonical(case.fault) or case.fault
    judged = known.judged(fault_id)
    severity, remedy = judged or (Severity.UNKNOWN, Remedy.NONE)
    facts = FaultFacts(
        fault_id,
        case.severity or severity,
        case.remedy or remedy,
        case.device,
        case.trust,
        case.injected,
        case.labels,
    )
    rule = choose(policy.rules, facts)
    acts = rule.treatment.mode is Mode.ACT
    got = {
        "rule": rule.name,
        "mode": rule.treatment.mode.value,
        "effect": rule.treatment.effect.value if acts else NO_EFFECT,
    }
    wanted = {
        "rule": case.rule,
        "mode": None if case.mode is None else case.mode.value,
        "effect": None if case.effect is None else case.effect.value,
    }
    wrong = {
        name: (value, got[name])
        for name, value in wanted.items()
        if value is not None and value != got[name]
    }
    if judged is None and case.severity is None:
        wrong["fault"] = ("one of the fault tables, or a severity", case.fault)
    return Outcome(number, case, facts, got, wrong)
