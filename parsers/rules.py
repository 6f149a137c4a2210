"""Which rule of a table fits this message? Rules for everything that has no code of its own.

A rule is data (``catalog/kernel.json``, ``catalog/pod.json``; a user's file has the same form): an
anchored pattern decides, its captures name the device. ``RuleSet.match`` looks at few rules only:
those of which the text has both the beginning and a literal. ``match_slowly`` tries every pattern
and is what the fast way is proved by.

Invariants:
- Any text that a rule fits contains all literals of one of the rule's groups.
- Only the first ``HEAD_LIMIT`` characters of a kernel message count (the kernel prints no longer
  ones), so that the cost of a line is bounded; nothing raises, whatever the text is.
- The first rule that fits names the Fault.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from parsers.device import normalise
from parsers.fault import Fault, Remedy, Severity
from parsers.printable import printable
from parsers.rule_pattern import start_of

VERSION = 1
#: A kernel record is at most 1024 bytes long, prefix included (LOG_LINE_MAX in Linux).
HEAD_LIMIT = 1024
#: What of a pod's line is looked at; training launchers put their prefixes in front.
POD_LIMIT = 8192
#: What a marker may prove.
PROOFS = ("driver-loaded", "gpu-reset")
#: Longest capture that a Fault keeps, in characters.
CAPTURE_LIMIT = 64
#: By so many first characters a message is told which rules may fit it.
_START = 3

_MACRO = re.compile(r"%\{([a-z_]{1,24})\}")


class Found(Protocol):
    """What a compiled pattern found."""

    def groupdict(self) -> dict[str, str | None]:
        """Captures by name; None for one that took no part."""


class Pattern(Protocol):
    """A compiled pattern, of ``re`` or of google-re2."""

    def match(self, text: str, /) -> Found | None:
        """Whether the text begins so."""

    def search(self, text: str, /) -> Found | None:
        """Whether it stands anywhere in the text."""


Compile = Callable[[str], Pattern]


@dataclass(frozen=True, slots=True)
class Example:
    """A message that a rule fits, and what it then says."""

    text: str
    device: str
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a table of rules."""

    fault_id: str
    literals: tuple[tuple[str, ...], ...]  # groups; a text has all of one group
    patterns: tuple[str, ...]  # macros expanded
    severity: Severity
    remedy: Remedy
    accuses: str  # node, peer or nobody
    meaning: str
    investigation: str
    sources: tuple[str, ...]  # project and document
    device: str = "device"  # the capture that names what is broken
    printed_by: str = "kernel"  # or "program": then it is no statement of the kernel
    noise: str = ""  # why such a line says nothing; "" when it says something
    note: str = ""  # duplicates, companions, repeats
    observe: str = ""  # what may make it wrong: then it is recorded, and taints nothing by default
    proves: str = ""  # which repair has been done ("driver-loaded", "gpu-reset"), if it is a marker
    examples: tuple[Example, ...] = ()
    counter_examples: tuple[str, ...] = ()


class RuleSet:
    """Rules in their order. ``source`` is kernel (anchored at the start) or pod (anywhere)."""

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        source: str = "kernel",
        compile_pattern: Compile = re.compile,
    ) -> None:
        self.rules = tuple(rules)
        self._by_id = {rule.fault_id: rule for rule in reversed(self.rules)}
        self.source = source
        self._anchored = source == "kernel"
        self._limit = HEAD_LIMIT if self._anchored else POD_LIMIT
        self._compile = compile_pattern
        self._compiled: dict[str, tuple[Pattern, ...]] = {}
        self._any_start, self._by_start = self._index()

    @property
    def literals(self) -> tuple[str, ...]:
        """For a server-side filter: any text that a rule fits contains one of these.

        The first of each group; none contains another.
        """
        chosen = {group[0] for rule in self.rules for group in rule.literals}
        ordered = sorted(chosen, key=lambda literal: (len(literal), literal))
        kept: list[str] = []
        for literal in ordered:
            if not any(shorter in literal for shorter in kept):
                kept.append(literal)
        return tuple(kept)

    def rule(self, fault_id: str) -> Rule | None:
        """The rule of a fault id, or None."""
        return self._by_id.get(fault_id)

    def where(self, keep: Callable[[Rule], bool]) -> RuleSet:
        """Some of the rules, in their order: fewer literals make a cheaper filter."""
        kept = (rule for rule in self.rules if keep(rule))
        return RuleSet(kept, source=self.source, compile_pattern=self._compile)

    def without_noise(self) -> RuleSet:
        """The rules whose lines say something."""
        return self.where(lambda rule: not rule.noise)

    def without_info(self) -> RuleSet:
        """The rules whose lines say more than info: what can change what happens to a node."""
        return self.where(lambda rule: rule.severity is not Severity.INFO)

    def match(self, text: str) -> Fault | None:
        """The Fault of one unwrapped message, without its place and time; or None."""
        text = text[: self._limit]
        candidates: tuple[_Candidate, ...] = ()
        for literal, those in self._by_start.get(text[:_START], self._any_start):
            if literal in text:
                candidates += those
        if not candidates:
            return None
        tried = -1
        for position, literals, rule in sorted(candidates, key=_position):
            if position == tried or not all(literal in text for literal in literals):
                continue
            tried = position
            fault = self._try(rule, text)
            if fault is not None:
                return fault
        return None

    def match_slowly(self, text: str) -> Fault | None:
        """The same, by every pattern of every rule."""
        text = text[: self._limit]
        for rule in self.rules:
            fault = self._try(rule, text)
            if fault is not None:
                return fault
        return None

    def _index(self) -> tuple[_Index, dict[str, _Index]]:
        """Which rules may fit a text that begins so; beginnings are known of kernel rules only."""
        anywhere: list[_Candidate] = []
        starting: dict[str, list[_Candidate]] = {}
        for position, rule in enumerate(self.rules):
            candidates = [(position, group, rule) for group in rule.literals]
            starts = {start_of(pattern)[:_START] for pattern in rule.patterns}
            if self._anchored and all(len(start) == _START for start in starts):
                for start in starts:
                    starting.setdefault(start, []).extend(candidates)
            else:
                anywhere += candidates
        by_start = {start: _by_literal(anywhere + those) for start, those in starting.items()}
        return _by_literal(anywhere), by_start

    def _try(self, rule: Rule, text: str) -> Fault | None:
        patterns = self._compiled.get(rule.fault_id)
        if patterns is None:  # compiled when first needed: most rules never are
            patterns = tuple(self._compile(pattern) for pattern in rule.patterns)
            self._compiled[rule.fault_id] = patterns
        for pattern in patterns:
            found = pattern.match(text) if self._anchored else pattern.search(text)
            if found is not None:
                return _fault(rule, found.groupdict())
        return None


