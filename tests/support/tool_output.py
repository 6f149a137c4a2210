"""Recorded outputs of tools (tests/unit/probes/tools/fixtures), and a Tool that answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probes.check import ToolOutput
from probes.errors import ToolMissing

FIXTURES = Path(__file__).parents[1] / "unit" / "probes" / "tools" / "fixtures"


def text(name: str) -> str:
    """The text of a fixture."""
    return (FIXTURES / name).read_text(encoding="utf-8")


def output(name: str, returncode: int = 0) -> ToolOutput:
    """A fixture as stdout of a program that ended with ``returncode``."""
    return ToolOutput(returncode, text(name), "")


def origins() -> dict[str, dict[str, str]]:
    """Where each fixture is from."""
    loaded: dict[str, dict[str, str]] = json.loads(text("origins.json"))
    return loaded


Answer = ToolOutput | Exception | Callable[[tuple[str, ...]], ToolOutput]


@dataclass
class ScriptedTool:
    """Answers for each program (its name without the path), in order; the last one stays."""

    answers: dict[str, Sequence[Answer]]
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """As ``probes.check.Tool``; a program without answers is missing."""
        program = arguments[0].rsplit("/", 1)[-1]
        given = self.answers.get(program)
        if not given:
            raise ToolMissing(f"{program} is not on this node")
        earlier = sum(call[0].rsplit("/", 1)[-1] == program for call in self.calls)
        self.calls.append(arguments)
        answer = given[min(earlier, len(given) - 1)]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, ToolOutput) else answer(arguments)
