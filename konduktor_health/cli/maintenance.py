"""``konduktor-health maintenance``: somebody is at work on these nodes, and when that is over."""

from __future__ import annotations

from typing import Annotated

import typer

from konduktor_health.cli import chosen, options
from konduktor_health.cli.operate import Ways, operate
from konduktor_health.cli.times import after, moment
from konduktor_health.clock import SystemClock
from konduktor_health.core.declared import Declared
from konduktor_health.core.operator import OperatorEvent, plan_maintenance
from konduktor_health.errors import ConfigError
from konduktor_health.model import Keys
from konduktor_health.runtime.orders import Order

app = typer.Typer(
    help="Declare that somebody is at work on nodes.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("start")
def start(
    nodes: chosen.Names = None,
    length: Annotated[
        str | None,
        typer.Option("--for", help="How long: 90s, 15m, 6h, 2d.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="When it ends: a duration, or RFC 3339.", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown on the Node.")] = "",
    selector: chosen.Select = None,
    yes: chosen.Yes = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Declare maintenance: nothing new is done to the nodes, and their reboots are expected.

    It lasts until its end, or until maintenance end. Clearing goes on.
    """
    wanted = chosen.wanted(nodes, selector, "maintenance start")
    clock = SystemClock()
    declared = Declared(clock.now_ns(), _end(length, until, clock.now_ns()), reason)

    def order(keys: Keys) -> Order:
        return Order(
            OperatorEvent.MAINTENANCE_STARTED,
            lambda view, now_ns: plan_maintenance(view, keys, declared, now_ns),
            nothing="is in that maintenance already",
            failed="no maintenance declared",
        )

    ways = Ways(yes, dry_run, config, kubeconfig, context)
    raise typer.Exit(operate(wanted, order, "Start maintenance of", ways, clock))


@app.command("end")
def end(
    nodes: chosen.Names = None,
    selector: chosen.Select = None,
    yes: chosen.Yes = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """End a declared maintenance now. What is wrong with the nodes then is decided afresh."""
    wanted = chosen.wanted(nodes, selector, "maintenance end")

    def order(keys: Keys) -> Order:
        return Order(
            OperatorEvent.MAINTENANCE_ENDED,
            lambda view, now_ns: plan_maintenance(view, keys, None, now_ns),
            nothing="no maintenance is declared",
            failed="maintenance not ended",
        )

    ways = Ways(yes, dry_run, config, kubeconfig, context)
    raise typer.Exit(operate(wanted, order, "End maintenance of", ways, SystemClock()))


def _end(length: str | None, until: str | None, now_ns: int) -> int | None:
    if length is not None and until is not None:
        raise ConfigError("--for or --until, not both", hint="without either: until it is ended")
    if length is not None:
        return after(length, "--for", now_ns)
    return None if until is None else moment(until, "--until", now_ns)
