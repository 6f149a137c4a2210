"""How do we hear from the agents on the nodes? Builders that wire the adapter from settings.

``pods`` and ``pod_watch`` say which nodes have an agent, ``client`` moves bytes, ``reading`` says
what a report says and whether it is believed, ``memory`` keeps what is known of each node,
``schedule`` and ``crew`` say who is asked when, ``collector`` is ``ports.Probes``.
"""

from __future__ import annotations

from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.kube.config import namespace_of_pod
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.collector import Collector, Pace
from konduktor_health.adapters.probes.pod_watch import AgentPods
from konduktor_health.clock import Clock
from konduktor_health.core.reset import our_taints
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import NodeFeed
from konduktor_health.settings import Settings

__all__ = ["AgentHttp", "AgentPods", "Collector", "Pace", "build_collector", "namespace"]


def namespace(settings: Settings) -> str:
    """Namespace of the agents' pods: as set, else this pod's own, else konduktor-health."""
    return settings.probes.namespace or namespace_of_pod()


def build_collector(
    settings: Settings,
    http: KubeHttp,
    feed: NodeFeed,
    clock: Clock,
    *,
    agents: AgentHttp | None = None,
    accept_fake: bool = False,
) -> Collector:
    """Who asks the agents. ``agents``: how; ``accept_fake``: believe fake backends. Both are
    arguments that no setting gives."""
    wanted, keys = settings.probes, settings.keys()
    pods = AgentPods(
        http,
        clock,
        namespace=namespace(settings),
        daemonset=wanted.daemonset,
        selector=wanted.selector,
        port=wanted.port,
    )
    pace = Pace(
        close_s=wanted.close_interval_s,
        wide_s=wanted.interval_s,
        timeout_s=wanted.timeout_s,
        light_s=wanted.light_interval_s,
        workers=wanted.workers,
    )
    return Collector(
        pods,
        agents or AgentHttp(clock, most_kept=wanted.connections),
        feed,
        clock=clock,
        pace=pace,
        closely=lambda view: is_unwell(view, keys),
        accept_fake=accept_fake,
    )


def is_unwell(view: NodeView, keys: Keys) -> bool:
    """Something is open on the node: proof is asked for, or may soon be."""
    return view.health_label is not None or bool(our_taints(view, keys))
