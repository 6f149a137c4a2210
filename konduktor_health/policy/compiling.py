"""Which ``model.Policy`` does a policy file make? Rules in order, and limits over those that held.

Precedence of limits, lowest first: the defaults, the preset, the settings that were given (file,
environment, flags), the policy file itself. What neither says stays as it is in ``base``.

``compile_policy`` tells every finding with the path of the value; it raises nothing of its own.
The rules of the result are: ``operator``, the file's, the preset's, and one that matches
everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from konduktor_health.model import DEFAULT_POOL, Pauses, Policy, Pool, Window
from konduktor_health.policy.conditions import CompileCondition
from konduktor_health.policy.document import (
    HeldEffect,
    Part,
    PausesPart,
    PolicyDocument,
    PoolPart,
    PresetName,
    said,
)
from konduktor_health.policy.known import Known
from konduktor_health.policy.own_labels import THEIRS, readers
from konduktor_health.policy.presets import OPERATOR, PRESETS, REST, Preset
from konduktor_health.policy.ruling import rule_of
from konduktor_health.selector import Selector, parse_selector
from konduktor_health.timestamps import parse_rfc3339
from konduktor_health.treatment import Effect, Match, Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake. ``path``: keys and indices from the top; ``offset``: characters into a text."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    offset: int = 0


def preset_policy(name: PresetName, base: Policy, given: Collection[str] = ()) -> Policy:
    """The policy of a preset alone. ``given``: fields of ``base`` that outrank the preset's."""
    return _begun(PRESETS[name], base, given)


def compile_policy(
    document: PolicyDocument,
    base: Policy,
    *,
    known: Known,
    condition: CompileCondition,
    given: Collection[str] = (),
) -> tuple[Policy, tuple[Finding, ...]]:
    """The policy of a file, and what is wrong with it; with findings the policy is not to be used.

    ``base``: the policy of the settings; ``given``: the fields of it that somebody has set.
    """
    findings: list[Finding] = [*_repeated(document)]
    own: list[Rule] = []
    for number, part in enumerate(document.rules):
        rule, wrong = rule_of(part, known, condition)
        findings += [
            Finding(("rules", number, *each.path), each.message, each.hint, each.offset)
            for each in wrong
        ]
        own.append(rule)
    findings += _unreachable(own)
    preset = PRESETS[document.preset]
    policy = _begun(preset, base, given)
    policy = replace(policy, rules=_in_order(own, preset), **_limits(document))
    pools, wrong_pools = _pools(document, policy)
    pauses, wrong_windows = _pauses(document.pauses, policy.pauses)
    findings += [*wrong_pools, *wrong_windows]
    if policy.autopilot_labels:
        findings += (
            Finding(path, f"reads labels of {THEIRS}, which autopilot_labels has us write",
                    "go by the fault or by another label, or leave autopilot_labels out")
            for path in readers(document)
        )  # fmt: skip
    return replace(policy, pools=pools, pauses=pauses), tuple(findings)


def _begun(preset: Preset, base: Policy, given: Collection[str]) -> Policy:
    limits: dict[str, Any] = {k: v for k, v in preset.limits.items() if k not in given}
    return replace(base, rules=preset.rules, **limits)


def _in_order(own: list[Rule], preset: Preset) -> tuple[Rule, ...]:
    """A rule of the file that matches everything is the last one: nothing comes after it."""
    rules = (OPERATOR, *own, *preset.rules[1:])
    ending = next((n for n, rule in enumerate(rules) if rule.match == Match()), None)
    return (*rules, REST) if ending is None else rules[: ending + 1]


def _repeated(document: PolicyDocument) -> Iterator[Finding]:
    """Names are told with what a rule, a pool or a window does: they have to be clear."""
    names = {rule.name: "the preset has" for rule in PRESETS[document.preset].rules}
    if document.preset is PresetName.NONE:
        names = {OPERATOR.name: "every policy has"}
    pools = [pool.name for pool in document.pools or ()]
    windows = [window.name for window in document.pauses.windows or ()]
    yield from _twice(("rules",), [rule.name for rule in document.rules], names)
    yield from _twice(("pools",), pools, {DEFAULT_POOL: "every policy has"})
    yield from _twice(("pauses", "windows"), windows, {})


