"""``konduktor-health replay``: what would a policy have done over this past? Writes nothing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.errors import ConfigError

MOST_NODES = 100_000


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    SUMMARY = "summary"
    JSON = "json"
    CSV = "csv"


def command(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Log files, packed or not, merged by time; - (the default) is stdin.",
            show_default=False,
        ),
    ] = None,
    loki: Annotated[bool, typer.Option("--loki", help="Read Loki instead of files.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", help="From so long ago on: 6h, 30d. With --loki: 1d.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="From this time on (RFC 3339).")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="Up to this time (RFC 3339); default: the last line, or now."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Policy file.", show_default=False)
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Policy preset instead of a file.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="Play another policy beside it: a preset, or a file."),
    ] = None,
    nodes: Annotated[
        Path | None,
        typer.Option("--nodes", help="The nodes: kubectl get nodes -o json.", show_default=False),
    ] = None,
    fleet_size: Annotated[
        int,
        typer.Option(
            "--fleet-size", min=0, max=MOST_NODES, help="At least so many nodes are managed."
        ),
    ] = 0,
    reset_after: Annotated[
        str | None,
        typer.Option("--reset-after", help="Assume a reset of what is tainted so long: 4h."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output-file", help="Write it there, and the sums to stdout.", show_default=False
        ),
    ] = None,
    rules: options.Rules = None,
    config: options.Config = None,
    log_endpoint: options.LogEndpoint = None,
) -> None:
    """Play a policy over history and print what it would have done, and when. Writes no Node.

    Reads what scan reads. The loop, the decisions and the budgets are the controller's own; the
    clock and the Nodes are made up. Says what the history cannot tell. Exit code 2 where not all
    could be read.
    """
    if loki and files:
        raise ConfigError("--loki and log files", hint="one or the other")
    from konduktor_health.cli.replay_run import Asked, run  # loads the loop

    run(
        Asked(
            settings=options.load(config, log_endpoint=log_endpoint),
            files=None if loki else files or [],
            since=since,
            start=start,
            end=end,
            policy=policy,
            preset=preset,
            compare=compare,
            nodes=nodes,
            fleet_size=fleet_size,
            reset_after=reset_after,
            rules=rules,
        ),
        output.value,
        output_file,
    )
