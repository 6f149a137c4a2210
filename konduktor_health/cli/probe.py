"""``konduktor-health probe``: have nodes measure, and see what they have measured.

Exit codes of these commands: 0 all passed; 1 it could not be done (rights, API server); 2 wrong
usage; 3 something failed; 4 nothing failed, but something was not measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from konduktor_health.cli import options, probe_show, probe_where
from konduktor_health.cli.probe_told import each_agent, newest, summed
from konduktor_health.cli.probe_visits import State, Visit, Visits, Wanted
from konduktor_health.cli.probe_where import Found, Via, Where
from konduktor_health.cli.status_watch import ended_by_sigterm
from konduktor_health.cli.times import age
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.errors import (
    ConfigError,
    Conflict,
    HealthError,
    NotFound,
    PermanentError,
    TransientError,
)
from parsers.printable import printable

if TYPE_CHECKING:
    from konduktor_health.adapters.probes.operators import Reach

app = typer.Typer(help="Have nodes measure, and see what they have measured.", no_args_is_help=True)
_PAINT_S = 0.25
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OPTION = re.compile(r"([a-z0-9][a-z0-9-]{0,62}\.[A-Za-z0-9_-]{1,64})=(.{0,512})", re.DOTALL)
_LIST_COLUMNS = ("check", "tier", "runs", "deadline", "needs", "nodes", "last")
_RESULT_COLUMNS = ("node", "check", "device", "outcome", "age", "message")


class Output(StrEnum):
    """Forms of output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


class Tier(StrEnum):
    """Tiers, as agents have them."""

    BOOT = "boot"
    LIGHT = "light"
    INVASIVE = "invasive"


Form = Annotated[
    Output, typer.Option("--output", "-o", help="Form; wide: the results that passed, too.")
]


@app.command("run")
def run(
    checks: Annotated[list[str] | None, typer.Argument(help="Checks.")] = None,
    tier: Annotated[
        Tier | None, typer.Option("--tier", help="All checks of a tier.", show_default=False)
    ] = None,
    node: probe_where.Nodes = None,
    node_label: probe_where.Labels = None,
    pod_label: probe_where.Pods = None,
    every: probe_where.Every = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=256, help="Nodes that measure at once.")
    ] = 10,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="CHECK.NAME=VALUE; several times.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=1,
            max=86400,
            help="Longest wait for a node, seconds; default: the deadlines of its checks.",
            show_default=False,
        ),
    ] = None,
    output: Form = Output.TABLE,
    via: probe_where.Way = Via.AUTO,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Have agents run checks now, and show what comes of it.

    Nodes are those that any of --node, --node-label, --pod-label and --all takes. Exit code 0 when
    all passed, 3 when something failed, 4 when something was not measured.
    """
    wanted = Wanted(_names(checks), None if tier is None else tier.value, _options(option), timeout)
    if not wanted.checks and wanted.tier is None:
        raise ConfigError("name the checks, or a --tier", hint="konduktor-health probe list")
    where = probe_where.where(node, node_label, pod_label, every=every, usually_all=False)
    with _one_of_ours():
        clock = SystemClock()
        ways = Ways(config, kubeconfig, context, namespace, via)
        found, agents = ways.find(where, clock)
        _tell_missing(found)
        visits = Visits(
            list(found.views), frozenset(agents.pods), wanted, agents.orders, agents.asked, clock,
            batch=batch,
        )  # fmt: skip
        visits.start()
        ended = _follow(visits, output)
        _show(visits.all, output, clock)
    if not ended:
        typer.echo("stopped; what was begun goes on: konduktor-health probe results", err=True)
        raise typer.Exit(130)
    raise typer.Exit(_code(visits.all, found))


@app.command("list")
def list_checks(
    node: probe_where.Nodes = None,
    node_label: probe_where.Labels = None,
    pod_label: probe_where.Pods = None,
    every: probe_where.Every = False,
    output: Form = Output.TABLE,
    via: probe_where.Way = Via.AUTO,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Show which checks nodes have, when they run, and what they came to last.

    Without a selector of all nodes with an agent. Exit code 4 when an agent does not answer.
    """
    where = probe_where.where(node, node_label, pod_label, every=every, usually_all=True)
    with _one_of_ours():
        ways = Ways(config, kubeconfig, context, namespace, via)
        found, agents = ways.find(where, SystemClock())
        _tell_missing(found)
        told = each_agent(list(found.views), frozenset(agents.pods), agents.asked.checks)
        if output is Output.JSON:
            _print_json(
                {
                    "version": 1,
                    "nodes": [
                        {
                            "node": visit.node,
                            "state": visit.state.value,
                            "message": visit.message or None,
                            "checks": [each.model_dump(mode="json") for each in checks or ()],
                        }
                        for visit, checks in told
                    ],
                }
            )
        else:
            probe_show.print_rows(summed(told), _LIST_COLUMNS, Console())
    visits = [visit for visit, _ in told]
    _tell_silent(visits)
    whole = all(visit.state is State.DONE for visit in visits)
    raise typer.Exit(0 if whole and not found.missing else probe_show.UNMEASURED)


