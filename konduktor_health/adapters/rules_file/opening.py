"""May a match of this pattern begin with any text? Programs choose what stands in many lines.

For patterns of which ``parsers.rule_pattern`` finds nothing wrong. A class is any text when it has
both a blank and a letter: with such characters a match reaches over the kernel's own words.
"""

from __future__ import annotations

import re

_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\\\]])*\]")
_GROUP = re.compile(r"\((?:\?:|\?P<[a-z0-9_]{1,24}>)")
_REPEAT = re.compile(r"(?:[*+?]|\{([0-9]{1,4})(?:,[0-9]{0,4})?\})\??")


def begins_open(pattern: str) -> bool:
    """Whether one of the pattern's alternatives may begin with text of any kind."""
    return _alternatives(pattern, 0)[0]


def _alternatives(pattern: str, at: int) -> tuple[bool, bool, int]:
    """Whether one may begin so, whether one may be empty, and where their group ends."""
    is_open = empty = False
    beginning = True  # nothing that must be there was seen yet
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            empty, beginning, at = empty or beginning, True, at + 1
            continue
        any_text, missing, at = _atom(pattern, at)
        if repeat := _REPEAT.match(pattern, at):
            missing = missing or repeat[0][0] in "*?" or int(repeat[1] or 1) == 0
            at = repeat.end()
        is_open = is_open or (beginning and any_text)
        beginning = beginning and missing
    return is_open, empty or beginning, at


def _atom(pattern: str, at: int) -> tuple[bool, bool, int]:
    """Whether it may be text of any kind, whether it may be empty, and where it ends."""
    if group := _GROUP.match(pattern, at):
        is_open, empty, end = _alternatives(pattern, group.end())
        return is_open, empty, end + 1
    if of := _CLASS.match(pattern, at):
        wide = all(re.match(of[0], character) for character in " a")
        return wide or of[0].startswith("[^"), False, of.end()
    if pattern[at] == "\\":
        return pattern[at + 1] in "DSW", False, at + 2
    return pattern[at] == ".", pattern[at] in "^$", at + 1
