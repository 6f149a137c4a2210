"""Does a label selector match these labels? Kubernetes' grammar: equality and set terms.

``k=v``, ``k==v``, ``k!=v``, ``k in (a, b)``, ``k notin (a, b)``, ``k``, ``!k``, separated by
commas; all terms must hold. As in Kubernetes ``!=`` and ``notin`` hold where the label is absent.
The empty selector matches everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_KEY = r"[A-Za-z0-9](?:[\w./-]{0,314}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?)?"
_TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<gone>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<equal>==|=|!=)\s*(?P<value>{_VALUE})"
    rf"|\s(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_ONE_VALUE = re.compile(_VALUE)


class SelectorError(ValueError):
    """The text is no label selector; the message names the place."""


@dataclass(frozen=True, slots=True)
class Term:
    """One requirement. ``values`` None: only whether the label is there is asked."""

    key: str
    wanted: bool  # False: != , notin, !k
    values: frozenset[str] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet this requirement."""
        if self.values is None:
            return (self.key in labels) is self.wanted
        return (labels.get(self.key) in self.values) is self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    """All of these terms."""

    terms: tuple[Term, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet all requirements."""
        return all(term.matches(labels) for term in self.terms)


def parse_selector(text: str) -> Selector:
    """Read a selector. Raises SelectorError with the part that cannot be read."""
    terms: list[Term] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TERM.match(text, position)
        if match is None or match.end() == position:
            raise SelectorError(f"not a label selector at {text[position : position + 60]!r}")
        terms.append(_term(match))
        position = match.end()
    if text.rstrip().endswith(","):
        raise SelectorError("a label selector ends with a comma")
    return Selector(tuple(terms))


def _term(match: re.Match[str]) -> Term:
    if match["absent"]:
        return Term(match["gone"], wanted=False)
    key = match["key"]
    if match["equal"]:
        return Term(key, match["equal"] != "!=", frozenset({match["value"]}))
    if match["set"]:
        values = [value.strip() for value in match["values"].split(",")]
        for value in values:
            if not _ONE_VALUE.fullmatch(value):
                raise SelectorError(f"not a label value: {value[:60]!r}")
        return Term(key, match["set"] == "in", frozenset(values))
    return Term(key, wanted=True)
