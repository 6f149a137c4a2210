"""``konduktor-health demo``: the whole product on this machine, without a cluster or a GPU."""

from __future__ import annotations

import io
import shutil
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from konduktor_health.cli import options
from konduktor_health.cli.explain import PIPE_WIDTH
from konduktor_health.cli.node_explained import explain_node
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.errors import TransientError
from konduktor_health.runtime import log, shutdown
from parsers import catalog

if TYPE_CHECKING:
    from konduktor_health.runtime.controller import Controller
    from konduktor_health.sandbox.cluster import Sandbox

READY_TIMEOUT_S = 60.0


class Told(StrEnum):
    """The stories."""

    FAULTS = "faults"
    PROBES = "probes"


def command(
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=2000, help="Simulated GPU nodes.")
    ] = 8,
    story: Annotated[
        Told,
        typer.Option(
            "--story",
            help="faults: lines of the kernel log; probes: what real agents measure of fake GPUs.",
        ),
    ] = Told.FAULTS,
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
    from konduktor_health.sandbox import probe_story
    from konduktor_health.sandbox.cluster import Sandbox
    from konduktor_health.sandbox.story import Interrupted

    stop = threading.Event()
    disarm = shutdown.on_signal(stop)
    make = probe_story.sandbox_for if story is Told.PROBES else Sandbox
    sandbox = make(nodes=nodes, clock=clock)
    try:
        sandbox.start()
        running = sandbox.start_controller()
        _await_ready(running, clock, started, stop)
        _await_agents(sandbox, stop)
        agents = f", {len(sandbox.measured)} of them with an agent" if sandbox.measured else ""
        took_s = clock.monotonic() - started
        _say(f"ready in {took_s:.1f} s: {sandbox.nodes} simulated GPU nodes{agents}")
        _play(sandbox, stop)
        if not exit_after:
            _stay(sandbox, stop)
    except Interrupted:
        _say("interrupted")
        raise typer.Exit(130) from None
    finally:
        sandbox.stop()
        disarm()
    _say("done")


def _play(sandbox: Sandbox, stop: threading.Event) -> None:
    from konduktor_health.sandbox.probe_story import ProbeStory
    from konduktor_health.sandbox.story import Story

    if sandbox.local is None:
        Story(sandbox, _say, stop).play()
        return
    settings = sandbox.settings()

    def explain(node: str) -> str:
        written = Console(file=io.StringIO(), width=PIPE_WIDTH)
        explain_node(node, settings, catalog.entry, written, as_objects=False)
        return written.file.getvalue()  # type: ignore[attr-defined, no-any-return]

    ProbeStory(sandbox, sandbox.local, say=_say, explain=explain, stop=stop).play()


def _await_ready(running: Controller, clock: Clock, started: float, stop: threading.Event) -> None:
    from konduktor_health.sandbox.story import Interrupted

    while running.troubles() or not running.reading():
        if clock.monotonic() - started > READY_TIMEOUT_S:
            reasons = "; ".join(each.message for each in running.troubles())
            raise TransientError(f"the sandbox did not become ready: {reasons}")
        if clock.wait(stop, 0.02):
            raise Interrupted


def _await_agents(sandbox: Sandbox, stop: threading.Event) -> None:
    from konduktor_health.sandbox.story import Interrupted

    if sandbox.kubelets is not None and not sandbox.kubelets.await_ready(stop):
        raise Interrupted


def _stay(sandbox: Sandbox, stop: threading.Event) -> None:
    _say("")
    _say("the sandbox stays up; in another terminal:")
    _say(f"  export KUBECONFIG={sandbox.kubeconfig} LOG_ENDPOINT={sandbox.loki.url}")
    _say(f"  export KONDUKTOR_HEALTH_POLICY_FILE={sandbox.policy_file}")
    if shutil.which("konduktor-health") is None:
        _say(f"  export PATH={Path(sys.executable).parent}:$PATH")
    _say("  kubectl get nodes")
    if sandbox.local is None:
        _say("  konduktor-health inject --loki --node gpu-node-1 --xid 79")
        _say("  kubectl describe node gpu-node-1")
        _say("  konduktor-health reset gpu-node-1")
    else:
        faults = sandbox.local.of["gpu-node-1"].faults
        _say(f"  python -m probes.backends.fake_state {faults} 0000:18:00 temperature_c=99")
        _say("  konduktor-health explain gpu-node-1")
        _say(f"  python -m probes.backends.fake_state {faults} clear")
    _say("Ctrl-C ends it.")
    stop.wait()


def _say(text: str) -> None:
    typer.echo("\n".join(log.printable(line) for line in text.split("\n")))
