"""``konduktor-health status``: who is not healthy or held, why, and how much may be done.

Reads Nodes, and the controller's stored state where it may; writes nothing. Exit code 0 whatever
the verdicts are; 1 when a named node does not exist or is not managed (the others are shown all
the same).
"""

from __future__ import annotations

import json
from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from konduktor_health.cli import options, policy_source
from konduktor_health.cli.status_rows import Choice, Fleet, fleet_as_json, shown, survey, unknown
from konduktor_health.cli.status_show import print_fleet
from konduktor_health.cli.status_watch import (
    JsonLines,
    Lines,
    Look,
    Painted,
    ended_by_sigterm,
    follow,
)
from konduktor_health.cli.stored_state import StoredState
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.errors import ConfigError

EVERY_S = 5.0


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


def command(
    nodes: Annotated[
        list[str] | None, typer.Argument(help="Nodes to show; none: those not healthy.")
    ] = None,
    all_nodes: Annotated[bool, typer.Option("--all", help="The healthy ones too.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form.")] = Output.TABLE,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="With --watch: seconds between looks.")
    ] = EVERY_S,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Show the managed nodes that are not healthy or on hold, worst first, and the sums of all.

    Exit code 0 whatever is found; 1 when a named node does not exist or is not managed.
    """
    names = list(dict.fromkeys(nodes or ()))
    if names and all_nodes:
        raise ConfigError("name nodes, or say --all", hint="without either: those not healthy")
    settings = options.load(config, kubeconfig=kubeconfig, context=context, namespace=namespace)
    from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client

    clock = SystemClock()
    _, cluster = build_cluster(settings, clock)
    policy, stored = policy_source.limits(settings), StoredState(cluster)

    def look() -> Fleet:
        views = cluster.list_nodes()
        return survey(views, policy, clock.now_ns(), stored.look())

    choice = Choice(names, healthy=all_nodes, wide=output is Output.WIDE)
    fleet = look()
    problems = list(unknown(fleet, names))
    for problem in problems:
        typer.echo(problem, err=True)
    if not watch:
        _print(fleet, choice, output)
    elif not problems:
        with suppress(KeyboardInterrupt), ended_by_sigterm():  # how a watch ends
            _watch(look, fleet, choice, output, clock, every)
    raise typer.Exit(1 if problems else 0)


def _print(fleet: Fleet, choice: Choice, output: Output) -> None:
    if output is Output.JSON:
        whole = fleet_as_json(fleet, shown(fleet, choice))
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))
    else:
        print_fleet(fleet, choice, Console())


def _watch(
    look: Look, first: Fleet, choice: Choice, output: Output, clock: Clock, every_s: float
) -> None:
    console = Console()
    if output is Output.JSON:
        follow(look, JsonLines(choice).show, clock, every_s, first)
    elif console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            follow(look, Painted(choice, live).show, clock, every_s, first)
    else:
        follow(look, Lines(choice).show, clock, every_s, first)
