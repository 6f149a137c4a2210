"""``konduktor-health reset``: an operator vouches for nodes; taint and ledger go.

Only nodes that carry our taint or a ledger are touched. Exit code 1 when a named node does not
exist or could not be reset; the others are reset all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.clock import SystemClock
from konduktor_health.core.reset import needs_reset
from konduktor_health.errors import ConfigError, HealthError, NotFound
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Cluster
from konduktor_health.runtime.log import printable
from konduktor_health.runtime.reset import reset


def command(
    nodes: Annotated[list[str] | None, typer.Argument(help="Nodes to reset.")] = None,
    all_nodes: Annotated[
        bool, typer.Option("--all", help="Every node that carries our taint or a ledger.")
    ] = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Clear our taint and ledger; faults older than now never act again."""
    if bool(nodes) == all_nodes:
        raise ConfigError(
            "name the nodes to reset, or say --all", hint="konduktor-health reset NODE..."
        )
    settings = options.load(config, kubeconfig=kubeconfig, context=context)
    from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client

    clock = SystemClock()
    _, cluster = build_cluster(settings, clock)
    keys = settings.keys()
    missing, views = _find(cluster, nodes or [], keys)
    for name in missing:
        typer.echo(f"{printable(name) or repr(name)}: no such node", err=True)
    failed = bool(missing)
    for view in views:
        try:
            typer.echo(f"{view.name}: {printable(reset(cluster, view, keys, clock, dry_run))}")
        except HealthError as error:
            typer.echo(f"{view.name}: not reset: {printable(str(error))}", err=True)
            failed = True
    if not views and not missing:
        typer.echo("no node carries our taint or a ledger")
    raise typer.Exit(1 if failed else 0)


def _find(cluster: Cluster, wanted: Iterable[str], keys: Keys) -> tuple[list[str], list[NodeView]]:
    """Names that are no Node, and the views to reset (without names: all that carry ours)."""
    names = list(dict.fromkeys(wanted))
    if not names:
        return [], [view for view in cluster.list_nodes() if needs_reset(view, keys)]
    missing, views = [], []
    for name in names:
        try:
            views.append(cluster.get_node(name))
        except NotFound:
            missing.append(name)
    return missing, views
