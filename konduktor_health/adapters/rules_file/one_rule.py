"""Is this row a rule, and which? What users may leave out is filled in, then all is checked.

The checks are those of the shipped tables (``parsers.rule_check``); each of their problems gets the
place, the value and a hint. On top: a rule that acts begins with the line's own text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konduktor_health.adapters.marked_yaml.complaints import Complaints
from konduktor_health.adapters.marked_yaml.marked import Path
from konduktor_health.adapters.marked_yaml.problem import shown
from konduktor_health.adapters.rules_file.engine import compile_pattern
from konduktor_health.adapters.rules_file.opening import begins_open
from parsers import catalog
from parsers.fault import Remedy, Severity
from parsers.rule_check import FIELDS, check_rules
from parsers.rule_literals import literals_of
from parsers.rule_pattern import problems_of
from parsers.rules import VERSION, Rule, expand, rules_of

#: Severities that never change what happens to a node.
MILD = (Severity.APPLICATION, Severity.INFO)
WORDS: Mapping[str, tuple[str, ...]] = {
    "severity": tuple(each.value for each in Severity),
    "remedy": tuple(each.value for each in Remedy),
    "accuses": ("node", "peer", "nobody"),
    "printed_by": ("kernel", "program"),
}
PATTERN_HINT = "a pattern is made of text, [...], (?:...), (?P<name>...), |, ?, *, +, {n,m}"
_HINTS = {
    "examples": "a list of {text: LOG LINE, device: ..., detail: {...}} that this rule matches",
    "literals": "a list of groups, e.g. [[acme_fan], [acme, fan]]: a line has all of one group",
    "patterns": PATTERN_HINT,
    "fault_id": "kernel/NAME under kernel, workload/NAME under pod; NAME is 2 to 48 of a-z, 0-9, -",
    "meaning": "one short sentence: what such a line means",
}
_TYPES = {"not a str": "not a text", "not a list": "not a list", "missing": "missing"}
_STAND_IN = [["---"]]  # literals of a rule whose patterns are wrong


@dataclass(slots=True)
class RuleReader:
    """Reads the rows of one table, ``source`` kernel or pod."""

    source: str
    macros: Mapping[str, str]
    taken: frozenset[str]  # fault ids that no rule may have
    complaints: Complaints

    def read(self, path: Path, row: Mapping[str, Any]) -> Rule | None:
        """The rule of a row, or None after complaints."""
        before = len(self.complaints.problems)
        self.complaints.unknown(path, row, FIELDS)
        filled = _filled(self.source, {name: row[name] for name in FIELDS if name in row})
        self._words(path, filled)
        if "literals" not in row:
            filled["literals"] = self._derived(path, filled.get("patterns"))
        data = {
            "version": VERSION,
            "source": self.source,
            "macros": self.macros,
            "sources": _texts(filled["sources"]),
            "rules": [filled],
        }
        prefix = f"rules[0] {str(filled.get('fault_id', ''))[:60]}: "
        found = check_rules(data, compile_pattern=compile_pattern, bounded=False, complete=False)
        for said in found:
            self._place(path, filled, said.removeprefix(prefix))
        if len(self.complaints.problems) > before:
            return None
        rule = rules_of(data, compile_pattern=compile_pattern).rules[0]
        self._more(path, rule)
        return rule if len(self.complaints.problems) == before else None

    def _words(self, path: Path, row: Mapping[str, Any]) -> None:
        """``check_rules`` looks at words only when the form is right: tell all at once."""
        for name in ("severity", "remedy"):
            if isinstance(row.get(name), str) and row[name] not in WORDS[name]:
                self._place(path, row, f"{name}: not known")

    def _derived(self, path: Path, patterns: object) -> list[list[str]]:
        """Literals of patterns; they stand in for patterns that are wrong anyway."""
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            return _STAND_IN
        found: list[list[str]] = []
        for number, pattern in enumerate(patterns):
            try:
                expanded = expand(pattern, self.macros)
            except KeyError:
                continue
            if wrong := problems_of(expanded, bounded=False):
                for said in wrong:
                    at: Path = (*path, "patterns", number)
                    complain_in_pattern(self.complaints, at, pattern, said)
                continue
            texts = literals_of([expanded])
            found += [text for text in texts if text not in found]
            if not texts:
                what = f"no text of 3 characters is in every match (got {shown(pattern)})"
                hint = "Loki is asked for such a text: add words that the line always has"
                self.complaints.add((*path, "patterns", number), what, hint)
        return found or _STAND_IN

    def _place(self, path: Path, row: Mapping[str, Any], said: str) -> None:
        """Say what ``check_rules`` said, with place, value and hint."""
        match = re.match(r"([a-z_]+)(?:\[([0-9]+)\])?: (.*)", said, re.DOTALL)
        if match is None:
            self.complaints.add(path, said)
            return
        name, number, message = match[1], match[2], match[3]
        value = row.get(name)
        if number is not None:
            part: Path = (*path, name, int(number))
            if name == "patterns" and isinstance(value, list):
                complain_in_pattern(self.complaints, part, value[int(number)], message)
            else:
                self.complaints.add(part, message, _HINTS.get(name, ""))
            return
        hint = _HINTS.get(name, "")
        if name in WORDS and value not in WORDS[name]:
            hint = f"one of {', '.join(WORDS[name])}"
        elif message == "not a str" and isinstance(value, (bool, int, float)):
            hint = "write it in quotes"
        message = _TYPES.get(message, message)
        if name in row and not isinstance(value, (dict, list)):
            message = f"{message} (got {shown(value)})"
        self.complaints.add((*path, name), message, hint)

    def _more(self, path: Path, rule: Rule) -> None:
        """What only users' rules have to be told."""
        if rule.fault_id in self.taken:
            what = f"{rule.fault_id} is not decoded by a rule"
            hint = "choose another name, or use entries"
            self.complaints.add((*path, "fault_id"), what, hint)
        why = _acts(rule)
        for number, pattern in enumerate(rule.patterns):
            if why and begins_open(pattern):
                what = f"begins with any text, and the rule {why}"
                hint = "programs choose what stands in many lines: begin with the line's own text"
                self.complaints.add((*path, "patterns", number), what, hint)


