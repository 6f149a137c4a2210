"""Recorded outputs of network tools and of the kernel, and contexts in which checks read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from probes.backends.none import NoBackend
from probes.check import Check, Context, Finding, NodeFacts, ToolOutput
from probes.errors import BackendError
from tests.support.tool_output import Answer, ScriptedTool

FIXTURES = Path(__file__).parents[1] / "unit" / "probes" / "network" / "fixtures"
BOOT = "0" * 31 + "1"


def text(name: str) -> str:
    return (FIXTURES / name).read_text(encoding="utf-8")


def said(name: str, code: int = 0) -> ToolOutput:
    """A fixture as what a program said; ``.err`` is its standard error."""
    return (
        ToolOutput(code, "", text(name))
        if name.endswith(".err")
        else ToolOutput(code, text(name), "")
    )


def origins() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = json.loads(text("origins.json"))
    return loaded


def context(
    answers: Mapping[str, Sequence[Answer]] | None = None,
    *,
    root: Path | str = "/",
    node: NodeFacts | None = None,
    options: Mapping[str, str] | None = None,
    before: Mapping[str, object] | None = None,
    boot_id: str = BOOT,
) -> Context:
    return Context(
        backend=NoBackend(BackendError("no GPUs here")),
        tool=ScriptedTool(dict(answers or {})),
        root=str(root),
        node=node or NodeFacts(),
        options=options or {},
        before=before or {},
        boot_id=boot_id,
    )


def run(check: Check, its: Context) -> list[Finding]:
    return list(check.run(its))


def again(its: Context, **changes: object) -> dict[str, object]:
    """What the check finds in ``before`` the next time: as it comes from the disk."""
    kept: dict[str, object] = json.loads(json.dumps(its.keep, allow_nan=False))
    return kept | changes


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """A tree of small files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def adapters(fixture: str, changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """A fixture of ``path: value`` lines below sys/class/infiniband; None takes a file away."""
    lines = (line.partition(": ") for line in text(fixture).splitlines())
    files: dict[str, str | None] = {path: value for path, _, value in lines}
    files.update(changes or {})
    return {
        f"sys/class/infiniband/{path}": value + "\n"
        for path, value in files.items()
        if value is not None
    }
