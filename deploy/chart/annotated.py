"""Which values does values.yaml have? Path, default and meaning, read from its comments.

A comment that begins with ``# --`` describes the key below it; that key is one value, whatever is
nested in it. A key without such a comment is a group of values, and has to be a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

_KEY = re.compile(r"( *)([A-Za-z]+):")


@dataclass(frozen=True, slots=True)
class Value:
    """One value: dotted path, default, meaning."""

    path: str
    default: Any
    meaning: str


def values(text: str) -> list[Value]:
    """All values of a values.yaml, in its order. Raises ValueError for one without a meaning."""
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    groups: list[tuple[int, str]] = []  # (indentation, key) of the groups that are open
    comment: list[str] = []
    inside: int | None = None  # indentation of the value whose content is being passed over
    for line in text.splitlines():
        match = _KEY.match(line)
        indentation = len(line) - len(line.lstrip())
        if inside is not None and (not line.strip() or indentation > inside):
            comment = []
            continue
        if line.lstrip().startswith("#"):
            comment.append(line.strip().lstrip("#").strip())
            continue
        if match is None:
            comment = []
            continue
        inside = None
        groups = [group for group in groups if group[0] < indentation]
        path = [key for _, key in groups] + [match[2]]
        if comment and comment[0].startswith("-- "):
            meaning = " ".join(comment)[3:]
            found.append(Value(".".join(path), _at(defaults, path), meaning))
            inside = indentation
        elif isinstance(_at(defaults, path), dict):
            groups.append((indentation, match[2]))
        else:
            raise ValueError(f"values.yaml: {'.'.join(path)} has no '# --' comment")
        comment = []
    return found


def _at(content: Mapping[str, Any], path: list[str]) -> Any:
    here: Any = content
    for key in path:
        here = here[key]
    return here
