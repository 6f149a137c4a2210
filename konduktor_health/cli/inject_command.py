"""``konduktor-health inject``: rehearse a fault on the whole path.

``--local`` writes this machine's kernel log; ``--node`` alone execs into the kmsg pod of that
node; ``--loki`` pushes the line that the node's shipper would have pushed. What is not the
sandbox is asked about first (``--yes`` skips that): a rehearsed fault taints a real node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.cli.inject import build_line, loki_entry, node_command, write_local
from konduktor_health.clock import NS, SystemClock
from konduktor_health.errors import ConfigError, TransientError
from konduktor_health.settings import Settings

SANDBOX_BOOT_NS = 1_767_225_600 * NS  # 2026: so old that stamps are above the sandbox's own


def command(
    local: Annotated[bool, typer.Option("--local", help="Write to /dev/kmsg here.")] = False,
    node: Annotated[str | None, typer.Option("--node", help="The node.")] = None,
    loki: Annotated[bool, typer.Option("--loki", help="Push to Loki for --node.")] = False,
    xid: Annotated[int, typer.Option("--xid", help="Xid to rehearse.")] = 79,
    pci: Annotated[str, typer.Option("--pci", help="PCI address.")] = "0000:3b:00",
    line: Annotated[str | None, typer.Option("--line", help="Another line, as it is.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
    log_endpoint: options.LogEndpoint = None,
) -> None:
    """Write a GPU fault where the controller will find it."""
    text = build_line(xid, pci, line)
    if local:
        if node or loki:
            raise ConfigError(
                "--local stands alone", hint="or name a --node, with or without --loki"
            )
        _ask(yes, "write to this machine's kernel log")
        write_local(text)
        typer.echo(f"written to /dev/kmsg: {text}")
        return
    if not node:
        raise ConfigError("where to?", hint="--local, --node NODE, or --loki --node NODE")
    settings = options.load(
        config,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        log_endpoint=log_endpoint,
    )
    if loki:
        _push(settings, node, text, yes)
    else:
        _exec(settings, node, text, yes, kubeconfig)


def _push(settings: Settings, node: str, text: str, yes: bool) -> None:
    from konduktor_health.adapters.loki_push import LokiPush

    clock = SystemClock()
    push = LokiPush.from_settings(settings.loki)
    sandbox = push.version().endswith("-sandbox")
    if not sandbox:
        _ask(yes, f"push a fault of node {node} to {settings.loki.url}")
    now_ns = clock.now_ns()
    # A made-up stamp above a real node's uptime would make its later real faults look old.
    uptime_us = (now_ns - SANDBOX_BOOT_NS) // 1000 if sandbox else None
    reading = settings.reading
    labels = {reading.cluster_label: reading.cluster} if reading.cluster else None
    entry = loki_entry(text, node, now_ns, uptime_us=uptime_us, labels=labels)
    push.push(entry.labels, [(entry.time_ns, entry.line, entry.metadata)])
    typer.echo(f"pushed for {node}: {entry.line}")


def _exec(settings: Settings, node: str, text: str, yes: bool, kubeconfig: Path | None) -> None:
    from konduktor_health.adapters.kube import build_cluster, namespace  # loads the client
    from konduktor_health.adapters.kube.exec import exec_in_pod, find_kmsg_pod

    clock = SystemClock()
    http, _ = build_cluster(settings, clock)
    where = namespace(settings)
    pod = find_kmsg_pod(http, node, where)
    _ask(yes, f"write to the kernel log of node {node} ({kubeconfig or 'current kubeconfig'})")
    wanted = node_command(text)
    _, err, code = exec_in_pod(http, clock, where, pod, "kmsg", wanted.argv)
    if code:
        raise TransientError(
            f"pod {pod}: writing /dev/kmsg ended with {code}: {err.strip()[:200]}",
            hint="the kmsg container has to be privileged",
        )
    typer.echo(f"written to /dev/kmsg of {node}: {text}")


def _ask(yes: bool, what: str) -> None:
    if yes:
        return
    try:
        agreed = typer.confirm(f"{what}? A controller that reads it will taint the node")
    except typer.Abort:  # no terminal to answer on
        typer.echo("")
        agreed = False
    if not agreed:
        raise ConfigError("not done", hint="--yes skips the question")
