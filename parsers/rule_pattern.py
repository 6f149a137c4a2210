"""Is this pattern safe, and with which text does every match of it begin?

The language is the part that Python's ``re`` and RE2 read alike: literals, escapes of one
character, classes, ``(?:``, ``(?P<name>``, ``|``, ``?`` and ``{n}``, ``{n,m}``. No look-around, no
back-references, no flags, and (for patterns that run on ``re``) no repeat of something that repeats
and no repeat without an end, so that a line costs bounded time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

#: Longest repeat; RE2 itself ends at 1000.
REPEAT_LIMIT = 256
PATTERN_LIMIT = 1000

_ESCAPABLE = frozenset(r".\+*?()|[]{}^$-/#")
_CLASSES = frozenset("dwsDWS")
_GROUP = re.compile(r"\((?:\?:|\?P<([a-z][a-z0-9_]{0,23})>)")
_BOUNDS = re.compile(r"\{([0-9]{1,4})(?:,([0-9]{0,4}))?\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\\\]])*\]")


@dataclass(slots=True)
class _Group:
    repeats: bool = False  # something in it repeats a varying number of times


@dataclass(slots=True)
class _Scan:
    pattern: str
    bounded: bool
    at: int = 0
    groups: list[_Group] = field(default_factory=lambda: [_Group()])
    atom: _Group | None = None  # what a quantifier here would repeat
    names: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def complain(self, what: str) -> None:
        self.problems.append(f"column {self.at + 1}: {what}")


def problems_of(pattern: str, *, bounded: bool = True) -> list[str]:
    """What is wrong with a pattern, each with its column (from 1); empty when nothing is.

    ``bounded``: refuse ``*``, ``+``, ``{n,}`` and repeats of repeats, as for every pattern that
    runs on ``re``.
    """
    if not 0 < len(pattern) <= PATTERN_LIMIT:
        return [f"has {len(pattern)} characters, not 1 to {PATTERN_LIMIT}"]
    scan = _Scan(pattern, bounded)
    while scan.at < len(pattern) and not scan.problems:
        _step(scan)
    if not scan.problems and len(scan.groups) > 1:
        scan.complain("a group is not closed")
    if not scan.problems:
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            scan.complain(str(error))
    return scan.problems


def start_of(pattern: str) -> str:
    """The text with which every match begins; "" when the pattern does not fix it."""
    scan, start, fixed = _Scan(pattern, bounded=False), "", ""
    while scan.at < len(pattern) and not scan.problems:
        before = scan.at
        _step(scan)
        taken = pattern[before : scan.at]
        if not taken or taken[0] in "|[(.^$" or taken[1:] in _CLASSES:
            break
        if scan.atom is None:  # a quantifier: the character before it may be missing
            fixed = start
            break
        start, fixed = fixed, fixed + taken[-1]
    return "" if _alternatives(pattern) else fixed


def _alternatives(pattern: str) -> bool:
    depth, at = 0, 0
    while at < len(pattern):
        character = pattern[at]
        if character == "[" and (match := _CLASS.match(pattern, at)):
            at = match.end()
            continue
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            return True
        at += 2 if character == "\\" else 1
    return False


def _step(scan: _Scan) -> None:
    character = scan.pattern[scan.at]
    if character in "*+?{":
        _quantifier(scan)
    elif character == "(":
        _open(scan)
    elif character == ")":
        _close(scan)
    elif character == "[":
        match = _CLASS.match(scan.pattern, scan.at)
        if match is None:
            scan.complain("a class is not closed")
        else:
            _atom(scan, len(match[0]))
    elif character == "\\":
        _escape(scan)
    elif character in "^$|":
        scan.at += 1
        scan.atom = None
    elif character in "}]":
        scan.complain(f"{character} without its beginning")
    elif not (character.isascii() and character.isprintable()):
        scan.complain("not a printable ASCII character")
    else:
        _atom(scan, 1)


def _atom(scan: _Scan, length: int) -> None:
    scan.at += length
    scan.atom = _Group()


def _escape(scan: _Scan) -> None:
    following = scan.pattern[scan.at + 1 : scan.at + 2]
    if following.isdigit():
        scan.complain("back-reference")
    elif following in _ESCAPABLE or following in _CLASSES:
        _atom(scan, 2)
    else:
        scan.complain(f"escape \\{following} is not known to both engines")


def _open(scan: _Scan) -> None:
    match = _GROUP.match(scan.pattern, scan.at)
    if match is None:
        scan.complain("only (?:...) and (?P<name>...) are taken: no look-around, flags or numbers")
        return
    if match[1] in scan.names:
        scan.complain(f"{match[1]} is captured twice")
        return
    if match[1]:
        scan.names.add(match[1])
    scan.groups.append(_Group())
    scan.at, scan.atom = match.end(), None


def _close(scan: _Scan) -> None:
    if len(scan.groups) == 1:
        scan.complain(") without its beginning")
        return
    closed = scan.groups.pop()
    scan.groups[-1].repeats |= closed.repeats
    scan.at, scan.atom = scan.at + 1, closed


def _quantifier(scan: _Scan) -> None:
    match = _BOUNDS.match(scan.pattern, scan.at)
    sign = match[0] if match else scan.pattern[scan.at]
    if scan.atom is None:
        scan.complain(f"{sign} repeats nothing")
        return
    if sign == "{":
        scan.complain("{ is neither a repeat nor escaped")
        return
    low, high = _range(sign, match)
    if high is None and scan.bounded:
        scan.complain(f"{sign} has no end; use {{0,N}}")
    elif (high or low) > REPEAT_LIMIT:
        scan.complain(f"{sign} repeats more than {REPEAT_LIMIT} times")
    elif scan.bounded and scan.atom.repeats and high != 1:
        scan.complain(f"{sign} repeats something that repeats")
    scan.groups[-1].repeats |= (high != low and high != 1) or scan.atom.repeats
    scan.at += len(sign)
    if scan.pattern[scan.at : scan.at + 1] == "?":  # takes as little as it can
        scan.at += 1
    scan.atom = None


def _range(sign: str, match: re.Match[str] | None) -> tuple[int, int | None]:
    if match is None:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    low = int(match[1])
    if match[2] is None:
        return low, low
    return low, int(match[2]) if match[2] else None
