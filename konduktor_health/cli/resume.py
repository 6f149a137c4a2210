"""``konduktor-health resume``: an operator lets a mass event act.

Exit code 1 when a surge that was named is not held.
"""

from __future__ import annotations

from typing import Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.clock import SystemClock, rfc3339
from konduktor_health.core.surge import told
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.log import printable
from konduktor_health.runtime.resume import resume


def command(
    surge: Annotated[
        list[str] | None,
        typer.Option("--surge", help="Fault id that is held; can be given again."),
    ] = None,
    all_surges: Annotated[bool, typer.Option("--all", help="Every surge that is held.")] = False,
    dry_run: options.DryRun = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """Let faults act that are held as a mass event.

    The running controller takes it up within seconds; budget, rate and pauses still hold. It is
    good for the surges that there are now: a later one, or a wider one, is held again.
    """
    if bool(surge) == all_surges:
        raise ConfigError(
            "name the fault ids that are held, or say --all",
            hint="konduktor-health resume --surge xid/79; --all --dry-run lists what is held",
        )
    settings = options.load(config, kubeconfig=kubeconfig, context=context, namespace=namespace)
    from konduktor_health.adapters.kube import build_cluster  # loads the Kubernetes client

    _, cluster = build_cluster(settings, SystemClock())
    wanted = frozenset(surge or ())
    asked = resume(cluster, lambda each: all_surges or each.fault_id in wanted, dry_run=dry_run)
    verb = "would be let act" if dry_run else "let act"
    for each in asked.surges:
        typer.echo(f"{told(each)}, since {rfc3339(each.since_ns)}: {verb}")
    missing = wanted - {each.fault_id for each in asked.surges}
    for fault_id in sorted(missing):
        held = ", ".join(sorted({each.fault_id for each in asked.others})) or "nothing"
        typer.echo(f"{printable(fault_id)!r}: not held; held: {held}", err=True)
    if not asked.surges and not missing:
        typer.echo("no surge is held")
    raise typer.Exit(1 if missing else 0)
