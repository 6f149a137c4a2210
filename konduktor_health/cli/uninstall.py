"""``konduktor-health uninstall``: everything of ours leaves the cluster, and nothing else.

What is found is listed; after a confirmation it is cleared. Refused while a controller holds the
Lease. Exit code 1 when not all could be cleared: what could be is, and the command is repeated.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from konduktor_health.cli import options
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterForbidden, ConfigError
from konduktor_health.model import Keys
from konduktor_health.ports import Belongings, OwnObject
from konduktor_health.runtime.log import printable
from konduktor_health.runtime.uninstall import Outcome, Survey, Uninstallation, survey
from konduktor_health.runtime.vacancy import Vacancy

if TYPE_CHECKING:
    from konduktor_health.adapters.kube import KubeBelongings

SHOWN_NAMES = 20  # of nodes that are left as they are


def command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be cleared; write nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even while a controller holds the Lease.")
    ] = False,
    autopilot_labels: Annotated[
        bool,
        typer.Option(
            "--autopilot-labels",
            help="Autopilot's labels and annotations too: the policy had autopilot_labels.",
        ),
    ] = False,
    config: options.Config = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
    namespace: options.Namespace = None,
) -> None:
    """List everything of ours on the cluster, then clear it.

    On every Node: our taint, annotations, health label and condition. In cluster.namespace: state
    and Lease, of every shard. Refused while a controller runs: it would taint again. A dry run is
    never refused.
    """
    if not (dry_run or yes or (sys.stdin is not None and sys.stdin.isatty())):
        raise ConfigError(
            "there is no terminal to ask on",
            hint="--dry-run lists what would be cleared; --yes skips the question",
        )
    settings = options.load(config, kubeconfig=kubeconfig, context=context, namespace=namespace)
    from konduktor_health.adapters import kube  # loads the Kubernetes client

    clock, keys = SystemClock(), settings.keys()
    http, cluster = kube.build_cluster(settings, clock)
    shards = _every_shard(kube.build_belongings(settings, http))
    if dry_run or force:
        judged = [(each, each.lease()) for each in shards]
        if force:
            _warn_of_holders(judged)
    else:
        vacancy = Vacancy(settings.lease.duration_s, settings.lease.retry_s, clock, _waits)
        judged = [(each, vacancy.judge(each)) for each in shards]
    found = survey(cluster, keys, judged, autopilot=autopilot_labels)
    _show(found, keys, kube.namespace(settings))
    if found.nodes and not found.objects:
        _say(
            f"neither Lease nor state in namespace {kube.namespace(settings)}: a controller that "
            "runs in another one is not noticed (--namespace)",
            error=True,
        )
    if not (found.nodes or found.objects):
        return
    if dry_run:
        if any(place.lease is not None and place.lease.holder for place in found.places):
            typer.echo("a controller may hold the Lease: stop it before you clear")
        typer.echo("nothing was written (--dry-run)")
        return
    if not yes:
        _ask(found)
    work = Uninstallation(cluster, keys, writers=settings.cluster.writers, force=force)
    outcome = work.run(found)
    _report(outcome)
    raise typer.Exit(1 if outcome.failed else 0)


def _every_shard(own: KubeBelongings) -> tuple[KubeBelongings, ...]:
    """Those of all shards. Who may not list them clears what the settings name, and is told."""
    try:
        return own.every_shard()
    except ClusterForbidden as error:
        _say(f"shards are not looked for, only what the settings name: {error}", error=True)
        return (own,)


def _warn_of_holders(judged: Iterable[tuple[Belongings, OwnObject | None]]) -> None:
    for _, lease in judged:
        if lease is not None and lease.holder:
            _say(
                f"a controller may run ({lease.holder}): it may write to the Nodes again",
                error=True,
            )


def _waits(lease: OwnObject, seconds: float) -> None:
    what = f"held by {lease.holder}" if lease.holder else "released"
    text = f"Lease {lease.namespace}/{lease.name}, {what}: watching it for {seconds:g} s"
    typer.echo(printable(text), err=True)


def _show(found: Survey, keys: Keys, namespace: str) -> None:
    say = partial(_say, error=False)
    for _, removal in found.nodes:
        say(f"{removal.node}: {', '.join(removal.names)}")
    for each in found.objects:
        held = f", held by {each.holder}" if each.holder else ""
        say(f"{each.kind} {each.namespace}/{each.name}{held}")
    if not (found.nodes or found.objects):
        say(f"nothing of ours is there (keys {keys.prefix}/..., namespace {namespace})")
    if found.opted:
        more = "" if len(found.opted) <= SHOWN_NAMES else ", ..."
        names = ", ".join(found.opted[:SHOWN_NAMES]) + more
        say(f"left, set by you: label {keys.managed} on {_nodes(len(found.opted))}: {names}")
    if not found.nodes and found.other_prefixes:
        domains = ", ".join(found.other_prefixes[:SHOWN_NAMES])
        say(f"left, taints that look like ours with another cluster.key_prefix: {domains}")
    if found.nodes:
        say("left: Events, which the API server drops by itself (after an hour by default)")


def _ask(found: Survey) -> None:
    tainted = sum(1 for _, removal in found.nodes if removal.edit and removal.edit.remove_taints)
    warning = f" Pods can then start on {_nodes(tainted)} that are tainted now." if tainted else ""
    try:
        agreed = typer.confirm(f"Clear all of this?{warning}", err=True)
    except typer.Abort:
        typer.echo("", err=True)
        agreed = False
    if not agreed:
        raise ConfigError("not done", hint="--yes skips the question")


def _report(outcome: Outcome) -> None:
    cleared = [_nodes(outcome.nodes), *(f"{d.kind} {d.name}" for d in outcome.deleted)]
    _say(f"cleared: {', '.join(cleared)}", error=False)
    for name, why in sorted(outcome.failed.items()):
        _say(f"{name}: not cleared: {why}", error=True)
    if outcome.failed:
        _say("not all could be cleared; run it again", error=True)


def _say(text: str, *, error: bool) -> None:
    typer.echo(printable(text), err=error)


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