@app.command("results")
def results(
    node: probe_where.Nodes = None,
    node_label: probe_where.Labels = None,
    pod_label: probe_where.Pods = None,
    every: probe_where.Every = False,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", help="Only these checks; several times.", show_default=False),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="Only of this run.", show_default=False)
    ] = None,
    output: Form = Output.TABLE,
    via: probe_where.Way = Via.AUTO,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Show the newest result of each check on each device; agents are asked for nothing.

    Without a selector of all nodes with an agent. Exit codes as of probe run.
    """
    names = frozenset(_names(check))
    where = probe_where.where(node, node_label, pod_label, every=every, usually_all=True)
    clock = SystemClock()
    with _one_of_ours():
        ways = Ways(config, kubeconfig, context, namespace, via)
        found, agents = ways.find(where, clock)
        _tell_missing(found)
        visits = []
        told = each_agent(list(found.views), frozenset(agents.pods), agents.asked.report)
        for visit, report in told:
            if report is not None:
                visit.results = newest(report, names, run_id or "")
                visit.run_id = run_id or ""
            visits.append(visit)
        _show(visits, output, clock, aged=True)
    raise typer.Exit(_code(visits, found))


class Ways:
    """How the cluster is reached: the options that these commands share."""

    def __init__(
        self,
        config: Path | None,
        kubeconfig: Path | None,
        context: str | None,
        namespace: str | None,
        via: Via,
    ) -> None:
        self._given = (config, kubeconfig, context, namespace)
        self._via = via

    def find(self, where: Where, clock: Clock) -> tuple[Found, Reach]:
        """The nodes, and their agents. Raises HealthError."""
        config, kubeconfig, context, namespace = self._given
        settings = options.load(config, kubeconfig=kubeconfig, context=context, namespace=namespace)
        from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client
        from konduktor_health.adapters.probes.operators import find_agents, nodes_of_pods, reach

        http, cluster = build_cluster(settings, clock)
        direct = self._via.is_direct(in_cluster=http.access.origin == "in-cluster")
        pods = find_agents(settings, http, clock)
        found = where.find(cluster, pods, lambda ns, text: nodes_of_pods(http, ns, text))
        return found, reach(settings, http, pods, found.views, clock, direct=direct)


def _follow(visits: Visits, output: Output) -> bool:
    """Until all is over; False: ended by Ctrl-C or SIGTERM. A terminal shows how it goes on."""
    console = Console(stderr=True)
    try:
        with ended_by_sigterm():
            if console.is_terminal and output is not Output.JSON:
                with Live(console=console, auto_refresh=False, transient=True) as live:
                    while not visits.wait(_PAINT_S):
                        live.update(probe_show.frame(visits.all, console.height), refresh=True)
            else:
                while not visits.wait(_PAINT_S):
                    continue
    except KeyboardInterrupt:
        visits.stop()
        return False
    return True


def _show(visits: Sequence[Visit], output: Output, clock: Clock, *, aged: bool = False) -> None:
    now_ns = clock.now_ns()
    if output is Output.JSON:
        _print_json(probe_show.as_json(visits, now_ns))
        return
    wide = output is Output.WIDE
    if aged:
        found = probe_show.rows_of(visits, wide=wide, age=lambda ns: age(ns, now_ns) or "")
        probe_show.print_rows(found, _RESULT_COLUMNS, Console())
    else:
        probe_show.print_rows(probe_show.rows_of(visits, wide=wide), probe_show.COLUMNS, Console())
    typer.echo(probe_show.sums(visits))


def _code(visits: Sequence[Visit], found: Found) -> int:
    """A node that does not exist was not measured."""
    if not visits and not found.missing:
        typer.echo("no node is taken", err=True)
        return 1
    code = probe_show.exit_code(visits)
    return code or (probe_show.UNMEASURED if found.missing else 0)


def _tell_missing(found: Found) -> None:
    for name in found.missing:
        typer.echo(f"{printable(name, 253) or repr(name)}: no such node", err=True)


def _tell_silent(visits: Sequence[Visit]) -> None:
    for visit in visits:
        if visit.state is not State.DONE:
            text = f": {visit.message}" if visit.message else ""
            typer.echo(f"{visit.node}: {visit.state.value}{text}", err=True)


def _names(given: Sequence[str] | None) -> tuple[str, ...]:
    for each in given or ():
        if not _NAME.fullmatch(each):
            raise ConfigError(
                f"{printable(each, 80)!r} is no name of a check", hint="konduktor-health probe list"
            )
    return tuple(dict.fromkeys(given or ()))


def _options(given: Sequence[str] | None) -> dict[str, str] | None:
    found = {}
    for each in given or ():
        match = _OPTION.fullmatch(each)
        if match is None:
            raise ConfigError(
                f"--option: {printable(each, 80)!r} is not CHECK.NAME=VALUE",
                hint="e.g. --option ping.count=50",
            )
        found[match[1]] = match[2]
    return found or None


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


@contextmanager
def _one_of_ours() -> Iterator[None]:
    """3 and 4 say what was measured: what cannot be done at all ends with 1 here."""
    try:
        yield
    except (TransientError, PermanentError, NotFound, Conflict) as error:
        raise HealthError(str(error), hint=error.hint) from error
