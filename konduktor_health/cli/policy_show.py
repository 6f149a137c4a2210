"""``konduktor-health policy show``: the policy that comes out, rules in order."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konduktor_health.cli import options, policy_source
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.log import printable

if TYPE_CHECKING:
    from konduktor_health.cli.policy_source import Named
    from konduktor_health.treatment import Rule


class Output(StrEnum):
    """Forms of output."""

    YAML = "yaml"
    JSON = "json"
    TABLE = "table"


def command(
    file: Annotated[
        Path | None,
        typer.Argument(help="Policy file; left out: what the settings make.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Show a preset.", show_default=False)
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.YAML,
    config: options.Config = None,
    rules: options.Rules = None,
) -> None:
    """Show a policy as it takes effect: every rule in order, every limit.

    YAML and JSON are a policy file that makes the same policy, whatever the settings and presets
    are. Exit code 2 when the file has a problem.
    """
    if file is not None and preset is not None:
        raise ConfigError("name a file, or a preset", hint="policy show FILE, or --preset NAME")
    sources = policy_source.sources(config, rules)
    if preset is not None:
        shown = sources.named(preset)
        if shown.document is not None:
            raise ConfigError(f"{preset}: no preset, but a file", hint="policy show FILE")
    else:
        shown = sources.in_use() if file is None else sources.file(file)
    if output is Output.TABLE:
        _table(shown)
    else:
        typer.echo(_written(shown, output), nl=False)


def _written(shown: Named, output: Output) -> str:
    from konduktor_health.policy.writing import as_document

    document = as_document(shown.policy)
    if output is Output.JSON:
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    import yaml

    text: str = yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
    )
    return (
        f"# {printable(shown.name)}, as it takes effect; the rule operator comes before these\n"
        + text
    )


def _table(shown: Named) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=None)
    for name in ("rule", "matches", "mode", "effect", "repeat", "clears", "decay"):
        table.add_column(name, overflow="fold")
    for rule in shown.policy.rules:
        table.add_row(*map(_plain, row(rule)))
    Console().print(table)


def row(rule: Rule) -> tuple[str, ...]:
    """A rule as the cells of a table."""
    from konduktor_health.policy.durations import written
    from konduktor_health.policy.writing import as_match
    from konduktor_health.treatment import Mode

    treatment = rule.treatment
    acts = treatment.mode is Mode.ACT
    repeat = treatment.repeat
    return (
        rule.name,
        "; ".join(f"{key} {_words(value)}" for key, value in as_match(rule.match).items())
        or "everything",
        treatment.mode.value,
        treatment.effect.value if acts else "",
        "" if repeat is None else f"{repeat.count} within {written(repeat.within_s)}",
        clears(rule),
        "" if treatment.decay_s is None else str(written(treatment.decay_s)),
    )


def clears(rule: Rule) -> str:
    """What ends a record, in words."""
    from konduktor_health.policy.durations import written

    clear = rule.treatment.clear
    if clear.operator:
        return "a person"
    parts = [] if clear.repair.value == "nothing" else [f"repair: {clear.repair.value}"]
    parts += [
        f"{need.name} x{need.times}{' under load' if need.under_load else ''}"
        for need in clear.probes
    ]
    parts.append(f"quiet {written(clear.quiet_s)}")
    return ", ".join(parts) + ("; without agents no probes" if clear.log_only else "")


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(printable(text))
