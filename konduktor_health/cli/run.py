"""``konduktor-health run``: the control loop, in the cluster or on a laptop."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from functools import partial
from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.runtime import log, shutdown


def command(
    once: Annotated[bool, typer.Option("--once", help="One pass over the logs, then end.")] = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    log_endpoint: options.LogEndpoint = None,
    poll_interval: Annotated[
        float | None, typer.Option("--poll-interval", help="Seconds.", show_default=False)
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", help="Port of /metrics.", show_default=False)
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", help="json or text.", show_default=False)
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Read the logs, decide, and keep the Nodes' taints up to date.

    A dry run takes no Lease and writes nothing; it prints the Plan that would be carried out.
    """
    chosen = options.load(
        config,
        kubeconfig=kubeconfig,
        context=context,
        log_endpoint=log_endpoint,
        debug=debug,
        more={
            "reading": {"poll_interval_s": poll_interval},
            "http": {"port": http_port},
            "log_format": log_format,
        },
    )
    log.set_up(debug=chosen.debug, form=chosen.log_format)
    stop, wake = threading.Event(), threading.Event()
    disarm = shutdown.on_signal(stop, wake)
    from konduktor_health.runtime.wiring import build  # loads the Kubernetes client

    emit = partial(_print_plan, stop, wake) if dry_run else None
    built = build(chosen, dry_run=dry_run, emit=emit, stop=stop, wake=wake, serve=not once)
    try:
        if once:
            built.once()
        else:
            built.run()
    finally:
        disarm()


def _print_plan(stop: threading.Event, wake: threading.Event, text: str) -> None:
    """A reader that has gone ends the dry run: nobody would see what it prints."""
    try:
        sys.stdout.write("\n".join(log.printable(line) for line in text.split("\n")) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        stop.set()
        wake.set()
