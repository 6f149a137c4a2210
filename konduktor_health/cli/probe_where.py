"""Which nodes does ``probe`` concern? Those that any of its selectors takes: their union.

As Autopilot has it: several selectors add nodes, none takes any away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer

from konduktor_health.errors import ConfigError, NotFound
from konduktor_health.model import NodeView
from konduktor_health.ports import Cluster
from konduktor_health.selector import Selector, SelectorError, parse_selector
from parsers.printable import printable

Nodes = Annotated[
    list[str] | None, typer.Option("--node", help="A node; several times.", show_default=False)
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--node-label", help="Nodes with these labels (a selector).", show_default=False),
]
Pods = Annotated[
    list[str] | None,
    typer.Option(
        "--pod-label", help="Nodes on which such pods run: NAMESPACE:KEY=VALUE.", show_default=False
    ),
]
Every = Annotated[bool, typer.Option("--all", help="All nodes with an agent.")]


class Via(StrEnum):
    """Ways to the agents."""

    AUTO = "auto"
    API = "api"
    DIRECT = "direct"

    def is_direct(self, *, in_cluster: bool) -> bool:
        """Past the API server."""
        return self is Via.DIRECT or (self is Via.AUTO and in_cluster)


Way = Annotated[
    Via,
    typer.Option(
        "--via", help="How agents are reached; auto: through the API server, from a pod directly."
    ),
]

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

NodesOfPods = Callable[[str, str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Where:
    """What was asked for. ``pods``: namespace and selector, as text."""

    names: tuple[str, ...] = ()
    labels: tuple[Selector, ...] = ()
    pods: tuple[tuple[str, str], ...] = ()
    every: bool = False

    def find(self, cluster: Cluster, agents: Iterable[str], of_pods: NodesOfPods) -> Found:
        """The nodes. ``agents``: nodes that have one; ``of_pods``: on which pods with these labels
        run. Raises what Cluster raises."""
        if not (self.labels or self.pods or self.every):
            return self._named(cluster)
        views = {view.name: view for view in cluster.list_nodes()}
        wanted = set(self.names)
        if self.every:
            wanted |= set(agents)
        for selector in self.labels:
            wanted |= {name for name, v in views.items() if selector.matches(dict(v.labels))}
        for namespace, text in self.pods:
            wanted |= set(of_pods(namespace, text))
        missing = tuple(sorted(wanted - views.keys()))
        return Found({name: views[name] for name in sorted(wanted & views.keys())}, missing)

    def _named(self, cluster: Cluster) -> Found:
        views: dict[str, NodeView] = {}
        missing = []
        for name in sorted(self.names):
            try:
                views[name] = cluster.get_node(name)
            except NotFound:
                missing.append(name)
        return Found(views, tuple(missing))


@dataclass(frozen=True, slots=True)
class Found:
    """The nodes by name, and names that are no Node."""

    views: Mapping[str, NodeView] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def where(
    nodes: Sequence[str] | None,
    labels: Sequence[str] | None,
    pods: Sequence[str] | None,
    *,
    every: bool,
    usually_all: bool,
) -> Where:
    """What was asked for; without any selector all, where that is usual. Raises ConfigError."""
    nothing = not (nodes or labels or pods or every)
    if nothing and not usually_all:
        raise ConfigError(
            "say which nodes: --node, --node-label, --pod-label or --all",
            hint="several add up: nodes that any of them takes",
        )
    return Where(
        tuple(dict.fromkeys(nodes or ())),
        tuple(_selector("--node-label", each) for each in labels or ()),
        tuple(_pods(each) for each in pods or ()),
        every or nothing,
    )


def _pods(text: str) -> tuple[str, str]:
    namespace, colon, selector = text.partition(":")
    if not colon or not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(
            f"--pod-label: {printable(text, 80)!r} does not begin with a namespace and a colon",
            hint="e.g. --pod-label training:job-name=llm-7b",
        )
    _selector("--pod-label", selector)
    return namespace, selector


def _selector(option: str, text: str) -> Selector:
    if not text.strip():
        raise ConfigError(f"{option}: an empty selector takes everything", hint="--all says so")
    try:
        return parse_selector(text)
    except SelectorError as error:
        raise ConfigError(f"{option}: {error}", hint="e.g. zone=eu-1, 'zone in (a, b)'") from error
