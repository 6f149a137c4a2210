"""How does an operator's command run? Find the nodes, ask, write each one, tell a line each.

Exit code 1 when a named node does not exist or could not be written, or when a selector takes
none; the others are written all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from konduktor_health.cli import options
from konduktor_health.cli.chosen import Chosen, Wanted, agree
from konduktor_health.cli.node_story import unmanaged_because
from konduktor_health.clock import Clock
from konduktor_health.errors import HealthError
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Cluster
from konduktor_health.runtime.log import printable
from konduktor_health.runtime.orders import Order, carry_out
from konduktor_health.settings import Settings

Remarks = Callable[[Settings, Cluster, Sequence[NodeView]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Ways:
    """How it is to be done: the options that these commands share."""

    yes: bool = False
    dry_run: bool = False
    config: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None


def _no_remarks(_settings: Settings, _cluster: Cluster, _views: Sequence[NodeView]) -> tuple[()]:
    return ()


def operate(
    wanted: Wanted,
    order_for: Callable[[Keys], Order],
    what: str,
    ways: Ways,
    clock: Clock,
    remarks: Remarks = _no_remarks,
) -> int:
    """Carry the order out on the nodes; returns the exit code.

    ``what`` begins the question: "Hold". ``remarks`` are said on stderr before anything is written.
    """
    settings = options.load(ways.config, kubeconfig=ways.kubeconfig, context=ways.context)
    from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client

    _, cluster = build_cluster(settings, clock)
    keys = settings.keys()
    found = wanted.find(cluster, keys)
    _tell_of(found, wanted, keys)
    for remark in remarks(settings, cluster, found.views):
        _complain(remark)
    if wanted.selector is not None and not ways.dry_run:
        agree(found, what, yes=ways.yes)
    order = order_for(keys)
    failed = bool(found.missing) or not found.views
    for view in found.views:
        try:
            done = carry_out(cluster, view, order, clock, ways.dry_run)
            typer.echo(f"{view.name}: {printable(done)}")
        except HealthError as error:
            _complain(f"{view.name}: {order.failed}: {error}")
            failed = True
    return 1 if failed else 0


def _tell_of(found: Chosen, wanted: Wanted, keys: Keys) -> None:
    """What is to be said of the choice itself."""
    for name in found.missing:
        _complain(f"{printable(name) or repr(name)}: no such node")
    if wanted.selector is not None and not found.views:
        _complain(f"no managed node matches {wanted.text}")
    if found.left:
        _complain(f"not managed, left out: {found.left} more that match {wanted.text}")
    for view in found.views:
        if why := unmanaged_because(view, keys):
            _complain(f"{view.name}: the controller does nothing there: {why}")


def _complain(text: str) -> None:
    typer.echo(printable(text), err=True)
