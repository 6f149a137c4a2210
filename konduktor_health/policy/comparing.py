"""Which faults do two policies treat differently, and which limits differ?

Compared is what comes out, not how it is said: every known fault, on a GPU of a node without
labels, by its own severity and remedy, with evidence of the kernel; faults of pods' lines with
evidence of pods. What depends on labels, devices or conditions only shows in the rules themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from konduktor_health.model import Policy
from konduktor_health.policy.known import Known
from konduktor_health.policy.samples import DEVICE
from konduktor_health.policy.writing import Written, as_clear, as_document
from konduktor_health.treatment import FaultFacts, Mode, Rule, choose
from parsers.fault import Severity, Trust


@dataclass(frozen=True, slots=True)
class Treated:
    """What a policy does about a fault."""

    rule: str
    mode: str
    effect: str  # "" where it only observes
    repeat: str  # "3 in 1d"; "" at once
    clear: Written

    def differs(self, other: Treated) -> bool:
        """Whether something else is done; the rule's name is no matter."""
        return (self.mode, self.effect, self.repeat, self.clear) != (
            other.mode, other.effect, other.repeat, other.clear,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """One fault that two policies treat differently."""

    fault_id: str
    severity: Severity
    before: Treated
    after: Treated


def treated(rule: Rule) -> Treated:
    """What a rule does, in words that can be compared."""
    treatment = rule.treatment
    repeat = ""
    if treatment.repeat is not None:
        owners = " of several owners" if treatment.repeat.other_owner else ""
        repeat = f"{treatment.repeat.count} within {treatment.repeat.within_s:g} s{owners}"
    return Treated(
        rule.name,
        treatment.mode.value,
        treatment.effect.value if treatment.mode is Mode.ACT else "",
        repeat,
        as_clear(treatment.clear),
    )


def facts_of(known: Known) -> Iterator[FaultFacts]:
    """Each known fault that can become a record, as it comes."""
    for fault_id, severity, remedy in known.all():
        if severity is not Severity.INFO:
            trust = Trust.POD if fault_id.startswith("workload/") else Trust.KERNEL
            yield FaultFacts(fault_id, severity, remedy, DEVICE, trust, False, {})


def differences(before: Policy, after: Policy, known: Known) -> tuple[Difference, ...]:
    """Faults that are treated differently, in the order of the tables."""
    found: list[Difference] = []
    for facts in facts_of(known):
        one, other = treated(choose(before.rules, facts)), treated(choose(after.rules, facts))
        if one.differs(other):
            found.append(Difference(facts.fault_id, facts.severity, one, other))
    return tuple(found)


def limits_changed(before: Policy, after: Policy) -> tuple[tuple[str, object, object], ...]:
    """(key, before, after) of everything but the rules."""
    one, other = dict(_flat(as_document(before))), dict(_flat(as_document(after)))
    return tuple(
        (key, one.get(key), other.get(key))
        for key in dict.fromkeys((*one, *other))
        if one.get(key) != other.get(key)
    )


def _flat(document: Written) -> Iterator[tuple[str, object]]:
    for key, value in document.items():
        if key in ("version", "preset", "rules"):
            continue
        if isinstance(value, dict):
            yield from ((f"{key}.{name}", each) for name, each in value.items())
        else:
            yield key, value


def acts_on_doubt(policy: Policy, known: Known) -> tuple[tuple[str, str, int], ...]:
    """(rule, severity, how many faults) of rules that act on what may not be the node's fault:
    application faults and unknown codes. Not wrong, but worth knowing."""
    counts: dict[tuple[str, str], int] = {}
    for facts in facts_of(known):
        if facts.severity in (Severity.APPLICATION, Severity.UNKNOWN) and (
            facts.trust is not Trust.POD
        ):
            rule = choose(policy.rules, facts)
            if rule.treatment.mode is Mode.ACT:
                key = (rule.name, facts.severity.value)
                counts[key] = counts.get(key, 0) + 1
    return tuple((rule, severity, count) for (rule, severity), count in counts.items())


def same_rules(before: Policy, after: Policy) -> bool:
    """Whether the rules are the same ones in the same order, whatever their names are."""
    one, other = ([(rule.match, rule.treatment) for rule in each.rules] for each in (before, after))
    return one == other
