"""What is wrong with this file of rules? For the shipped tables, and for users' files.

Each problem names the rule and the field (and the column, inside a pattern). A file without
problems makes a ``parsers.rules.RuleSet`` that obeys its invariants: what a rule may accuse and how
severe it may be, literals that survive wrappers, patterns that cannot stall, examples that hold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from parsers.fault import Remedy, Severity
from parsers.rule_length import shortest
from parsers.rule_pattern import problems_of
from parsers.rules import PROOFS, VERSION, Compile, expand, rules_of

RULES_LIMIT = 1000
_TEXT_LIMIT = 400
_SOURCES = {"kernel": "kernel", "pod": "workload"}  # what the fault ids of a source begin with
_ACCUSES = ("node", "peer", "nobody")
#: A process name has 15 bytes, and some of the kernel's messages begin with one: what acts must not
#: fit into it.
UNFORGEABLE = 16
_FAULT_ID = re.compile(r"(kernel|workload)/[a-z0-9][a-z0-9-]{1,47}")
#: JSON escapes these, or a coloured line has its colours beside them (parsers.printable).
_SPLIT = frozenset(":]\"\\/<>&'")
_FIELDS: Mapping[str, type] = {
    "fault_id": str, "literals": list, "patterns": list, "severity": str, "remedy": str,
    "accuses": str, "meaning": str, "investigation": str, "sources": list, "examples": list,
    "counter_examples": list,
}  # fmt: skip
_OPTIONAL = ("device", "printed_by", "noise", "note", "observe", "proves")
#: All fields that a rule may have.
FIELDS: tuple[str, ...] = (*_FIELDS, *_OPTIONAL)


def check_rules(
    data: object,
    *,
    compile_pattern: Compile = re.compile,
    bounded: bool = True,
    complete: bool = True,
) -> list[str]:
    """Everything that is wrong with a decoded file; empty when nothing is. Never raises.

    ``compile_pattern`` is what its patterns will run on. ``bounded``: refuse repeats without an
    end; only for an engine that takes linear time, such as RE2, may they pass. ``complete``: refuse
    rules without sources or counter-examples.
    """
    problems = _file(data)
    if problems or not isinstance(data, dict):
        return problems
    seen: set[str] = set()
    for number, row in enumerate(data["rules"]):
        name = f"rules[{number}]"
        if not isinstance(row, dict):
            problems.append(f"{name}: not an object")
            continue
        name += f" {str(row.get('fault_id', ''))[:60]}"
        found = _shape(row, complete=complete) or [
            *_words(row, data),
            *_patterns(row, data, bounded=bounded),
        ]
        found = found or _compiled(row, data, compile_pattern)
        fault_id = str(row.get("fault_id"))
        if fault_id in seen:
            found.append("fault_id: twice")
        seen.add(fault_id)
        problems += [f"{name}: {problem}" for problem in found]
    return problems or _examples(data, compile_pattern)


def _file(data: object) -> list[str]:
    if not isinstance(data, dict):
        return ["not an object"]
    problems = [] if data.get("version") == VERSION else [f"version: not {VERSION}"]
    if data.get("source") not in _SOURCES:
        problems.append(f"source: not one of {', '.join(_SOURCES)}")
    problems += [
        f"{name}: not an object of texts"
        for name in ("macros", "sources")
        if not isinstance(data.get(name, {}), dict)
        or not all(isinstance(each, str) for each in data.get(name, {}).values())
    ]
    if not isinstance(data.get("sources"), dict):
        problems.append("sources: missing")
    if not isinstance(data.get("rules"), list) or not 0 < len(data["rules"]) <= RULES_LIMIT:
        problems.append(f"rules: not a list of 1 to {RULES_LIMIT}")
    return problems


def _shape(row: Mapping[str, Any], *, complete: bool) -> list[str]:
    whole = ("literals", "patterns", "examples")
    problems = [f"{name}: missing" for name in _FIELDS if name not in row]
    problems += [
        f"{name}: not a {kind.__name__}"
        for name, kind in _FIELDS.items()
        if name in row and not isinstance(row[name], kind)
    ]
    problems += [f"{name}: not known" for name in row if name not in {*_FIELDS, *_OPTIONAL}]
    problems += [
        f"{each}: not a str" for each in _OPTIONAL if not isinstance(row.get(each, ""), str)
    ]
    if isinstance(row.get("examples"), list):
        problems += [
            f"examples[{at}]: not an object of text, device and detail"
            for at, example in enumerate(row["examples"])
            if not _is_example(example)
        ]
    texts = ("patterns", "sources", "counter_examples")
    problems += [
        f"{name}: not a list of texts"
        for name in texts
        if isinstance(row.get(name), list) and not all(isinstance(each, str) for each in row[name])
    ]
    problems += [
        f"{name}: empty"
        for name in ((*whole, "sources", "counter_examples") if complete else whole)
        if name in row and not row[name]
    ]
    return problems


def _is_example(example: object) -> bool:
    if not isinstance(example, dict) or not {*example} <= {"text", "device", "detail"}:
        return False
    detail = example.get("detail", {})
    texts = (example.get("text"), example.get("device", ""))
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(detail, dict)
        and all(isinstance(value, str) for value in detail.values())
    )


def _words(row: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []

    def need(field: str, fine: object, what: str) -> None:
        if not fine:
            problems.append(f"{field}: {what}")

    source, severity = data["source"], row["severity"]
    match = _FAULT_ID.fullmatch(row["fault_id"])
    need("fault_id", match and match[1] == _SOURCES[source], f"not {_SOURCES[source]}/NAME")
    need("severity", severity in {each.value for each in Severity}, "not known")
    need("remedy", row["remedy"] in {each.value for each in Remedy}, "not known")
    need("accuses", row["accuses"] in _ACCUSES, f"not one of {', '.join(_ACCUSES)}")
    mild = severity in ("application", "info")
    need(
        "severity", mild or row["accuses"] == "node", "worse than application, and not of the node"
    )
    need("severity", mild or source == "kernel", "a pod's line never acts")
    need("severity", mild or row.get("printed_by") != "program", "a program's line never acts")
    need("severity", severity == "info" or not row.get("noise"), "noise is info")
    need("remedy", severity != "info" or row["remedy"] == "none", "info asks for nothing")
    need("printed_by", row.get("printed_by", "kernel") in ("kernel", "program"), "not known")
    need("observe", not (mild and row.get("observe")), "what is mild needs no doubt")
    if "proves" in row:
        need("proves", row["proves"] in PROOFS, f"not one of {', '.join(PROOFS)}")
        need("proves", severity == "info" and not row.get("noise"), "a marker is info, not noise")
        stated = source == "kernel" and row.get("printed_by", "kernel") == "kernel"
        need("proves", stated, "only the kernel proves")
    for field in ("meaning", "investigation", "noise", "note", "observe"):
        text = row.get(field, "-")
        need(field, 0 < len(text) <= _TEXT_LIMIT and text.isprintable(), "not a short text")
    for key in row["sources"]:
        need("sources", key in data["sources"], f"{key[:60]} is not in the file's sources")
    for group in row["literals"]:
        problems += [f"literals: {problem}" for problem in _group(group)]
    return problems


def _group(group: object) -> list[str]:
    if not isinstance(group, list) or not group or not all(isinstance(e, str) for e in group):
        return ["a group is not a list of texts"]
    problems = [] if len(group[0]) >= 3 else [f"{group[0]!r}: the first of a group is too short"]
    for literal in group:
        if not 2 <= len(literal) <= 64 or literal != literal.strip():
            problems.append(f"{literal[:64]!r}: not 2 to 64 characters, or blanks at an end")
        if not literal.isascii() or not literal.isprintable() or _SPLIT & set(literal):
            problems.append(
                f"{literal[:64]!r}: a wrapper may split it (one of : ] / < > & \" ' \\)"
            )
    return problems


def _patterns(row: Mapping[str, Any], data: Mapping[str, Any], *, bounded: bool) -> list[str]:
    problems: list[str] = []
    names: set[str] = set()
    for number, pattern in enumerate(row["patterns"]):
        field = f"patterns[{number}]"
        try:
            expanded = expand(pattern, data.get("macros", {}))
        except KeyError as error:
            problems.append(f"{field}: no such macro: {error}")
            continue
        wrong = problems_of(expanded, bounded=bounded)
        if not wrong and _acts(row) and shortest(expanded) < UNFORGEABLE:
            wrong = [f"a process name could hold all of it: ask for {UNFORGEABLE} characters"]
        problems += [f"{field}: {each}" for each in wrong]
        names |= set(re.findall(r"\(\?P<([a-z0-9_]{1,24})>", expanded))
    if row["accuses"] == "peer" and row["severity"] != "info" and "peer" not in names:
        problems.append("patterns: a rule that accuses a peer captures peer")
    if row.get("device", "device") != "device" and row["device"] not in names:
        problems.append(f"device: no capture {row['device']}")
    return problems


def _acts(row: Mapping[str, Any]) -> bool:
    return row["severity"] not in ("application", "info") or "proves" in row


def _compiled(
    row: Mapping[str, Any], data: Mapping[str, Any], compile_pattern: Compile
) -> list[str]:
    problems: list[str] = []
    for number, pattern in enumerate(row["patterns"]):
        try:
            compile_pattern(expand(pattern, data.get("macros", {})))
        except Exception as error:  # each engine has errors of its own
            problems.append(f"patterns[{number}]: {str(error)[:200]}")
    return problems


def _examples(data: Mapping[str, Any], compile_pattern: Compile) -> list[str]:
    """Do the examples say what they should, in the whole set? For a file of the right form."""
    rules = rules_of(data, compile_pattern=compile_pattern)
    problems: list[str] = []
    for number, rule in enumerate(rules.rules):
        name = f"rules[{number}] {rule.fault_id}"
        for at, example in enumerate(rule.examples):
            fault = rules.match(example.text)
            if fault is None or fault.fault_id != rule.fault_id:
                other = fault.fault_id if fault else "nothing"
                problems.append(f"{name}: examples[{at}]: gives {other}")
            elif (fault.device, fault.detail) != (example.device, dict(example.detail)):
                problems.append(f"{name}: examples[{at}]: gives {fault.device!r}, {fault.detail}")
            if rules.match_slowly(example.text) != fault:
                problems.append(f"{name}: examples[{at}]: literals hide it")
        for at, text in enumerate(rule.counter_examples):
            fault = rules.match(text)
            if fault is not None and fault.fault_id == rule.fault_id:
                problems.append(f"{name}: counter_examples[{at}]: is this fault")
    return problems
