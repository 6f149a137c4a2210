"""``konduktor-health policy``: is what a site wrote right, and what does it change?"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konduktor_health.errors import ConfigError
from konduktor_health.runtime.log import printable

if TYPE_CHECKING:
    from konduktor_health.adapters.rules_file import Judged

app = typer.Typer(help="Check what a site wrote.", no_args_is_help=True, rich_markup_mode=None)
_HINT = "each problem has line:column, the field, what is wrong with its value, and a hint"


class Output(StrEnum):
    """Forms of output."""

    TEXT = "text"
    JSON = "json"


@app.command("check")
def check(
    file: Annotated[list[Path], typer.Argument(help="Rules file (YAML).")],
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TEXT,
) -> None:
    """Check rules files: what each adds and overrides, or every problem with line and column.

    Exit code 2 when a file has a problem.
    """
    from konduktor_health.adapters.rules_file import judge, read_content  # loads RE2

    judged = [(path, judge(read_content(path))) for path in file]
    if output is Output.JSON:
        rows = {"files": [_as_json(path, each) for path, each in judged]}
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for path, each in judged:
            _show(path, each)
    found = {path: len(each.problems) + each.unsaid for path, each in judged if each.problems}
    if found:
        count = sum(found.values())
        names = ", ".join(str(path) for path in found)
        raise ConfigError(f"{count} problem{'s' if count > 1 else ''} in {names}", hint=_HINT)


def _show(path: Path, judged: Judged) -> None:
    """What a file changes on stdout, its problems on stderr."""
    for problem in judged.problems:
        print(printable(f"{path}:{problem}"), file=sys.stderr)
        if problem.hint:
            print(printable(f"  hint: {problem.hint}"), file=sys.stderr)
    if judged.unsaid:
        print(f"{printable(str(path))}: and {judged.unsaid} more problems", file=sys.stderr)
    if judged.problems:
        return
    typer.echo(printable(f"{path}: right"))
    for change in judged.changes:
        text = f": {change.text}" if change.text else ""
        typer.echo(printable(f"  {change.kind} {change.fault_id}{text}"))
    asked = _asked(judged)
    typer.echo(
        f"  the controller asks Loki for {asked['kernel']} texts of kernel lines "
        f"({asked['kernel_shipped']} without the file), {asked['pod']} of pods' "
        f"({asked['pod_shipped']})"
    )


def _asked(judged: Judged) -> dict[str, int]:
    """How many texts the controller's filters have, with and without the file."""
    from parsers import tables

    shipped = tables.recorded()
    return {
        "kernel": len(judged.recorded.literals),
        "kernel_shipped": len(shipped.literals),
        "pod": len(judged.recorded.pod_literals),
        "pod_shipped": len(shipped.pod_literals),
    }


def _as_json(path: Path, judged: Judged) -> dict[str, Any]:
    return {
        "file": str(path),
        "ok": not judged.problems,
        "problems": [problem.as_json() for problem in judged.problems],
        "more_problems": judged.unsaid,
        "changes": [
            {"kind": each.kind, "fault_id": each.fault_id, "text": each.text}
            for each in judged.changes
        ],
        "texts_asked": _asked(judged),
    }
