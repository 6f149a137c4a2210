"""Which nodes does an operator's command concern? Those named, or those that a selector takes.

Names are taken as they are. A selector is a wider word than it looks: it takes only nodes that are
managed or that carry a declaration of ours, and before several nodes are written it is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from konduktor_health.core.managed import is_managed
from konduktor_health.errors import ConfigError, NotFound
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Cluster
from konduktor_health.selector import Selector, SelectorError, parse_selector
from parsers.printable import printable

SHOWN_NAMES = 20

Names = Annotated[list[str] | None, typer.Argument(help="Nodes.")]
Select = Annotated[
    str | None,
    typer.Option(
        "--selector", "-l", help="Instead of names: a label selector.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask when --selector takes several.")]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The nodes, and names that are no Node."""

    views: tuple[NodeView, ...]
    missing: tuple[str, ...] = ()
    left: int = 0  # that the selector takes and that are not managed


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names or a selector, never both."""

    names: tuple[str, ...] = ()
    selector: Selector | None = None
    text: str = ""  # of the selector

    def find(self, cluster: Cluster, keys: Keys) -> Chosen:
        """Look them up. Raises what Cluster raises."""
        if self.selector is None:
            return self._by_name(cluster)
        selector = self.selector
        taken = [view for view in cluster.list_nodes() if selector.matches(dict(view.labels))]
        views = [view for view in taken if is_managed(view, keys) or _declared(view)]
        views.sort(key=lambda view: view.name)
        return Chosen(tuple(views), left=len(taken) - len(views))

    def _by_name(self, cluster: Cluster) -> Chosen:
        views: list[NodeView] = []
        missing: list[str] = []
        for name in self.names:
            try:
                views.append(cluster.get_node(name))
            except NotFound:
                missing.append(name)
        return Chosen(tuple(views), tuple(missing))


def wanted(names: Sequence[str] | None, selector: str | None, command: str) -> Wanted:
    """What was asked for. Raises ConfigError for neither, both, or a wrong selector."""
    if bool(names) == (selector is not None):
        raise ConfigError(
            "name the nodes, or give a --selector", hint=f"konduktor-health {command} NODE..."
        )
    if selector is None:
        return Wanted(tuple(dict.fromkeys(names or ())))
    if not selector.strip():
        raise ConfigError(
            "--selector: an empty one takes every node", hint="e.g. --selector zone=eu-1"
        )
    try:
        return Wanted(selector=parse_selector(selector), text=selector)
    except SelectorError as error:
        raise ConfigError(
            f"--selector: {error}", hint="e.g. zone=eu-1, 'zone in (a, b)', '!spare'"
        ) from error


def agree(found: Chosen, what: str, *, yes: bool) -> None:
    """Ask before what a selector took is written, where that are several nodes. Raises ConfigError
    for a no, and where there is no terminal to ask on."""
    count = len(found.views)
    if yes or count < 2:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            f"{count} nodes are taken, and there is no terminal to ask on",
            hint="--dry-run shows what would be done; --yes skips the question",
        )
    names = ", ".join(view.name for view in found.views[:SHOWN_NAMES])
    typer.echo(printable(names, 6000) + (", ..." if count > SHOWN_NAMES else ""), err=True)
    try:
        agreed = typer.confirm(f"{what} these {count} nodes?", err=True)
    except typer.Abort:
        typer.echo("", err=True)
        agreed = False
    if not agreed:
        raise ConfigError("not done", hint="--yes skips the question")


def _declared(view: NodeView) -> bool:
    return view.hold is not None or view.maintenance is not None
