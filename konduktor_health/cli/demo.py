"""``konduktor-health demo``: the whole product on this machine, without a cluster or a GPU."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.errors import TransientError
from konduktor_health.runtime import log, shutdown

if TYPE_CHECKING:
    from konduktor_health.runtime.controller import Controller

READY_TIMEOUT_S = 20.0


def command(
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=2000, help="Simulated GPU nodes.")
    ] = 8,
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the story.")] = False,
    debug: options.Debug = False,
) -> None:
    """Start an embedded Kubernetes API, Loki, simulated nodes and the controller; play a story.

    Stays up for your own inject and kubectl until Ctrl-C, unless --exit is given. Touches
    neither your kubeconfig nor your kernel log.
    """
    log.set_up(debug=debug, form="text", quiet=not debug)
    clock = SystemClock()
    started = clock.monotonic()
    from konduktor_health.sandbox.cluster import Sandbox
    from konduktor_health.sandbox.story import Interrupted, Story

    stop = threading.Event()
    disarm = shutdown.on_signal(stop)
    sandbox = Sandbox(nodes=nodes, clock=clock)
    try:
        sandbox.start()
        running = sandbox.start_controller()
        _await_ready(running, clock, started, stop)
        _say(f"ready in {clock.monotonic() - started:.1f} s: {nodes} simulated GPU nodes")
        Story(sandbox, _say, stop).play()
        if not exit_after:
            _stay(sandbox.kubeconfig, sandbox.loki.url, stop)
    except Interrupted:
        _say("interrupted")
        raise typer.Exit(130) from None
    finally:
        sandbox.stop()
        disarm()
    _say("done")


def _await_ready(running: Controller, clock: Clock, started: float, stop: threading.Event) -> None:
    from konduktor_health.sandbox.story import Interrupted

    while running.troubles() or not running.reading():
        if clock.monotonic() - started > READY_TIMEOUT_S:
            reasons = "; ".join(each.message for each in running.troubles())
            raise TransientError(f"the sandbox did not become ready: {reasons}")
        if clock.wait(stop, 0.02):
            raise Interrupted


def _stay(kubeconfig: object, loki: str, stop: threading.Event) -> None:
    _say("")
    _say("the sandbox stays up; in another terminal:")
    _say(f"  export KUBECONFIG={kubeconfig} LOG_ENDPOINT={loki}")
    if shutil.which("konduktor-health") is None:
        _say(f"  export PATH={Path(sys.executable).parent}:$PATH")
    _say("  kubectl get nodes")
    _say("  konduktor-health inject --loki --node gpu-node-1 --xid 79")
    _say("  kubectl describe node gpu-node-1")
    _say("  konduktor-health reset gpu-node-1")
    _say("Ctrl-C ends it.")
    stop.wait()


def _say(text: str) -> None:
    typer.echo("\n".join(log.printable(line) for line in text.split("\n")))