def _twice(path: tuple[str, ...], names: list[str], taken: Mapping[str, str]) -> Iterator[Finding]:
    seen = dict(taken)
    for number, name in enumerate(names):
        if name in seen:
            what = f"{seen[name]} one of this name (got {name!r})"
            yield Finding((*path, number, "name"), what, "choose another name")
        seen.setdefault(name, "the file already has")


def _unreachable(own: list[Rule]) -> Iterator[Finding]:
    """Whoever writes a rule after one that matches everything believes that it does something."""
    for number, rule in enumerate(own[:-1]):
        if rule.match == Match():
            what = f"comes after {rule.name!r}, which matches everything"
            yield Finding(("rules", number + 1), what, "put that rule last, or narrow it")
            return


def _limits(document: PolicyDocument) -> dict[str, Any]:
    """Fields of the policy that the file says itself."""
    found = {
        "budget_enabled": document.budget.enabled,
        "budget_percent": document.budget.percent,
        "budget_max_nodes": document.budget.max_nodes,
        "rate_per_minute": document.budget.rate_per_minute,
        "surge_enabled": document.surge.enabled,
        "surge_min_nodes": document.surge.min_nodes,
        "surge_percent": document.surge.percent,
        "surge_window_s": document.surge.window,
        "surge_quiet_s": document.surge.quiet,
        "domains": document.domains,
        "autopilot_labels": document.autopilot_labels,
        "corroborate": document.corroborate,
        "history_s": document.history,
        "hold_down_max_s": document.hold_down_max,
        "unobserved_after_s": document.unobserved.after,
        "unobserved_percent": document.unobserved.percent,
    }
    kept: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if document.held_effect is not None:
        kept["held_effect"] = _held(document.held_effect)
    return kept


def _held(effect: HeldEffect) -> Effect | None:
    return None if effect is HeldEffect.NONE else Effect(effect.value)


def _pools(
    document: PolicyDocument, policy: Policy
) -> tuple[tuple[Pool, ...], tuple[Finding, ...]]:
    if document.pools is None:
        return policy.pools, ()
    usual = policy.default_pool()
    findings = tuple(
        Finding(("pools", number), "takes no node: it has neither nodes nor label",
                "nodes: SELECTOR, label: KEY, or both")
        for number, part in enumerate(document.pools)
        if part.nodes is None and part.label is None
    )  # fmt: skip
    return tuple(_pool(part, usual) for part in document.pools), findings


def _pool(part: PoolPart, usual: Pool) -> Pool:
    return Pool(
        part.name,
        nodes=_selector(part.nodes),
        label=part.label or "",
        percent=usual.percent if part.percent is None else part.percent,
        max_nodes=usual.max_nodes if part.max_nodes is None else part.max_nodes,
        rate_per_minute=(
            usual.rate_per_minute if part.rate_per_minute is None else part.rate_per_minute
        ),
        count_unready=part.count_unready,
        count_cordoned=part.count_cordoned,
    )


def _pauses(part: PausesPart, before: Pauses) -> tuple[Pauses, tuple[Finding, ...]]:
    names = {"start_up": "start_up_s", "after_boot": "after_boot_s"}
    plain: dict[str, Any] = {
        names.get(name, name): value for name, value in _given(part).items() if name != "windows"
    }
    if part.windows is None:
        return replace(before, **plain), ()
    windows: list[Window] = []
    findings: list[Finding] = []
    for number, each in enumerate(part.windows):
        start_ns, end_ns = parse_rfc3339(each.start), parse_rfc3339(each.end)
        if end_ns <= start_ns:
            path = ("pauses", "windows", number, "end")
            findings.append(Finding(path, f"not after the start (got {each.end!r})"))
        windows.append(Window(each.name, start_ns, end_ns, _selector(each.nodes)))
    return replace(before, windows=tuple(windows), **plain), tuple(findings)


def _given(part: Part) -> Mapping[str, Any]:
    return {name: value for name, value in said(part).items() if value is not None}


def _selector(text: str | None) -> Selector | None:
    return None if text is None else parse_selector(text)
