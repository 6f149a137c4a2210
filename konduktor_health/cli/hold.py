"""``konduktor-health hold``: until then the controller neither taints nor clears these nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from konduktor_health.cli import chosen, options
from konduktor_health.cli.operate import Ways, operate
from konduktor_health.cli.times import moment
from konduktor_health.clock import SystemClock
from konduktor_health.core.declared import Declared
from konduktor_health.core.operator import OperatorEvent, plan_hold
from konduktor_health.errors import ConfigError
from konduktor_health.model import Keys
from konduktor_health.runtime.orders import Order


def command(
    nodes: chosen.Names = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", help="When it ends: 90s, 15m, 6h, 2d, or RFC 3339.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown on the Node.")] = "",
    selector: chosen.Select = None,
    yes: chosen.Yes = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Leave nodes as they are until then: no taint is set or cleared; faults are still recorded.

    Writes an annotation; release ends it earlier. The same hold twice is one; another one replaces
    it.
    """
    wanted = chosen.wanted(nodes, selector, "hold")
    clock = SystemClock()
    now_ns = clock.now_ns()
    if until is None:
        raise ConfigError(
            "say how long: --until", hint="e.g. --until 2h, --until 2030-01-31T18:00:00Z"
        )
    declared = Declared(now_ns, moment(until, "--until", now_ns), reason)

    def order(keys: Keys) -> Order:
        return Order(
            OperatorEvent.HELD,
            lambda view, now_ns: plan_hold(view, keys, declared, now_ns),
            nothing="is held so already",
            failed="not held",
        )

    raise typer.Exit(
        operate(wanted, order, "Hold", Ways(yes, dry_run, config, kubeconfig, context), clock)
    )
