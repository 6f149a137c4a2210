"""Does an object match? Label and field selectors as the API server parses them.

A parsed selector is a plain function from object to bool; parsing raises ApiError 400.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from konduktor_health.sandbox.kubeapi.status import Json, bad_request

Predicate = Callable[[Mapping[str, Any]], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!<>]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!]*)$")
_ORDER = re.compile(r"^(?P<key>[^\s=!<>]+)\s*(?P<op>[<>])\s*(?P<value>-?\d+)$")
_EXISTS = re.compile(r"^(?P<not>!?)\s*(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)$")
_COMMA = re.compile(r",(?![^()]*\))")  # commas inside a set do not separate requirements


def everything(_: Mapping[str, Any]) -> bool:
    """The empty selector."""
    return True


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object, possibly none."""
    return (obj.get("metadata") or {}).get("labels") or {}


def parse_labels(text: str) -> Predicate:
    """``a=b,c!=d,e in (f,g),h notin (i),j,!k``."""
    tests = [_requirement(part.strip()) for part in _COMMA.split(text) if part.strip()]
    if not tests:
        return everything
    return lambda obj: all(test(labels_of(obj)) for test in tests)


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(part):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    if found := _EQUAL.match(part):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _ORDER.match(part):
        return _ordered(found["key"], found["op"], int(found["value"]))
    if found := _EXISTS.match(part):
        key, absent = found["key"], bool(found["not"])
        return lambda labels: (key in labels) is not absent
    raise bad_request(f"unable to parse requirement: {part[:100]!r}")


def _ordered(key: str, op: str, bound: int) -> Callable[[Mapping[str, str]], bool]:
    def test(labels: Mapping[str, str]) -> bool:
        try:
            value = int(labels[key])
        except (KeyError, ValueError):
            return False
        return value > bound if op == ">" else value < bound

    return test


def parse_fields(text: str, supported: frozenset[str]) -> Predicate:
    """``metadata.name=x,status.phase!=Succeeded``; only ``supported`` names are allowed."""
    tests: list[tuple[list[str], bool, str]] = []
    for part in (p.strip() for p in text.split(",")):
        if not part:
            continue
        name, wanted, value = _split_field(part)
        if name not in supported:
            raise bad_request(f"field label not supported: {name[:100]}")
        tests.append((name.split("."), wanted, value))
    if not tests:
        return everything
    return lambda obj: all((_field(obj, path) == value) is want for path, want, value in tests)


def _split_field(part: str) -> tuple[str, bool, str]:
    for sign, wanted in (("!=", False), ("==", True), ("=", True)):
        name, found, value = part.partition(sign)
        if found:
            return name.strip(), wanted, value.strip()
    raise bad_request(f"invalid selector: {part[:100]!r}; can't understand {part[:100]!r}")


def _field(obj: Mapping[str, Any], path: list[str]) -> str:
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, Mapping):  # "source" selects by the component
        value = value.get("component")
    if value is None:
        return "false" if path[-1] == "unschedulable" else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def match_selector(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """A ``LabelSelector`` of an object (matchLabels, matchExpressions); None matches nothing."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(e, labels) for e in selector.get("matchExpressions") or [])


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
