"""Which ``treatment.Rule`` is a rule of the file, and what is wrong with it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from konduktor_health.policy.conditions import CompileCondition, ConditionError, WrittenCondition
from konduktor_health.policy.document import ClearPart, MatchPart, RepeatPart, RulePart
from konduktor_health.policy.known import Known
from konduktor_health.policy.values import NEVER
from konduktor_health.selector import parse_selector
from konduktor_health.treatment import (
    DAY_S,
    FOUND_BY,
    PROBE_FAULT,
    Asked,
    ClearRule,
    Match,
    Mode,
    ProbeNeed,
    Repeat,
    Rule,
    Treatment,
)
from parsers.fault import Trust

#: What clears where the rule does not say: the proof that a fatal fault of hardware is asked for.
PROOF = ClearRule(
    Asked.REMEDY, (ProbeNeed("boot"), ProbeNeed("light", 3), ProbeNeed("invasive")), 600.0
)
#: How long a record that never acts is kept where the rule does not say.
OBSERVED_S = DAY_S
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Wrong:
    """One mistake, by its path within the rule."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    offset: int = 0


def rule_of(
    part: RulePart, known: Known, condition: CompileCondition
) -> tuple[Rule, tuple[Wrong, ...]]:
    """The rule, and what is wrong with it; with mistakes the rule is not to be used."""
    wrong: list[Wrong] = []
    when: WrittenCondition | None = None
    if part.match.when is not None:
        try:
            when = condition(part.match.when)
        except ConditionError as error:
            wrong.append(Wrong(("match", "when"), str(error), error.hint, error.offset))
    faults, unknown = _faults(part.match, known)
    wrong += [*unknown, *_contradictions(part)]
    match = Match(
        faults=faults,
        severities=frozenset(part.match.severity or ()),
        remedies=frozenset(part.match.remedy or ()),
        devices=part.match.device or (),
        trusts=frozenset(part.match.trust or ()),
        nodes=None if part.match.nodes is None else parse_selector(part.match.nodes),
        condition=when,
    )
    treatment = Treatment(
        mode=part.mode,
        effect=part.effect,
        repeat=None if part.repeat is None else _repeat(part.repeat),
        clear=PROOF if part.clear is None else _clear(part.clear),
        decay_s=_decay(part),
        verify=part.verify,
        ladder=part.ladder,
    )
    return Rule(part.name, match, treatment), tuple(wrong)


def _faults(part: MatchPart, known: Known) -> tuple[tuple[str, ...], list[Wrong]]:
    """Fault ids as they are decoded; those that no fault can have are mistakes."""
    found: list[str] = []
    wrong: list[Wrong] = []
    for number, given in enumerate(part.faults or ()):
        if _WILD & set(given):
            if not known.any_like(given):
                hint = (
                    "fault ids are KIND/NAME, such as kernel/pcie-*; see docs/reference/faults.md"
                )
                wrong.append(Wrong(("match", "faults", number), f"matches no fault (got {given!r})",
                                   hint))  # fmt: skip
            found.append(given)
            continue
        canonical = known.canonical(given)
        if canonical is None:
            near = known.near(given)
            hint = f"did you mean {' or '.join(near)}?" if near else _LISTED
            wrong.append(Wrong(("match", "faults", number), f"no such fault (got {given!r})", hint))
        found.append(canonical or given)
    return tuple(found), wrong


_LISTED = (
    "docs/reference/faults.md lists all; a code that is not there is named with a wildcard,"
    " such as xid/500*"
)


def _contradictions(part: RulePart) -> Iterator[Wrong]:
    """What would not do what it says."""
    if part.mode is Mode.OBSERVE:
        for name in ("effect", "repeat"):
            if name in part.model_fields_set and getattr(part, name) is not None:
                hint = "leave it out, or say mode: act"
                yield Wrong((name,), "mode observe never acts", hint)
    elif part.match.trust is not None and set(part.match.trust) == {Trust.POD}:
        yield Wrong(("mode",), "pod lines never act", "say mode: observe")
    names = [each.name for each in part.clear.probes] if part.clear else []
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Wrong(("clear", "probes", number, "name"), f"is there twice (got {name!r})")
    by_checks = all(each.startswith(PROBE_FAULT) for each in part.match.faults or ("",))
    if not by_checks:
        for path in _asks_who_found_it(part, names):
            hint = "name a check or a tier, or give the rule faults: ['probe/*']"
            yield Wrong(path, "no check has found what this rule is about", hint)


def _asks_who_found_it(part: RulePart, cleared_by: list[str]) -> Iterator[tuple[str | int, ...]]:
    if FOUND_BY in cleared_by:
        yield ("clear", "probes", cleared_by.index(FOUND_BY), "name")
    if FOUND_BY in part.verify:
        yield ("verify", part.verify.index(FOUND_BY))


def _repeat(part: RepeatPart) -> Repeat:
    return Repeat(part.count, part.within, part.other_owner)


def _clear(part: ClearPart) -> ClearRule:
    return ClearRule(
        part.repair,
        tuple(ProbeNeed(each.name, each.times, each.under_load) for each in part.probes),
        part.quiet,
        part.operator,
        part.log_only,
    )


def _decay(part: RulePart) -> float | None:
    if part.decay is None:
        return OBSERVED_S if part.mode is Mode.OBSERVE else None
    return None if part.decay == NEVER else part.decay
