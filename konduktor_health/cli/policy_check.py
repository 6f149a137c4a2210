"""``konduktor-health policy check``: every problem of a rules file or a policy file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konduktor_health.cli import options
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.log import printable

if TYPE_CHECKING:
    from konduktor_health.adapters import policy_file, rules_file
    from konduktor_health.adapters.marked_yaml import Problem
    from parsers.tables import Tables

_HINT = "each problem has line:column, the field, what is wrong with its value, and a hint"


class Output(StrEnum):
    """Forms of output."""

    TEXT = "text"
    JSON = "json"


class Kind(StrEnum):
    """Kinds of files."""

    AUTO = "auto"
    RULES = "rules"
    POLICY = "policy"


def command(
    file: Annotated[list[Path], typer.Argument(help="Rules file or policy file (YAML).")],
    kind: Annotated[
        Kind, typer.Option("--kind", help="What the files are; auto: by their keys.")
    ] = Kind.AUTO,
    rules: options.Rules = None,
    config: options.Config = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TEXT,
) -> None:
    """Check rules files and policy files: what each says, or every problem with line and column.

    Policy files may name the faults of the rules file given with --rules. With --config they are
    warned about what will not do what it says with these settings. Exit code 2 when a file has a
    problem.
    """
    runs = config is None or options.load(config).probes.run_invasive
    judged = options.rules(rules)
    read = None if judged is None else judged.recorded
    found = [_checked(path, kind, read, runs_invasive=runs) for path in file]
    if output is Output.JSON:
        rows = {"files": [each.as_json() for each in found]}
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for each in found:
            each.show()
    wrong = {each.path: each.count for each in found if each.count}
    if wrong:
        count = sum(wrong.values())
        names = ", ".join(str(path) for path in wrong)
        raise ConfigError(f"{count} problem{'s' if count > 1 else ''} in {names}", hint=_HINT)


def _checked(
    path: Path, kind: Kind, read: Tables | None, *, runs_invasive: bool
) -> _Rules | _Policy:
    from konduktor_health.adapters.marked_yaml import read_content

    content = read_content(path, what="file", hint="a rules file or a policy file")
    if kind is Kind.AUTO:
        kind = _kind_of(content)
    if kind is Kind.RULES:
        from konduktor_health.adapters import rules_file  # loads RE2

        return _Rules(path, rules_file.judge(content))
    from konduktor_health.adapters import policy_file

    reader = policy_file.Reader(read=read, runs_invasive=runs_invasive)
    return _Policy(path, reader.judge(content), read)


def _kind_of(content: bytes) -> Kind:
    """By the keys at the top; a file that cannot be read, or says nothing, is a rules file."""
    from konduktor_health.adapters.marked_yaml import Malformed, read_marked
    from konduktor_health.policy import PolicyDocument

    try:
        value = read_marked(content, times_are_texts=True).value
    except Malformed:
        return Kind.RULES
    keys = set(value) if isinstance(value, dict) else set()
    if keys & {"kernel", "pod", "entries", "macros"}:
        return Kind.RULES
    return Kind.POLICY if keys & (set(PolicyDocument.model_fields) - {"version"}) else Kind.RULES


def _tell(path: Path, problems: Sequence[Problem], unsaid: int) -> None:
    """Problems on stderr."""
    for problem in problems:
        print(printable(f"{path}:{problem}"), file=sys.stderr)
        if problem.hint:
            print(printable(f"  hint: {problem.hint}"), file=sys.stderr)
    if unsaid:
        print(f"{printable(str(path))}: and {unsaid} more problems", file=sys.stderr)


class _Rules:
    """A rules file that was judged."""

    def __init__(self, path: Path, judged: rules_file.Judged) -> None:
        self.path = path
        self._judged = judged
        self.count = len(judged.problems) + judged.unsaid

    def show(self) -> None:
        """What it changes on stdout, its problems on stderr."""
        judged = self._judged
        _tell(self.path, judged.problems, judged.unsaid)
        if judged.problems:
            return
        typer.echo(printable(f"{self.path}: right"))
        for change in judged.changes:
            text = f": {change.text}" if change.text else ""
            typer.echo(printable(f"  {change.kind} {change.fault_id}{text}"))
        asked = self._asked()
        typer.echo(
            f"  the controller asks Loki for {asked['kernel']} texts of kernel lines "
            f"({asked['kernel_shipped']} without the file), {asked['pod']} of pods' "
            f"({asked['pod_shipped']})"
        )

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        judged = self._judged
        return {
            "file": str(self.path),
            "kind": Kind.RULES.value,
            "ok": not judged.problems,
            "problems": [problem.as_json() for problem in judged.problems],
            "more_problems": judged.unsaid,
            "changes": [
                {"kind": each.kind, "fault_id": each.fault_id, "text": each.text}
                for each in judged.changes
            ],
            "texts_asked": self._asked(),
        }

    def _asked(self) -> dict[str, int]:
        """How many texts the controller's filters have, with and without the file."""
        from parsers import tables

        shipped = tables.recorded()
        return {
            "kernel": len(self._judged.recorded.literals),
            "kernel_shipped": len(shipped.literals),
            "pod": len(self._judged.recorded.pod_literals),
            "pod_shipped": len(shipped.pod_literals),
        }


class _Policy:
    """A policy file that was judged."""

    def __init__(self, path: Path, judged: policy_file.Judged, read: Tables | None) -> None:
        self.path = path
        self._judged = judged
        self._read = read
        self.count = len(judged.problems) + judged.unsaid

    def show(self) -> None:
        """What it comes to on stdout, its problems on stderr."""
        judged = self._judged
        _tell(self.path, judged.problems, judged.unsaid)
        if judged.problems or judged.document is None:
            return
        typer.echo(printable(f"{self.path}: right"))
        document = judged.document
        for warning in judged.warnings:
            print(printable(f"{self.path}:{warning} (warning)"), file=sys.stderr)
            print(printable(f"  hint: {warning.hint}"), file=sys.stderr)
        typer.echo(
            f"  {len(document.rules)} rules before those of the preset {document.preset.value};"
            f" {len(judged.policy.rules)} in all"
        )
        changed = self._changed()
        typer.echo(f"  {changed} known faults are treated otherwise than by the preset default")
        for rule, severity, count in self._doubtful():
            typer.echo(f"  rule {rule} acts on {count} {severity} faults, by log lines alone")

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        judged, right = self._judged, not self._judged.problems
        document = judged.document
        return {
            "file": str(self.path),
            "kind": Kind.POLICY.value,
            "ok": right,
            "problems": [problem.as_json() for problem in judged.problems],
            "more_problems": judged.unsaid,
            "warnings": [warning.as_json() for warning in judged.warnings],
            "preset": document.preset.value if right and document else None,
            "rules": [rule.name for rule in judged.policy.rules] if right else [],
            "faults_changed": self._changed() if right else None,
            "acts_on_doubt": [
                {"rule": rule, "severity": severity, "faults": count}
                for rule, severity, count in (self._doubtful() if right else ())
            ],
        }

    def _changed(self) -> int:
        from konduktor_health.model import Policy
        from konduktor_health.policy.comparing import differences
        from konduktor_health.policy.known import Known

        return len(differences(Policy(), self._judged.policy, Known(self._read)))

    def _doubtful(self) -> tuple[tuple[str, str, int], ...]:
        from konduktor_health.policy.comparing import acts_on_doubt
        from konduktor_health.policy.known import Known

        return acts_on_doubt(self._judged.policy, Known(self._read))
