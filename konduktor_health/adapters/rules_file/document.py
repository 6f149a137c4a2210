"""What does this document say, and is all of it right? A rules file to rules and overrides."""

from __future__ import annotations

import re
from typing import Any

from konduktor_health.adapters.marked_yaml.complaints import Complaints
from konduktor_health.adapters.marked_yaml.marked import Path
from konduktor_health.adapters.marked_yaml.problem import shown
from konduktor_health.adapters.rules_file.entries import read_entries
from konduktor_health.adapters.rules_file.one_rule import RuleReader, complain_in_pattern
from parsers import catalog, lost
from parsers.rule_check import RULES_LIMIT
from parsers.rule_pattern import problems_of
from parsers.rules import VERSION, Rule
from parsers.tables import Tables
from parsers.user_rules import UserRules, shipped_macros

#: Most patterns of a table: memory and the time of a check go by their number.
PATTERNS_LIMIT = 2 * RULES_LIMIT
PARTS = ("version", "macros", "entries", "kernel", "pod")


def read_document(shipped: Tables, complaints: Complaints) -> UserRules:
    """The rules and overrides of the document that are right; complaints about the rest."""
    complaints.problems += complaints.marked.problems
    document: Any = complaints.marked.value
    if not isinstance(document, dict):
        hint = f"version: {VERSION}, then kernel, pod, entries or macros"
        what = "the file is empty" if document is None else f"{shown(document)}, not a mapping"
        complaints.add((), what, hint)
        return UserRules()
    complaints.unknown((), document, PARTS)
    _version(document, complaints)
    macros = _macros(document.get("macros"), complaints)
    ruled = {rule.fault_id for rule in (*shipped.kernel.rules, *shipped.pod.rules)}
    taken = frozenset({*catalog.others(), lost.FAULT_ID} - ruled)
    found: dict[str, tuple[Rule, ...]] = {}
    for source in ("kernel", "pod"):
        known = {**shipped_macros(source), **macros}
        reader = RuleReader(source, known, taken, complaints)
        found[source] = _table(document.get(source), reader)
    own = frozenset(rule.fault_id for rules in found.values() for rule in rules)
    entries = read_entries(document.get("entries"), shipped, own, complaints)
    return UserRules(found["kernel"], found["pod"], entries)


def _version(document: dict[str, Any], complaints: Complaints) -> None:
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        what = f"not {VERSION} (got {shown(version)})" if "version" in document else "missing"
        complaints.add(("version",), what, f"version: {VERSION} is the only form so far")


def _macros(macros: object, complaints: Complaints) -> dict[str, str]:
    if macros is None:
        return {}
    if not isinstance(macros, dict):
        complaints.add(("macros",), f"{shown(macros)}, not a mapping of names to patterns")
        return {}
    found: dict[str, str] = {}
    for name, pattern in macros.items():
        path: Path = ("macros", name)
        if re.fullmatch("[a-z_]{1,24}", name) is None:
            hint = "a-z and _, at most 24 characters"
            complaints.add(path, f"not a name (got {shown(name)})", hint, key=True)
        elif not isinstance(pattern, str):
            complaints.add(path, f"not a text (got {shown(pattern)})", "write it in quotes")
        else:
            found[name] = pattern
            for said in problems_of(pattern, bounded=False):
                complain_in_pattern(complaints, path, pattern, said)
    return found


def _table(rows: object, reader: RuleReader) -> tuple[Rule, ...]:
    complaints, source = reader.complaints, reader.source
    if rows is None:
        return ()
    if not isinstance(rows, list):
        complaints.add((source,), f"{shown(rows)}, not a list of rules")
        return ()
    if len(rows) > RULES_LIMIT:
        complaints.add((source,), f"{len(rows)} rules", f"at most {RULES_LIMIT}")
        return ()
    patterns = sum(map(_patterns, rows))
    if patterns > PATTERNS_LIMIT:
        complaints.add((source,), f"{patterns} patterns", f"at most {PATTERNS_LIMIT}")
        return ()
    found: dict[str, Rule] = {}
    for number, row in enumerate(rows):
        path: Path = (source, number)
        if not isinstance(row, dict):
            hint = "a mapping with fault_id, patterns, severity, meaning, examples"
            complaints.add(path, f"{shown(row)}, not a rule", hint)
            continue
        rule = reader.read(path, row)
        if rule is None:
            continue
        if rule.fault_id in found:
            hint = "one rule may have several patterns"
            complaints.add((*path, "fault_id"), f"{rule.fault_id} is there twice", hint)
        found[rule.fault_id] = rule
    return tuple(found.values())


def _patterns(row: object) -> int:
    patterns = row.get("patterns") if isinstance(row, dict) else None
    return len(patterns) if isinstance(patterns, list) else 0
