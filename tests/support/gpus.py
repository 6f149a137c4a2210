"""A node of fake GPUs for tests: inject a fault, run a check, look at its findings."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from probes.backends.base import GpuBackend
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState, clear, inject
from probes.check import Check, Context, Finding, NodeFacts, Outcome, Tool, ToolOutput
from probes.errors import CheckError, Skipped, ToolMissing

BOOT = "0123456789abcdef0123456789abcdef"


class NoTool:
    """A node without any program."""

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        raise ToolMissing(arguments[0])


class Clock:
    """Seconds that a test moves."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Node:
    """Fake GPUs whose faults a test sets, and what checks keep between runs."""

    def __init__(self, model: str = "H100", count: int = 8) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fake-gpus-"))
        self.state = str(self.folder / "state.json")
        self.clock = Clock()
        self.backend = FakeBackend(model, count, state=FakeState(self.state), clock=self.clock)
        self.options: dict[str, str] = {"again_s": "0"}
        self.facts = NodeFacts()
        self.boot_id = BOOT
        self.kept: dict[str, dict[str, object]] = {}

    def close(self) -> None:
        shutil.rmtree(self.folder)

    def inject(self, gpu: int | str, **faults: object) -> None:
        inject(self.state, str(gpu), faults, now=self.clock())

    def clear(self, gpu: int | str = "", *faults: str) -> None:
        clear(self.state, str(gpu), faults)

    @property
    def devices(self) -> list[str]:
        return [gpu.device for gpu in FakeBackend(self.backend.model.names[0], 8).gpus()]

    def run(self, check: Check, backend: GpuBackend | None = None) -> list[Finding]:
        """All findings, as the runner has them; what the check keeps is there the next time."""
        context = Context(
            backend=backend or self.backend,
            tool=no_tool(),
            node=self.facts,
            options=self.options,
            before=self.kept.get(check.spec.name, {}),
            boot_id=self.boot_id,
        )
        findings = run(check, context)
        self.kept[check.spec.name] = json.loads(json.dumps(context.keep))
        return findings

    def of(self, check: Check, gpu: int) -> Finding:
        """The finding of one GPU."""
        (finding,) = [each for each in self.run(check) if each.device == self.devices[gpu]]
        return finding


def no_tool() -> Tool:
    return NoTool()


def run(check: Check, context: Context) -> list[Finding]:
    """What the runner would have: a skip for Skipped, an error for what a check raises."""
    try:
        return list(check.run(context))
    except Skipped as reason:
        return [Finding(Outcome.SKIP, str(reason))]
    except CheckError as error:
        return [Finding(Outcome.ERROR, str(error))]


def outcomes(findings: list[Finding]) -> dict[str, Outcome]:
    """By device."""
    return {finding.device: finding.outcome for finding in findings}


def values(finding: Finding) -> dict[str, float]:
    """Measurements by name."""
    return {each.name: each.value for each in finding.measurements}
