"""Where is a record on its way, what does clearing it still wait for, and what comes next? Pure.

What was decided stands in the record. How much of each thing is needed stands in the policy: it is
told where the rule that decided is in the policy read here, and left open where it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from konduktor_health.cli.times import span
from konduktor_health.core.clearing import (
    LOAD,
    OBSERVATION,
    OPERATOR,
    QUIET,
    REPAIR,
    SHOWN_DECAY_S,
    Watch,
    key_of,
    ladder_of,
    needs_of,
    quiet_s,
    seen_repairs,
    step_of,
)
from konduktor_health.core.facts import facts_of
from konduktor_health.core.invasive import is_invasive
from konduktor_health.core.operators_record import is_operators
from konduktor_health.core.record import Missing, Record
from konduktor_health.core.states import State, state_of_record
from konduktor_health.core.wording import PROBE, in_words
from konduktor_health.model import Policy, Remedy
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Repair, Treatment, choose, repairs_for

_SEEN_AS = {
    Repair.BOOT: "a new boot",
    Repair.GPU_RESET: "a GPU reset",
    Repair.DRIVER_NONE: "the driver's word that nothing is to be done",
    Repair.END: "the event that ends it",
}


@dataclass(frozen=True, slots=True)
class Wait:
    """What is missing for clearing, since when, and in words."""

    what: str
    since_ns: int
    text: str
    not_before_ns: int = 0  # it cannot be over before; 0: that is not known


@dataclass(frozen=True, slots=True)
class Proof:
    """Passes of a probe in a row since the last occurrence."""

    probe: str
    passed: int
    needed: int | None  # None: the rule is not known here
    newest_ns: int


@dataclass(frozen=True, slots=True)
class Course:
    """A record, and how it goes on."""

    record: Record
    state: State
    known: bool  # the rule that decides about it is in the policy read here
    waits: tuple[Wait, ...]
    repairs: tuple[tuple[Repair, int], ...]  # seen since it was last seen, and when
    proofs: tuple[Proof, ...]
    step: Remedy | None  # the repair that is due; None: it asks for nothing
    next_step: Remedy | None  # the one after it, should it not hold
    fades_s: float | None  # goes by itself after so long without it, observed; None: it asks

    @property
    def for_a_person(self) -> tuple[Wait, ...]:
        """What only a person can give."""
        return tuple(each for each in self.waits if each.what == OPERATOR)


def course_of(
    record: Record, labels: Mapping[str, str], policy: Policy, watch: Watch, test: str = ""
) -> Course:
    """The record's course by this policy. ``labels``: the Node's; of ``watch`` the boot counts;
    ``test``: how an invasive test of the node goes on, in words."""
    repairs = seen_repairs(record, watch)
    rule = choose(policy.rules, facts_of(record, labels))
    known = rule.name == record.rule
    treatment = rule.treatment if known else None
    ladder = ladder_of(record, treatment or Treatment())
    at = min(record.attempts, len(ladder) - 1)
    decay_s = treatment.decay_s if treatment else None
    return Course(
        record=record,
        state=state_of_record(record),
        known=known,
        waits=tuple(
            _tested(_wait(each, record, treatment, policy, repairs), test)
            for each in record.missing
        ),
        repairs=tuple(sorted(repairs.items(), key=lambda each: each[1])),
        proofs=_proofs(record, treatment),
        step=ladder[at] if record.asks else None,
        next_step=ladder[at + 1] if record.asks and at + 1 < len(ladder) else None,
        fades_s=None if record.asks else SHOWN_DECAY_S if decay_s is None else decay_s,
    )


def _tested(wait: Wait, test: str) -> Wait:
    """Of an invasive probe also how its test goes on."""
    probe = wait.what.removeprefix(PROBE).removesuffix(LOAD)
    if not test or not wait.what.startswith(PROBE) or not is_invasive(probe):
        return wait
    return replace(wait, text=f"{wait.text}; {test}")


def _proofs(record: Record, treatment: Treatment | None) -> tuple[Proof, ...]:
    """All probes that the rule asks for, and those that were counted."""
    asked = needs_of(record, treatment) if treatment and record.asks else ()
    needed = {key_of(need): need.times for need in asked}
    passed = {each.name: each for each in record.passes}
    return tuple(
        Proof(
            name,
            passed[name].count if name in passed else 0,
            needed.get(name),
            passed[name].newest_ns if name in passed else 0,
        )
        for name in dict.fromkeys((*needed, *passed))
    )


def _wait(
    missing: Missing,
    record: Record,
    treatment: Treatment | None,
    policy: Policy,
    repairs: Mapping[Repair, int],
) -> Wait:
    what, since_ns = missing.what, missing.since_ns
    if what == OPERATOR:
        text = f"an operator's word: {_why_a_person(record, treatment)}"
        return Wait(what, since_ns, text)
    if what == OBSERVATION:
        return Wait(what, since_ns, "an observed node: nothing is heard of its log now")
    if what.startswith(PROBE):
        return Wait(what, since_ns, _of_probe(what.removeprefix(PROBE), record, treatment))
    if what == REPAIR:
        return Wait(what, since_ns, _repair(record, treatment))
    if what == QUIET and treatment:
        length_s = quiet_s(record, treatment, policy)
        begun_ns = max([record.last_ns, *repairs.values()])
        text = f"{span(length_s)} without the fault while the node is observed"
        return Wait(what, since_ns, text, begun_ns + int(length_s * NS))
    return Wait(what, since_ns, in_words(what))


def _why_a_person(record: Record, treatment: Treatment | None) -> str:
    if is_operators(record):
        return "a person set it"
    if treatment is None:
        return "its rule, its ladder, or a node without an agent"
    if treatment.clear.operator:
        return "its rule leaves it to a person"
    step = step_of(record, treatment)
    if repairs_for(treatment.clear.repair, step) is None:
        return f"{step.value} is due, which only a person can do"
    return "no agent on the node could prove it"


def _repair(record: Record, treatment: Treatment | None) -> str:
    step = step_of(record, treatment or Treatment())
    asked = repairs_for(treatment.clear.repair, step) if treatment else None
    if not asked:
        return f"a repair: {step.value}"
    signs = [_SEEN_AS[each] for each in Repair if each in asked]
    return "a repair: " + " or ".join(filter(None, (", ".join(signs[:-1]), signs[-1])))


def _of_probe(name: str, record: Record, treatment: Treatment | None) -> str:
    (found,) = [each for each in _proofs(record, treatment) if each.probe == name] or [
        Proof(name, 0, None, 0)
    ]
    of = "" if found.needed is None else f" of {found.needed}"
    return f"passes of probe {name}: {found.passed}{of}"
