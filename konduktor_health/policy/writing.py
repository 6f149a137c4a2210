"""How is a policy written as a file? The way back: what is written compiles to the same policy.

``as_document`` says every rule itself (``preset: none``) and every limit, so that nothing depends
on a preset or on settings. Left out is only what is as the form has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from konduktor_health.model import Policy, Pool, Window
from konduktor_health.policy.conditions import WrittenCondition
from konduktor_health.policy.document import VERSION, HeldEffect, PresetName
from konduktor_health.policy.durations import written
from konduktor_health.policy.ruling import OBSERVED_S, PROOF
from konduktor_health.selector import Selector, Term
from konduktor_health.timestamps import rfc3339_micro
from konduktor_health.treatment import ClearRule, Match, Mode, Rule, Treatment
from parsers.fault import Remedy, Severity, Trust

Written = dict[str, Any]


def as_document(policy: Policy) -> Written:
    """The whole policy as the plain values of a file."""
    held = HeldEffect.NONE.value if policy.held_effect is None else policy.held_effect.value
    return {
        "version": VERSION,
        "preset": PresetName.NONE.value,
        "rules": [as_rule(rule) for rule in policy.rules[1:]],
        "pools": [_pool(pool) for pool in policy.pools],
        "budget": {
            "enabled": policy.budget_enabled,
            "percent": policy.budget_percent,
            "max_nodes": policy.budget_max_nodes,
            "rate_per_minute": policy.rate_per_minute,
        },
        "surge": {
            "enabled": policy.surge_enabled,
            "min_nodes": policy.surge_min_nodes,
            "percent": policy.surge_percent,
            "window": written(policy.surge_window_s),
            "quiet": written(policy.surge_quiet_s),
        },
        "held_effect": held,
        "pauses": _pauses(policy),
        "domains": list(policy.domains),
        "autopilot_labels": policy.autopilot_labels,
        "corroborate": policy.corroborate.value,
        "history": written(policy.history_s),
        "hold_down_max": written(policy.hold_down_max_s),
        "unobserved": {
            "after": written(policy.unobserved_after_s),
            "percent": policy.unobserved_percent,
        },
    }


def as_rule(rule: Rule) -> Written:
    """One rule."""
    match = as_match(rule.match)
    return {
        "name": rule.name,
        **({"match": match} if match else {}),
        **as_treatment(rule.treatment),
    }


def as_match(match: Match) -> Written:
    """What a rule matches; empty: everything."""
    condition = cast("WrittenCondition | None", match.condition)
    parts: Mapping[str, Any] = {
        "faults": list(match.faults),
        "severity": [each.value for each in Severity if each in match.severities],
        "remedy": [each.value for each in Remedy if each in match.remedies],
        "device": list(match.devices),
        "trust": [each.value for each in Trust if each in match.trusts],
        "nodes": None if match.nodes is None else selector_text(match.nodes),
        "when": None if condition is None else condition.text,
    }
    found = {name: value for name, value in parts.items() if value}
    if match.nodes is not None:  # an empty selector matches everything, and is said all the same
        found["nodes"] = parts["nodes"]
    return found


def as_treatment(treatment: Treatment) -> Written:
    """What a rule does."""
    found: Written = {"mode": treatment.mode.value}
    if treatment.mode is Mode.ACT:
        found["effect"] = treatment.effect.value
    if treatment.repeat is not None:
        found["repeat"] = {
            "count": treatment.repeat.count,
            "within": written(treatment.repeat.within_s),
            **({"other_owner": True} if treatment.repeat.other_owner else {}),
        }
    if treatment.clear != PROOF:
        found["clear"] = as_clear(treatment.clear)
    usual_s = OBSERVED_S if treatment.mode is Mode.OBSERVE else None
    if treatment.decay_s != usual_s:
        found["decay"] = "never" if treatment.decay_s is None else written(treatment.decay_s)
    if treatment.verify:
        found["verify"] = list(treatment.verify)
    if treatment.ladder:
        found["ladder"] = [remedy.value for remedy in treatment.ladder]
    return found


def as_clear(clear: ClearRule) -> Written:
    """What clears."""
    probes = [
        {
            "name": need.name,
            "times": need.times,
            **({"under_load": True} if need.under_load else {}),
        }
        for need in clear.probes
    ]
    return {
        "repair": clear.repair.value,
        **({"probes": probes} if probes else {}),
        "quiet": written(clear.quiet_s),
        **({"operator": True} if clear.operator else {}),
        **({"log_only": True} if clear.log_only else {}),
    }


def selector_text(selector: Selector) -> str:
    """A label selector as text; ``parse_selector`` reads the same."""
    return ",".join(map(_term, selector.terms))


def _term(term: Term) -> str:
    if term.values is None:
        return term.key if term.wanted else f"!{term.key}"
    values = sorted(term.values)
    if len(values) == 1:
        return f"{term.key}{'=' if term.wanted else '!='}{values[0]}"
    return f"{term.key} {'in' if term.wanted else 'notin'} ({','.join(values)})"


def _pool(pool: Pool) -> Written:
    return {
        "name": pool.name,
        **({} if pool.nodes is None else {"nodes": selector_text(pool.nodes)}),
        **({"label": pool.label} if pool.label else {}),
        "percent": pool.percent,
        "max_nodes": pool.max_nodes,
        "rate_per_minute": pool.rate_per_minute,
        **({"count_unready": True} if pool.count_unready else {}),
        **({"count_cordoned": True} if pool.count_cordoned else {}),
    }


def _pauses(policy: Policy) -> Written:
    pauses = policy.pauses
    return {
        "start_up": written(pauses.start_up_s),
        "after_boot": written(pauses.after_boot_s),
        "driver_upgrade_label": pauses.driver_upgrade_label,
        "driver_idle": list(pauses.driver_idle),
        "deletion_taints": list(pauses.deletion_taints),
        "foreign_cordon": pauses.foreign_cordon,
        "windows": [_window(window) for window in pauses.windows],
    }


def _window(window: Window) -> Written:
    return {
        "name": window.name,
        "start": rfc3339_micro(window.start_ns),
        "end": rfc3339_micro(window.end_ns),
        **({} if window.nodes is None else {"nodes": selector_text(window.nodes)}),
    }
