"""What does an Xid 144 to 150 ask for? NVLink 5: unit, intrinfo, error status and the word.

The first word behind the link is the intrinfo; its unit number lies in bits 9 to 0 (layout 1,
before driver R575) or 6 to 0 (layout 2), a sub-reason in bits 25 to 20. The second word is the
error status. Rules of the printed unit apply when either layout fits. Without a rule, or in a
cut line, the word Fatal or Nonfatal decides; where rule and word disagree, the worse of them.
Why: docs/design/decoding.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from parsers.catalog import nvlink_rules
from parsers.fault import Remedy, Severity

if TYPE_CHECKING:
    from parsers.catalog.rules import Action, Unit, UnitRule

# Eight digits are whole; fewer only when something follows them: the line may be cut.
_WORD = r"(0x(?:[0-9a-f]{8}(?![0-9a-f])|[0-9a-f]{1,7}(?=[ ,)\]])))"
_LINE = re.compile(
    r"([a-z0-9_/]{1,47}(?: [a-z]{1,16})?) {1,8}(fatal|non-?fatal)"
    r"(?:\Z| {1,8}XC?\Z| {1,8}XC ?-?[0-9]{1,2}(?: i ?([0-9]{1,2}))?(?: {1,4}Link (-?[0-9]{1,3})"
    rf"(?: {{0,4}}[(\[] ?{_WORD}(?:,? ?{_WORD})?)?)?)",
    re.IGNORECASE,
)
_BY_WORD = {
    "fatal": (Severity.FATAL, Remedy.RESET_GPU),
    "nonfatal": (Severity.DEGRADED, Remedy.INSPECT),
}


def judge(code: int, body: str, detail: dict[str, str]) -> tuple[Severity, Remedy] | None:
    """Severity and remedy of what follows pid and name, or None when it is no such text.

    Fills ``detail``: ``unit``, ``word``, ``link``, ``nvlink_injected``, and where a rule applies
    ``status`` or ``reason``, ``rule``, ``look`` and ``disagree``.
    """
    match = _LINE.match(body)
    if match is None:
        return None
    unit, said, injected, link, intrinfo, status = match.groups()
    word = "fatal" if len(said) == len("fatal") else "nonfatal"
    detail["unit"] = unit
    detail["word"] = word
    if injected and int(injected):
        detail["nvlink_injected"] = str(int(injected))
    if link:
        detail["link"] = str(int(link))
    by_word = _BY_WORD[word]
    if not intrinfo:
        return by_word
    found = _found(code, unit.lower(), int(intrinfo, 16), int(status, 16) if status else None)
    action = found.action
    if action is None:
        return by_word
    if found.told:
        detail[found.by] = found.told
    detail["rule"] = action.name
    detail["look"] = found.look
    word_is_fatal = by_word[0] is Severity.FATAL
    if word_is_fatal != (action.severity is Severity.FATAL):
        detail["disagree"] = f"rule: {action.name}, line: {detail['word']}"
        return Severity.FATAL, Remedy.RESET_GPU
    if found.strange and by_word[0].rank < action.severity.rank:
        return by_word  # bits that no rule knows: the word stands for them
    return action.severity, action.remedy


class _Found:
    """The worst rule that fits, and what it was found by."""

    __slots__ = ("action", "by", "look", "strange", "told")

    def __init__(self) -> None:
        self.action: Action | None = None
        self.look = ""
        self.by = "status"
        self.told = ""
        self.strange = False  # status bits are set that no rule knows

    def add(self, unit: Unit, intrinfo: int, status: int | None) -> None:
        first = intrinfo & 0x3FF == unit.v1
        second = intrinfo & 0x7F == unit.v2
        reason = intrinfo >> 20 & 0x3F
        if not (first or second) or (reason and unit.by != "reason"):
            return
        promoted = bool(
            (first and intrinfo & unit.promoting_v1) or (second and intrinfo & unit.promoting_v2)
        )
        for rule in _fitting(unit, reason, status):
            action = rule.promoted if promoted and rule.promoted else rule.action
            if self.action is None or action.severity.rank < self.action.severity.rank:
                self.action, self.look = action, rule.look
        if unit.by == "reason":
            self.by, self.told = "reason", f"{reason:06b}"
        elif status is not None:
            self.told = f"{status:#x}"
            if unit.by == "bits":
                known = sum(rule.match or 0 for rule in unit.rules)
                self.strange = self.strange or bool(status & ~known)


@lru_cache(maxsize=1024)  # a link that fails repeats itself; nobody changes what was found
def _found(code: int, unit: str, intrinfo: int, status: int | None) -> _Found:
    found = _Found()
    for each in _units().get((code, unit), ()):
        found.add(each, intrinfo, status)
    return found


def _fitting(unit: Unit, reason: int, status: int | None) -> Iterator[UnitRule]:
    for rule in unit.rules:
        match = rule.match
        if match is None:
            yield rule
        elif unit.by == "reason":
            if match == reason:
                yield rule
        elif status is not None and (status & match if unit.by == "bits" else status == match):
            yield rule


@cache
def _units() -> dict[tuple[int, str], tuple[Unit, ...]]:
    """Units by Xid and by each way in which a line may print their names."""
    found: dict[tuple[int, str], list[Unit]] = {}
    for unit in nvlink_rules():
        names = sorted(unit.names)
        joint = {f"{a}/{b}" for a in names for b in names if a != b}
        for name in unit.names | joint:
            found.setdefault((unit.xid, name), []).append(unit)
    return {key: tuple(units) for key, units in found.items()}
