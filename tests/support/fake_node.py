"""A node with fake GPUs, as checks see it: facts from the fake backend, answers of tools from it or
from a script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState, clear, inject
from probes.backends.fake_tools import tool_for
from probes.check import Check, Context, Finding, NodeFacts, Outcome, Tool, ToolOutput
from probes.errors import ToolMissing


class NoTool:
    """A node on which no program is."""

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """Never there."""
        raise ToolMissing(f"there is no program {arguments[0]}")


@dataclass
class Recorder:
    """Passes on what a tool is asked and says, for the test to look at or to change."""

    real: Tool
    change: Callable[[tuple[str, ...], ToolOutput, int], ToolOutput] = field(
        default=lambda _arguments, output, _call: output
    )
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """As the real one."""
        output = self.real(arguments, deadline_s=deadline_s, input_text=input_text)
        self.calls.append(arguments)
        return self.change(arguments, output, len(self.calls))


class FakeNode:
    """Fake GPUs with faults that a test injects."""

    def __init__(self, folder: Path, model: str = "H100", count: int = 8) -> None:
        self._state = str(folder / "faults.json")
        self.backend = FakeBackend(model, count, state=FakeState(self._state))
        self.tool: Tool = tool_for(self.backend, NoTool())
        self.keep: dict[str, object] = {}

    def inject(self, gpu: int | str, **faults: object) -> str:
        """Returns the device of the GPU ("" of the node)."""
        inject(self._state, str(gpu), faults)
        return self.device(gpu) if isinstance(gpu, int) else ""

    def clear(self) -> None:
        """No fault any more."""
        clear(self._state)

    def device(self, gpu: int) -> str:
        """Of the GPU with that number."""
        return self.backend.pci_gpus()[gpu].device

    def context(self, tool: Tool | None = None, **options: str) -> Context:
        """What a check is given. What it keeps is there in the next one."""
        before, self.keep = self.keep, {}
        return Context(
            self.backend, tool or self.tool, options=options, before=before, keep=self.keep
        )

    def limited(self, thresholds: Mapping[str, float], **options: str) -> Context:
        """With thresholds of the controller."""
        return Context(
            self.backend, self.tool, options=options, node=NodeFacts(thresholds=thresholds)
        )


def outcomes(findings: Iterable[Finding]) -> dict[str, Outcome]:
    """By device; a device that is told twice fails the test."""
    found: dict[str, Outcome] = {}
    for finding in findings:
        assert finding.device not in found, finding
        found[finding.device] = finding.outcome
    return found


def only(findings: Iterable[Finding], device: str) -> Finding:
    """The one finding of a device."""
    (finding,) = [finding for finding in findings if finding.device == device]
    return finding


def run(check: Check, context: Context) -> list[Finding]:
    """All findings."""
    return list(check.run(context))


def edited(output: ToolOutput, edit: Callable[[dict[str, Any]], None], code: int) -> ToolOutput:
    """JSON output with a change, and its exit status."""
    document = json.loads(output.stdout)
    edit(document)
    return ToolOutput(code, json.dumps(document), output.stderr)