#: A rule, its place in the table, and the literals of one of its groups.
_Candidate = tuple[int, tuple[str, ...], Rule]
#: The first literal of groups, and whose they are.
_Index = tuple[tuple[str, tuple[_Candidate, ...]], ...]


def _position(candidate: _Candidate) -> int:
    return candidate[0]


def _by_literal(candidates: Iterable[_Candidate]) -> _Index:
    found: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        found.setdefault(candidate[1][0], []).append(candidate)
    return tuple((literal, tuple(those)) for literal, those in found.items())


def _fault(rule: Rule, captures: Mapping[str, str | None]) -> Fault:
    detail = {name: printable(value, CAPTURE_LIMIT) for name, value in captures.items() if value}
    device = detail.pop(rule.device, "")
    if rule.device == "device" and device:
        address = normalise(device)
        device = address.device if address else ""
        if address and address.function:
            detail["function"] = address.function
    return Fault(rule.fault_id, rule.severity, rule.remedy, device=device, detail=detail)


@cache
def kernel_rules() -> RuleSet:
    """The shipped rules on kernel messages. Raises OSError or ValueError for a damaged file."""
    return read_rules("kernel.json")


@cache
def pod_rules() -> RuleSet:
    """The shipped rules on pods' logs. Raises OSError or ValueError for a damaged file."""
    return read_rules("pod.json")


def read_rules(name: str) -> RuleSet:
    """The rules of a data file in ``catalog``."""
    path = os.path.join(os.path.dirname(__file__), "catalog", name)
    with open(path, encoding="utf-8") as file:
        return rules_of(json.load(file))


def rules_of(data: Mapping[str, Any], *, compile_pattern: Compile = re.compile) -> RuleSet:
    """The rules of a decoded file that ``parsers.rule_check.check_rules`` finds nothing wrong with.

    Raises KeyError, TypeError or ValueError for one that it would complain about.
    """
    macros, sources = data.get("macros", {}), data["sources"]
    rules = (_rule(row, macros, sources) for row in data["rules"])
    return RuleSet(rules, source=data["source"], compile_pattern=compile_pattern)


def expand(pattern: str, macros: Mapping[str, str]) -> str:
    """The pattern with its macros (``%{pci}``) written out. Raises KeyError for an unknown one."""
    return _MACRO.sub(lambda match: macros[match[1]], pattern)


def _rule(row: Mapping[str, Any], macros: Mapping[str, str], sources: Mapping[str, str]) -> Rule:
    return Rule(
        fault_id=row["fault_id"],
        literals=tuple(tuple(group) for group in row["literals"]),
        patterns=tuple(expand(pattern, macros) for pattern in row["patterns"]),
        severity=Severity(row["severity"]),
        remedy=Remedy(row["remedy"]),
        accuses=row["accuses"],
        meaning=row["meaning"],
        investigation=row["investigation"],
        sources=tuple(sources[key] for key in row["sources"]),
        device=row.get("device", "device"),
        printed_by=row.get("printed_by", "kernel"),
        noise=row.get("noise", ""),
        note=row.get("note", ""),
        observe=row.get("observe", ""),
        proves=row.get("proves", ""),
        examples=tuple(
            Example(each["text"], each.get("device", ""), each.get("detail", {}))
            for each in row["examples"]
        ),
        counter_examples=tuple(row["counter_examples"]),
    )
