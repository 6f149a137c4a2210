"""``konduktor-health release``: a hold ends, and an operator's own taint goes."""

from __future__ import annotations

import typer

from konduktor_health.cli import chosen, options
from konduktor_health.cli.operate import Ways, operate
from konduktor_health.clock import SystemClock
from konduktor_health.core.operator import OperatorEvent, plan_release
from konduktor_health.model import Keys
from konduktor_health.runtime.orders import Order


def command(
    nodes: chosen.Names = None,
    selector: chosen.Select = None,
    yes: chosen.Yes = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """End a hold; clear what taint recorded, and our taint if nothing else wants it.

    Faults that were seen stay open: reset vouches for those.
    """
    wanted = chosen.wanted(nodes, selector, "release")

    def order(keys: Keys) -> Order:
        return Order(
            OperatorEvent.RELEASED,
            lambda view, now_ns: plan_release(view, keys, now_ns),
            nothing="neither a hold nor an operator's record on it",
            failed="not released",
        )

    ways = Ways(yes, dry_run, config, kubeconfig, context)
    raise typer.Exit(operate(wanted, order, "Release", ways, SystemClock()))
