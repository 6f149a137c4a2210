"""What is wrong with a file that a site wrote, and where does it stand?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

#: So many problems of one file are told.
MOST_PROBLEMS = 100
#: Characters of a wrong value that are shown.
VALUE_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. ``line`` and ``column`` count from 1."""

    line: int
    column: int
    field: str  # path of the field, e.g. kernel[0].severity; "" for the file
    message: str  # what is wrong, with the value
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: "
        return where + (f"{self.field}: {self.message}" if self.field else self.message)

    def as_json(self) -> dict[str, Any]:
        """The problem as one JSON object."""
        return asdict(self)


class Malformed(ValueError):
    """The text is no YAML of the kind that is taken; carries the one Problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def shown(value: object) -> str:
    """A wrong value for a message: bounded, on one line, its kind where it is no single value."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def most(problems: Iterable[Problem]) -> tuple[tuple[Problem, ...], int]:
    """The problems that are told, in the order of the file and each once, and how many are not."""
    found = sorted(dict.fromkeys(problems), key=lambda each: (each.line, each.column))
    return tuple(found[:MOST_PROBLEMS]), max(0, len(found) - MOST_PROBLEMS)
