"""What are the bytes of a file that a site wrote, and how are its first problems told?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from konduktor_health.adapters.marked_yaml.marked import SIZE_LIMIT
from konduktor_health.adapters.marked_yaml.problem import Problem
from konduktor_health.errors import ConfigError

_SUMMARY = 3


def read_content(path: Path, *, what: str, hint: str) -> bytes:
    """The bytes of a file, one more than are taken at most. ``what``: "rules file", for the
    message; ``hint``: where the path was given. Raises ConfigError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ConfigError(f"{what} {path}: not a file", hint=hint)
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:  # ValueError: an embedded NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{what} {path}: {reason}", hint=hint) from error


def summary(name: str, problems: Sequence[Problem], unsaid: int = 0) -> str:
    """The first problems of a file, in one line. ``unsaid``: so many more were not told."""
    told = "; ".join(str(problem) for problem in problems[:_SUMMARY])
    more = len(problems) + unsaid - _SUMMARY
    return f"{name}: {told}" + (f"; and {more} more" if more > 0 else "")
