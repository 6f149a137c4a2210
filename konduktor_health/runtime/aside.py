"""What if a part has a bug that only adds to what is known? It is told, and the rest goes on.

For parts without which a decision is still right: reboots, silence, domains. A part that a decision
rests on must not be asked in this way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from loguru import logger

T = TypeVar("T")


@dataclass(slots=True)
class Aside:
    """Asks parts, and tells of each bug once until the part is well again."""

    _told: dict[str, str] = field(default_factory=dict)

    def ask(self, what: str, ask: Callable[[], T], instead: T) -> T:
        """The answer of a part, or ``instead`` of one."""
        try:
            answer = ask()
        except Exception as error:
            if self._told.get(what) != repr(error):
                self._told[what] = repr(error)
                logger.opt(exception=error).error(f"bug: {what} left out: {error!r}")
            return instead
        self._told.pop(what, None)
        return answer
