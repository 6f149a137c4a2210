"""Which nodes are meant? The union of hosts, nodes with a label, and nodes with pods of a job.

Invariants: only nodes with an agent of ours are asked; a host that is named and has none is told,
not left out; nothing is watched for it: a job's pods are listed when somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from konduktor_health.adapters.autopilot.query import Query, QueryError, workload
from konduktor_health.adapters.autopilot.words import plain
from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.nodes import parse_selector
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.model import NodeView

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PAGE = 500
_MOST_PAGES = 40


@dataclass(frozen=True, slots=True)
class Chosen:
    """The nodes of an answer, in its order. ``head``: what Autopilot's client prints before."""

    nodes: tuple[tuple[str, AgentPod | None], ...]
    head: str = ""


class Choice:
    """Looks nodes up. Thread-safe."""

    def __init__(
        self,
        nodes: Callable[[], Mapping[str, NodeView]],
        names: Callable[[], frozenset[str] | None],
        agent_of: Callable[[str], AgentPod | None],
        http: KubeHttp,
    ) -> None:
        """``names``: nodes with an agent; None: not known yet."""
        self._nodes, self._names, self._agent_of, self._http = nodes, names, agent_of, http

    def of(self, query: Query) -> Chosen:
        """The nodes of a question. Raises QueryError with Autopilot's text."""
        agents = self._names()
        if agents is None:
            raise QueryError("Which nodes have an agent is not known yet. ABORT")
        head = ""
        found: dict[str, None] = dict.fromkeys(
            sorted(agents) if query.hosts is None else query.hosts
        )
        if query.job:
            namespace, label = workload(query.job)
            head = f"Workload: {plain(namespace)}: {plain(label)}\n"
            found |= dict.fromkeys(self._with_pods(namespace, label))
        if query.nodelabel:
            found |= dict.fromkeys(self._labelled(query.nodelabel))
        named = frozenset(query.hosts or ())
        nodes = tuple(
            (name, self._agent_of(name)) for name in found if name in agents or name in named
        )
        if not nodes:
            raise QueryError(f"{head}No node with an agent is meant. ABORT")
        return Chosen(nodes, head)

    def _labelled(self, label: str) -> list[str]:
        try:
            tests = parse_selector(label)
        except ConfigError as error:
            raise QueryError(f"{plain(str(error))}; {plain(error.hint)}. ABORT") from error
        views = self._nodes().values()
        found = [
            view.name
            for view in sorted(views, key=lambda each: each.name)
            if all(test(dict(view.labels)) for test in tests)
        ]
        if not found or not tests:
            raise QueryError(f"No node is labeled with {plain(label)} - ABORT.")
        return found

    def _with_pods(self, namespace: str, label: str) -> list[str]:
        if not _NAMESPACE.fullmatch(namespace):
            raise QueryError(
                "Invalid job definition, must be namespace:label=value."
                f" Got {[plain(namespace), plain(label)]}"
            )
        found: dict[str, None] = {}
        params = {"labelSelector": label, "limit": str(_PAGE)}
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
        for _ in range(_MOST_PAGES):
            try:
                answer = self._http.get(path, params)
            except HealthError as error:
                raise QueryError(
                    f"Exception when calling CoreV1Api->list_namespaced_pod: {plain(str(error))}."
                    " ABORT"
                ) from error
            items = answer.get("items")
            for each in items if isinstance(items, list) else ():
                spec = each.get("spec") if isinstance(each, dict) else None
                node = spec.get("nodeName") if isinstance(spec, dict) else None
                if isinstance(node, str) and node:
                    found[node] = None
            meta = answer.get("metadata")
            after = meta.get("continue") if isinstance(meta, dict) else None
            if not after:
                break
            params["continue"] = str(after)
        if not found:
            raise QueryError(f"No workload labeled with {plain(label)} - ABORT.")
        return sorted(found)
