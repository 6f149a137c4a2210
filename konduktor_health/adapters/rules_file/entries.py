"""What does a site hold of shipped faults? The ``entries`` of a rules file, checked.

An override may not do what a rule may not: lift a pod's or a program's line above application, make
noise say something, or a proof of repair a fault.
"""

from __future__ import annotations

from typing import Any

from konduktor_health.adapters.marked_yaml.complaints import Complaints
from konduktor_health.adapters.marked_yaml.marked import Path
from konduktor_health.adapters.marked_yaml.problem import shown
from konduktor_health.adapters.rules_file.one_rule import MILD, WORDS
from parsers import catalog, lost
from parsers.fault import Remedy, Severity
from parsers.override import Override
from parsers.rule_check import UNFORGEABLE
from parsers.rule_length import shortest
from parsers.rules import Rule
from parsers.tables import Tables

MEANING_LIMIT = 400
#: The driver's order. One that asks for nothing is the end of another: it must not become a fault.
DIRECTIVE = "xid/154"


def read_entries(
    entries: object, shipped: Tables, own: frozenset[str], complaints: Complaints
) -> dict[str, Override]:
    """The overrides that are right, by fault id. ``own``: fault ids of the file's rules."""
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        complaints.add(("entries",), f"{shown(entries)}, not a mapping of fault ids")
        return {}
    found: dict[str, Override] = {}
    for fault_id, said in entries.items():
        path: Path = ("entries", fault_id)
        before = len(complaints.problems)
        if fault_id in own:
            complaints.add(path, "is a rule of this file", "say it in the rule", key=True)
        elif not isinstance(said, dict) or not said:
            hint = "e.g. {severity: fatal, remedy: reset_gpu}"
            complaints.add(path, f"says nothing (got {shown(said)})", hint)
        else:
            override = _override(path, said, complaints)
            if override is not None:
                _allowed(path, fault_id, override, shipped, complaints)
                found[fault_id] = override
        if len(complaints.problems) > before:
            found.pop(fault_id, None)
    return found


def _override(path: Path, said: dict[str, Any], complaints: Complaints) -> Override | None:
    before = len(complaints.problems)
    complaints.unknown(path, said, ("severity", "remedy", "meaning"))
    for name in ("severity", "remedy"):
        if name in said and said[name] not in WORDS[name]:
            hint = f"one of {', '.join(WORDS[name])}"
            complaints.add((*path, name), f"not known (got {shown(said[name])})", hint)
    meaning = said.get("meaning", "-")
    short = isinstance(meaning, str) and 0 < len(meaning) <= MEANING_LIMIT
    if not short or not meaning.isprintable():
        complaints.add((*path, "meaning"), f"not a short text (got {shown(meaning)})")
    if len(complaints.problems) > before:
        return None
    override = Override(
        Severity(said["severity"]) if "severity" in said else None,
        Remedy(said["remedy"]) if "remedy" in said else None,
        said.get("meaning", ""),
    )
    asks = override.remedy not in (None, Remedy.NONE)
    if override.severity is Severity.INFO and asks:
        complaints.add((*path, "remedy"), f"info asks for nothing (got {said['remedy']!r})")
    return override


def _allowed(
    path: Path, fault_id: str, override: Override, shipped: Tables, complaints: Complaints
) -> None:
    rule = shipped.kernel.rule(fault_id) or shipped.pod.rule(fault_id)
    if rule is not None:
        why = _forbidden(rule, override, of_pod=shipped.pod.rule(fault_id) is not None)
        if why and override.severity is not None:
            hint = (
                "a rule with this fault id may replace it" if rule.noise else "at most application"
            )
            complaints.add((*path, "severity"), f"{why} (got {override.severity.value!r})", hint)
    elif fault_id == DIRECTIVE and (override.severity or override.remedy):
        hint = "its line is an order of the driver, and says itself how bad it is"
        complaints.add(path, "only its meaning can be overridden", hint)
    elif fault_id != lost.FAULT_ID and not _coded(fault_id):
        known = [each.fault_id for each in (*shipped.kernel.rules, *shipped.pod.rules)]
        near = complaints.like(fault_id, [*known, lost.FAULT_ID])
        hint = near or "docs/reference/faults.md lists all"
        complaints.add(path, "no such shipped fault", hint, key=True)


def _coded(fault_id: str) -> bool:
    return (
        fault_id.startswith(("xid/", "sxid/"))
        and getattr(catalog.entry(fault_id), "fault_id", "") == fault_id
    )


def _forbidden(rule: Rule, override: Override, *, of_pod: bool) -> str:
    """Why a rule may not have this severity; "" when it may."""
    severity = override.severity
    if severity is None:
        return ""
    if rule.noise and severity is not Severity.INFO:
        return f"it is noise: {rule.noise}"
    if rule.proves and severity is not Severity.INFO:
        return f"such a line proves a repair: {rule.proves}"
    if severity in MILD:
        return ""
    if of_pod:
        return "a pod's line never acts"
    if rule.printed_by == "program":
        return "a program's line never acts"
    if rule.accuses != "node":
        return f"it accuses {rule.accuses}, not the node"
    short = min(map(shortest, rule.patterns)) < UNFORGEABLE
    return "a process name could hold such a message" if short else ""
