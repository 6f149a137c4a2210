"""``konduktor-health demo``: the whole product on this machine, without a cluster or a GPU."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.clock import SystemClock
from konduktor_health.errors import TransientError
from konduktor_health.runtime import log, shutdown

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
    from konduktor_health.sandbox.story import Story

    stop = threading.Event()
    disarm = shutdown.on_signal(stop)
    sandbox = Sandbox(nodes=nodes, clock=clock)
    try:
        sandbox.start()
        running = sandbox.start_controller()
        while running.troubles() or not running.reading():
            if clock.monotonic() - started > READY_TIMEOUT_S or stop.is_set():
                reasons = "; ".join(each.message for each in running.troubles())
                raise TransientError(f"the sandbox did not become ready: {reasons}")
            clock.wait(stop, 0.02)
        _say(f"ready in {clock.monotonic() - started:.1f} s: {nodes} simulated GPU nodes")
        Story(sandbox, _say).play()
        if not exit_after:
            _stay(sandbox.kubeconfig, sandbox.loki.url, stop)
    finally:
        sandbox.stop()
        disarm()
    _say("done")


def _stay(kubeconfig: object, loki: str, stop: threading.Event) -> None:
    _say("")
    _say("the sandbox stays up; in another terminal:")
    _say(f"  export KUBECONFIG={kubeconfig} LOG_ENDPOINT={loki}")
    _say("  kubectl get nodes")
    _say("  konduktor-health inject --loki --node gpu-node-1 --xid 79")
    _say("  kubectl describe node gpu-node-1")
    _say("  konduktor-health reset gpu-node-1")
    _say("Ctrl-C ends it.")
    stop.wait()


def _say(text: str) -> None:
    typer.echo("\n".join(log.printable(line) for line in text.split("\n")))
