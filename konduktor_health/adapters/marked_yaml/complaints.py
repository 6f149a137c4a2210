"""How does a check say what is wrong with a part of a document? By path: its place is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from konduktor_health.adapters.marked_yaml.marked import Marked, Path, dotted
from konduktor_health.adapters.marked_yaml.problem import MOST_PROBLEMS, Problem

_FEW = 20
#: For so many problems a near name is looked for, which takes half a millisecond each.
_LOOKED_UP = 5 * MOST_PROBLEMS


@dataclass(slots=True)
class Complaints:
    """Problems of one document."""

    marked: Marked
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Something is wrong with a value, or with its key."""
        place = self.marked.key(path) if key else self.marked.place(path)
        self.problems.append(Problem(*place, dotted(path), message, hint))

    def inside(self, path: Path, offset: int, message: str, hint: str = "") -> None:
        """Something is wrong at a character of a text, which may stand otherwise in the file."""
        line, column = self.marked.place(path)
        column += offset if path in self.marked.verbatim else 0
        self.problems.append(Problem(line, column, dotted(path), message, hint))

    def unknown(self, path: Path, given: Iterable[str], known: Iterable[str]) -> None:
        """Complain about each key that is not among the known ones."""
        known = tuple(known)
        for name in given:
            if name not in known:
                self.add((*path, name), "no such field", self.like(name, known), key=True)

    def like(self, name: str, known: Iterable[str]) -> str:
        """What may have been meant, or what there is; "" once there are too many problems."""
        return "" if len(self.problems) > _LOOKED_UP else _like(name, tuple(known))


def _like(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name[:60], names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"one of {', '.join(names)}" if len(names) <= _FEW else ""
