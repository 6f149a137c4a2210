"""Which tables does a decoder read when a site has rules of its own?

A pure merge of a rules file, already checked, over the shipped tables. A rule whose fault id is
shipped takes the shipped rule's place; others are tried before the shipped ones. Shipped patterns
run on ``re`` as ever, users' on the engine that is passed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from parsers import lost
from parsers.catalog import Entry
from parsers.catalog.read import content
from parsers.override import Override
from parsers.rules import Compile, Pattern, Rule, RuleSet
from parsers.tables import Tables


@dataclass(frozen=True, slots=True)
class UserRules:
    """The content of a rules file."""

    kernel: tuple[Rule, ...] = ()
    pod: tuple[Rule, ...] = ()
    entries: Mapping[str, Override] = field(default_factory=dict)  # by shipped fault id


def merged(base: Tables, own: UserRules, compile_pattern: Compile) -> Tables:
    """``base`` with a site's rules and overrides over it; what it keeps is judged anew.

    ``compile_pattern``: the engine of the site's patterns. An override of a fault id that
    ``base`` does not have changes nothing.
    """
    shipped = {
        pattern
        for table in (base.kernel, base.pod)
        for rule in table.rules
        for pattern in rule.patterns
    }

    def engine(pattern: str) -> Pattern:
        return re.compile(pattern) if pattern in shipped else compile_pattern(pattern)

    return replace(
        base,
        xids=_entries(base.xids, "xid", own.entries),
        sxids=_entries(base.sxids, "sxid", own.entries),
        kernel=_rules(base.kernel, own.kernel, own.entries, engine),
        pod=_rules(base.pod, own.pod, own.entries, engine),
        overrides={
            fault_id: override
            for fault_id, override in own.entries.items()
            if fault_id.startswith(("xid/", "sxid/")) or fault_id == lost.FAULT_ID
        },
    )


def shipped_macros(source: str) -> Mapping[str, str]:
    """Macros of the shipped table of ``source`` (kernel or pod), which a site's rules may use."""
    macros: dict[str, str] = json.loads(content(f"{source}.json")).get("macros", {})
    return macros


def overridden(entry: Entry, override: Override) -> Entry:
    """The entry as the override has it; of an SXid also where its line prints Non-fatal."""
    severity, remedy = override.judge(entry.severity, entry.remedy)
    return replace(
        entry,
        severity=severity,
        remedy=remedy,
        nonfatal=override.severity or entry.nonfatal,
        meaning=override.meaning or entry.meaning,
    )


def _entries(
    shipped: Mapping[int, Entry], kind: str, overrides: Mapping[str, Override]
) -> Mapping[int, Entry]:
    changed = {
        entry.code: overridden(entry, overrides[entry.fault_id])
        for fault_id in overrides
        if fault_id.startswith(f"{kind}/")
        and (entry := shipped.get(int(fault_id.partition("/")[2]))) is not None
    }
    return {**shipped, **changed} if changed else shipped


def _rules(
    shipped: RuleSet, own: tuple[Rule, ...], overrides: Mapping[str, Override], engine: Compile
) -> RuleSet:
    replacing = {rule.fault_id: rule for rule in own if shipped.rule(rule.fault_id) is not None}
    new = [rule for rule in own if rule.fault_id not in replacing]
    kept = [
        replacing.get(rule.fault_id) or _overridden_rule(rule, overrides.get(rule.fault_id))
        for rule in shipped.rules
    ]
    return RuleSet([*new, *kept], source=shipped.source, compile_pattern=engine)


def _overridden_rule(rule: Rule, override: Override | None) -> Rule:
    if override is None:
        return rule
    severity, remedy = override.judge(rule.severity, rule.remedy)
    meaning = override.meaning or rule.meaning
    return replace(rule, severity=severity, remedy=remedy, meaning=meaning)
