"""Which rules ask for the invasive tier, so that they do nothing, or never clear, where nobody runs
it? A named check of it is no such thing: agents are asked for those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from konduktor_health.policy.document import RulePart
from konduktor_health.policy.ruling import PROOF
from konduktor_health.treatment import INVASIVE, Mode, Rule

#: What is told of them.
NOBODY = (
    "nobody runs the tier invasive: neither Jobs (probes.jobs.enabled) nor the agents by themselves"
    " (probes.invasive_interval_s)"
)
HINT = "switch one of them on, or name checks of it, which agents are asked for"


def in_rules(parts: Iterable[RulePart]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Path of each place in the rules of a file, and what it comes to."""
    for number, part in enumerate(parts):
        here = ("rules", number)
        if INVASIVE in part.verify:
            yield (*here, "verify", part.verify.index(INVASIVE)), "it is never measured"
        if part.clear is not None:
            names = [each.name for each in part.clear.probes]
            if INVASIVE in names:
                at = names.index(INVASIVE)
                yield (*here, "clear", "probes", at, "name"), "the rule never clears by itself"
        elif part.mode is Mode.ACT and any(each.name == INVASIVE for each in PROOF.probes):
            yield here, "without clear the rule asks for it, and never clears by itself"


def names_of(rules: Iterable[Rule]) -> list[str]:
    """Names of the rules that ask for it."""
    return [
        rule.name
        for rule in rules
        if INVASIVE in rule.treatment.verify
        or any(need.name == INVASIVE for need in rule.treatment.clear.probes)
    ]