def _acts(rule: Rule) -> str:
    """How a rule's lines change what happens to a node; "" when they do not."""
    if rule.severity not in MILD:
        return f"is {rule.severity.value}"
    if rule.proves:
        return f"proves a repair: {rule.proves}"
    ended = [each.fault_id for each in catalog.relations(rule.fault_id) if each.kind == "clears"]
    return f"ends {', '.join(ended)}" if ended else ""


def complain_in_pattern(complaints: Complaints, path: Path, pattern: object, message: str) -> None:
    """A column inside a pattern becomes a column of the file."""
    match = re.match(r"column ([0-9]+): (.*)", message, re.DOTALL)
    offset = 0
    if match is not None and isinstance(pattern, str):
        before = pattern[: int(match[1]) - 1]
        # behind a macro, columns are those of the pattern written out
        offset = 0 if "%{" in before else len(before)
    text = f"{message} (in {shown(pattern)})"
    complaints.inside(path, offset, text, PATTERN_HINT if match else "")


def _filled(source: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with what users may leave out; literals apart."""
    filled: dict[str, Any] = {
        "accuses": "node" if source == "kernel" else "nobody",
        "investigation": "Ask whoever wrote this rule: it is not a shipped one.",
        "sources": ["a rules file of this site"],
        "counter_examples": [],
        **row,
    }
    if row.get("severity") in [each.value for each in MILD]:
        filled.setdefault("remedy", Remedy.NONE.value)
    return filled


def _texts(names: object) -> dict[str, str]:
    """A rule's sources are told in its own words."""
    return (
        {each: each for each in names if isinstance(each, str)} if isinstance(names, list) else {}
    )
