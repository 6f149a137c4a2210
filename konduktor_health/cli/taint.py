"""``konduktor-health taint``: an operator's own word that nodes are not to be used.

The record stands in the ledger like that of a fault, so that a controller, running or not, keeps
the taint. It is not asked whether the budget has room; where it has none, that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from konduktor_health.cli import chosen, options, policy_source
from konduktor_health.cli.operate import Ways, operate
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.core.operator import OperatorEvent, plan_taint
from konduktor_health.core.overdrawn import overdrawn
from konduktor_health.errors import ClusterForbidden, ConfigError
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Cluster
from konduktor_health.runtime.orders import Order
from konduktor_health.settings import Settings
from konduktor_health.treatment import Effect
from parsers.printable import printable


class TaintEffect(StrEnum):
    """Effects of a taint."""

    NO_SCHEDULE = "NoSchedule"
    NO_EXECUTE = "NoExecute"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"


def command(
    nodes: chosen.Names = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", help="Why; shown on the Node.", show_default=False),
    ] = None,
    effect: Annotated[
        TaintEffect, typer.Option("--effect", help="NoExecute evicts.")
    ] = TaintEffect.NO_SCHEDULE,
    selector: chosen.Select = None,
    yes: chosen.Yes = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Taint nodes on an operator's word, with a record of its own that only a person clears.

    Works without a controller. The budget is not asked, and told when it is exceeded. release
    takes it back.
    """
    wanted = chosen.wanted(nodes, selector, "taint --reason TEXT")
    text = printable(reason or "", 200)
    if not text:
        raise ConfigError("say why: --reason", hint="it is all that others will know of it")
    asked, clock = Effect(effect.value), SystemClock()

    def order(keys: Keys) -> Order:
        return Order(
            OperatorEvent.TAINTED,
            lambda view, now_ns: plan_taint(view, keys, text, asked, now_ns),
            nothing="is tainted so already",
            failed="not tainted",
            follows="a controller will show it in the condition",
        )

    def remarks(settings: Settings, cluster: Cluster, views: Sequence[NodeView]) -> Iterable[str]:
        return _beyond_budget(settings, cluster, views, clock)

    ways = Ways(yes, dry_run, config, kubeconfig, context)
    raise typer.Exit(operate(wanted, order, "Taint", ways, clock, remarks))


def _beyond_budget(
    settings: Settings, cluster: Cluster, views: Sequence[NodeView], clock: Clock
) -> Iterable[str]:
    names = {view.name for view in views}
    if not names:
        return ()
    try:
        every = cluster.list_nodes()
    except ClusterForbidden as error:
        return (f"whether the budget has room is not known: {error}",)
    return overdrawn(every, names, policy_source.limits(settings), clock.now_ns())
