"""Which text does every match of this pattern contain? For rules that do not say so themselves.

A server-side filter and the matcher look for such texts. The walk knows the language of
``parsers.rule_pattern`` and takes only patterns that it finds nothing wrong with. What it cannot
see through (a class, a repeat, ``.``) ends a text. Invariant: each match contains one of the texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

#: Shortest text that is worth looking for, and longest that is looked for.
SHORTEST = 3
LONGEST = 64
#: Most groups of a pattern that is looked into: they may be nested, and the walk is recursive.
_GROUPS = 60
#: JSON escapes these, or a coloured line has its colours beside them: a text ends before them.
_SPLIT = re.compile(r"[:\]\"\\/<>&']")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\\\]])*\]")
_QUANTIFIER = re.compile(r"(?:[*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})\??")
_GROUP = re.compile(r"\((?:\?:|\?P<[a-z0-9_]{1,24}>)")

#: Texts of which each match contains one; None: there are none.
_AnyOf = tuple[str, ...] | None


def literals_of(patterns: Iterable[str]) -> list[list[str]]:
    """Groups of one literal each, as a rule has them; empty when a pattern has none.

    The patterns have their macros written out and no problem that ``problems_of`` knows.
    """
    found: list[list[str]] = []
    for pattern in patterns:
        needed = _any_of(_branches(pattern, 0)[0]) if pattern.count("(") <= _GROUPS else None
        if needed is None:
            return []
        found += [[text] for text in needed if [text] not in found]
    return found


@dataclass(slots=True)
class _Sequence:
    """What one alternative is made of, as far as it is fixed."""

    runs: list[str] = field(default_factory=lambda: [""])
    choices: list[tuple[str, ...]] = field(default_factory=list)

    def end_run(self) -> None:
        self.runs.append("")

    def needed(self) -> _AnyOf:
        parts = [part.strip()[:LONGEST].strip() for run in self.runs for part in _SPLIT.split(run)]
        candidates = [(part,) for part in parts if len(part) >= SHORTEST] + self.choices
        return max(candidates, key=_worth, default=None)


def _worth(texts: tuple[str, ...]) -> tuple[int, int]:
    """Longer texts are rarer; one is cheaper to look for than several."""
    return min(len(text) for text in texts), -len(texts)


def _branches(pattern: str, at: int) -> tuple[list[_Sequence], int]:
    """The alternatives of ``a|b|c`` from ``at`` on, and where their group or the pattern ends."""
    branches: list[_Sequence] = []
    while True:
        branch, at = _sequence(pattern, at)
        branches.append(branch)
        if pattern[at : at + 1] != "|":
            return branches, at
        at += 1


def _any_of(branches: list[_Sequence]) -> _AnyOf:
    every = [branch.needed() for branch in branches]
    texts = [text for needed in every for text in needed or ()]
    return None if None in every else tuple(dict.fromkeys(texts))


def _sequence(pattern: str, at: int) -> tuple[_Sequence, int]:
    found = _Sequence()
    while at < len(pattern) and pattern[at] not in "|)":
        if pattern[at] == "(":
            at = _group(pattern, at, found)
            continue
        character, at = _atom(pattern, at)
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is not None:
            at = quantifier.end()
            found.end_run()
        elif character is None:
            found.end_run()
        else:
            found.runs[-1] += character
    return found, at


def _atom(pattern: str, at: int) -> tuple[str | None, int]:
    """The character that stands at ``at`` ("" for an anchor, None for any of several)."""
    character = pattern[at]
    if character == "[":
        match = _CLASS.match(pattern, at)
        return None, match.end() if match else len(pattern)
    if character == "\\":
        escaped = pattern[at + 1 : at + 2]
        return (None if escaped.isalnum() else escaped), at + 2
    if character in "^$":
        return "", at + 1
    return (None if character == "." else character), at + 1


def _group(pattern: str, at: int, found: _Sequence) -> int:
    """Add what a group needs; a group without alternatives goes on with the text before it."""
    match = _GROUP.match(pattern, at)
    branches, end = _branches(pattern, match.end() if match else at + 1)
    quantifier = _QUANTIFIER.match(pattern, end + 1)
    if quantifier is None and len(branches) == 1:
        first, *others = branches[0].runs
        found.runs[-1] += first
        found.runs += others
        found.choices += branches[0].choices
        return end + 1
    needed = _any_of(branches)
    if needed is not None and (quantifier is None or _at_least_once(quantifier[0])):
        found.choices.append(needed)
    found.end_run()
    return quantifier.end() if quantifier else end + 1


def _at_least_once(quantifier: str) -> bool:
    bounds = re.match(r"\{([0-9]+)", quantifier)
    return int(bounds[1]) > 0 if bounds else quantifier[0] == "+"
