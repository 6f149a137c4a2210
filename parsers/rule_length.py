"""How short can a text be that this pattern fits?

For patterns of the language of ``parsers.rule_pattern``, of which ``problems_of`` finds nothing
wrong. A pattern that fits short texts fits what programs may choose, such as a process name.
"""

from __future__ import annotations

import re

_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\\\]])*\]")
_OPEN = re.compile(r"\((?:\?:|\?P<[a-z0-9_]{1,24}>)?")
_REPEAT = re.compile(r"(?:([*?])|(\+)|\{([0-9]{1,4})(?:,[0-9]{0,4})?\})\??")


def shortest(pattern: str) -> int:
    """Characters of the shortest text that the pattern fits. Raises ValueError for one that
    ``problems_of`` would complain about."""
    length, end = _alternatives(pattern, 0)
    if end != len(pattern):
        raise ValueError(f"column {end + 1}: a group is closed that was not opened")
    return length


def _alternatives(pattern: str, at: int) -> tuple[int, int]:
    """The least length of what stands up to the end of the group, and where that is."""
    best, length = None, 0
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            best = length if best is None else min(best, length)
            length, at = 0, at + 1
            continue
        one, at = _atom(pattern, at)
        if repeat := _REPEAT.match(pattern, at):
            one *= 0 if repeat[1] else int(repeat[3] or 1)
            at = repeat.end()
        length += one
    return (length if best is None else min(best, length)), at


def _atom(pattern: str, at: int) -> tuple[int, int]:
    character = pattern[at]
    if character == "(" and (opened := _OPEN.match(pattern, at)):
        length, end = _alternatives(pattern, opened.end())
        if end >= len(pattern):
            raise ValueError(f"column {at + 1}: a group is not closed")
        return length, end + 1
    if character == "[" and (found := _CLASS.match(pattern, at)):
        return 1, found.end()
    if character in "^$":
        return 0, at + 1
    if character == "\\":
        return (0 if pattern[at + 1 : at + 2] in ("b", "B") else 1), at + 2
    return 1, at + 1
