"""``konduktor-health policy test``: does a policy do what its author expects?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from konduktor_health.cli import options, policy_source
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.runtime.log import printable

if TYPE_CHECKING:
    from konduktor_health.policy.cases import Outcome
    from konduktor_health.policy.document import CasePart

_HINT = "tests: in the policy file, or a file with version: 1 and tests: given with --cases"


def command(
    file: Annotated[str, typer.Argument(help="Policy file, or name of a preset.")],
    cases: Annotated[
        list[Path] | None, typer.Option("--cases", help="File of cases.", show_default=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every case.")] = False,
    config: options.Config = None,
    rules: options.Rules = None,
) -> None:
    """Play cases: a fault, and the rule, mode or effect that is expected.

    Exit code 1 when a case fails, 2 when there are none or a file has a problem.
    """
    from konduktor_health.policy.cases import play
    from konduktor_health.policy.known import Known

    sources = policy_source.sources(config, rules)
    tested = sources.named(file)
    parts: list[tuple[str, Sequence[CasePart]]] = []
    if tested.document is not None and tested.document.tests:
        parts.append((tested.name, tested.document.tests))
    parts += [(str(path), _read(path)) for path in cases or ()]
    if not parts:
        raise ConfigError(f"{file}: there are no cases", hint=_HINT)
    failed = count = 0
    known = Known(sources.read)
    for name, part in parts:
        for outcome in play(tested.policy, part, known):
            count += 1
            failed += bool(outcome.wrong)
            if outcome.wrong or verbose:
                _tell(name, outcome)
    typer.echo(f"{count} cases, {failed} failed")
    if failed:
        raise HealthError(f"{failed} of {count} cases failed", hint="expected and got are above")


def _read(path: Path) -> Sequence[CasePart]:
    from konduktor_health.adapters.marked_yaml import read_content, summary
    from konduktor_health.adapters.policy_file import judge_cases

    content = read_content(path, what="cases file", hint="--cases")
    found, problems, unsaid = judge_cases(content)
    for problem in problems:
        print(printable(f"{path}:{problem}"), file=sys.stderr)
    if problems:
        raise ConfigError(summary(f"cases file {path}", problems, unsaid), hint=_HINT)
    return found


def _tell(name: str, outcome: Outcome) -> None:
    facts = outcome.facts
    about = [facts.fault_id, facts.severity.value, facts.trust.value]
    about += [f"device {facts.device}"] if facts.device else []
    about += [f"{key}={value}" for key, value in facts.labels.items()]
    got = ", ".join(f"{key} {value}" for key, value in outcome.got.items())
    typer.echo(printable(f"{name} case {outcome.number}: {' '.join(about)}: {got}"))
    for key, (wanted, found) in outcome.wrong.items():
        typer.echo(printable(f"  {key}: expected {wanted}, got {found}"))
