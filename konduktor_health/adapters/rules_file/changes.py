"""What does a rules file change? For ``policy check``, and for the log of a controller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parsers import catalog
from parsers.override import Override
from parsers.rules import Rule, RuleSet
from parsers.tables import Tables
from parsers.user_rules import UserRules


@dataclass(frozen=True, slots=True)
class Change:
    """One line of what is told: adds, replaces, overrides or loses."""

    kind: str
    fault_id: str
    text: str


def changes(own: UserRules, shipped: Tables, merged: Tables) -> tuple[Change, ...]:
    """What the file adds, replaces and overrides, and which shipped examples change hands."""
    return (
        *_rules(own.kernel, shipped.kernel),
        *_rules(own.pod, shipped.pod),
        *(_entry(fault_id, override, shipped) for fault_id, override in own.entries.items()),
        *_taken(shipped.kernel, merged.kernel),
        *_taken(shipped.pod, merged.pod),
    )


def _rules(own: tuple[Rule, ...], shipped: RuleSet) -> Iterator[Change]:
    for rule in own:
        before = shipped.rule(rule.fault_id)
        literals = " or ".join(" and ".join(map(repr, group)) for group in rule.literals)
        text = f"{rule.severity.value}, {rule.remedy.value}, accuses {rule.accuses}; has {literals}"
        if before is None:
            yield Change("adds", rule.fault_id, text)
        else:
            was = f"{before.severity.value}, {before.remedy.value}"
            yield Change("replaces", rule.fault_id, f"{text} (shipped: {was})")


def _entry(fault_id: str, override: Override, shipped: Tables) -> Change:
    before = shipped.kernel.rule(fault_id) or shipped.pod.rule(fault_id) or catalog.entry(fault_id)
    if before is None:  # what is decoded without an entry
        return Change("overrides", fault_id, "")
    severity, remedy = override.judge(before.severity, before.remedy)
    parts = [
        f"{was.value} -> {now.value}" if was is not now else was.value
        for was, now in ((before.severity, severity), (before.remedy, remedy))
    ]
    if override.meaning:
        parts.append("another meaning")
    return Change("overrides", fault_id, ", ".join(parts))


def _taken(shipped: RuleSet, merged: RuleSet) -> Iterator[Change]:
    """Examples of shipped rules that are another fault now, or none."""
    for rule in shipped.rules:
        for number, example in enumerate(rule.examples):
            fault = merged.match(example.text)
            if fault is None:
                text = f"its shipped example {number + 1} matches nothing now"
                yield Change("loses", rule.fault_id, text)
            elif fault.fault_id != rule.fault_id:
                text = f"its shipped example {number + 1} is {fault.fault_id} now"
                yield Change("loses", rule.fault_id, text)
