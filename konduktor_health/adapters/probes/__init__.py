"""How do we hear from the agents on the nodes? Builders that wire the adapter from settings.

``pods`` and ``pod_watch`` say which nodes have an agent, ``client`` moves bytes, ``reading`` says
what a report says and whether it is believed, ``memory`` keeps what is known of each node,
``schedule`` and ``crew`` say who is asked when, ``collector`` is ``ports.Probes``. ``orders`` is
what agents are asked to do, ``asked`` what came of it, ``telling`` what they are told of their
node, ``keys`` who signs it. ``pair_measuring`` has two of them measure what lies between them, with
``pair_runs`` for many at once; ``pair_hearsay`` is what they say of each other by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.kube.config import namespace_of_pod
from konduktor_health.adapters.probes.asked import AskedRuns
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.collector import Collector
from konduktor_health.adapters.probes.orders import AgentOrders
from konduktor_health.adapters.probes.pair_hearsay import suspected
from konduktor_health.adapters.probes.pair_measuring import Bandwidth, PairMeasuring
from konduktor_health.adapters.probes.pair_runs import PairRuns
from konduktor_health.adapters.probes.pod_watch import AgentPods
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.schedule import Pace
from konduktor_health.adapters.probes.telling import Teller
from konduktor_health.adapters.signing import Signing
from konduktor_health.clock import Clock
from konduktor_health.core.pair_tests import PairKey
from konduktor_health.core.reset import our_taints
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import NodeFeed
from konduktor_health.settings import Settings

__all__ = [
    "AgentHttp",
    "AgentOrders",
    "AgentPods",
    "Agents",
    "Collector",
    "Pace",
    "Pairs",
    "Signing",
    "Teller",
    "build_agents",
    "namespace",
]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Pairs:
    """What tests in pairs are made with."""

    measuring: PairMeasuring
    agent_of: Callable[[str], AgentPod | None]
    #: Have this told of pairs (client, server, interface) that agents speak against by themselves.
    on_suspicion: Callable[[Callable[[Iterable[PairKey]], None]], None]


@dataclass(frozen=True, slots=True)
class Agents:
    """All that has to do with the agents on the nodes."""

    collector: Collector
    pods: AgentPods
    orders: AgentOrders | None = None  # None: agents are asked for what they have, and no more
    signing: Signing | None = None
    teller: Teller | None = None
    pairs: Pairs | None = None


def namespace(settings: Settings) -> str:
    """Namespace of the agents' pods: as set, else this pod's own, else konduktor-health."""
    return settings.probes.namespace or namespace_of_pod()


def build_agents(
    settings: Settings,
    http: KubeHttp,
    feed: NodeFeed,
    clock: Clock,
    *,
    assert_leader: Callable[[], None] | None,
    agents: AgentHttp | None = None,
    accept_fake: bool = False,
) -> Agents:
    """Who asks the agents, and what they can be asked. ``assert_leader``: raises LeadershipLost
    before each effect; None: there are none (dry run). ``agents``: how they are asked;
    ``accept_fake``: believe fake backends. No setting gives these two."""
    wanted, keys = settings.probes, settings.keys()
    agents = agents or AgentHttp(clock, most_kept=wanted.connections)
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
    collector = Collector(
        pods,
        agents,
        feed,
        clock=clock,
        pace=pace,
        closely=lambda view: is_unwell(view, keys),
        accept_fake=accept_fake,
    )
    if assert_leader is None:
        return Agents(collector, pods)
    signing = Signing(
        http,
        clock,
        namespace=namespace(settings),
        rotate_s=wanted.key_days * _DAY_S,
        assert_leader=assert_leader,
        wanted=pods.present,
    )
    orders = AgentOrders(
        pods.of,
        agents,
        signing.sign,
        clock,
        timeout_s=wanted.timeout_s,
        assert_leader=assert_leader,
    )
    teller = Teller(
        orders.settings,
        pods.names,
        pods.of,
        keys,
        clock,
        labels=wanted.labels,
        thresholds=wanted.thresholds,
        peers=wanted.peers,
    )
    collector.on_answer(teller.answered)
    pairs = _pairs(settings, orders, pods, agents, feed, collector, clock, accept_fake=accept_fake)
    return Agents(collector, pods, orders, signing, teller, pairs)


def _pairs(
    settings: Settings,
    orders: AgentOrders,
    pods: AgentPods,
    http: AgentHttp,
    feed: NodeFeed,
    collector: Collector,
    clock: Clock,
    *,
    accept_fake: bool,
) -> Pairs:
    wanted = settings.probes
    asked = AskedRuns(
        pods.of, http, feed.nodes, clock, timeout_s=wanted.timeout_s, accept_fake=accept_fake
    )

    def gpus(name: str) -> int:
        view = feed.nodes().get(name)
        return view.gpu_capacity if view is not None else 0

    def on_suspicion(tell: Callable[[Iterable[PairKey]], None]) -> None:
        collector.on_runs(
            lambda name, runs: tell(
                list(suspected(name, runs, pods.of, clock.now_ns(), accept_fake=accept_fake))
            )
        )

    rounds = wanted.rounds
    measuring = PairMeasuring(
        PairRuns(orders, asked, clock, workers=wanted.workers),
        asked,
        pods.of,
        gpus,
        Bandwidth(rounds.bandwidth_seconds, rounds.bandwidth_streams, rounds.bandwidth_gbps),
    )
    return Pairs(measuring, pods.of, on_suspicion)


def is_unwell(view: NodeView, keys: Keys) -> bool:
    """Something is open on the node: proof is asked for, or may soon be."""
    return view.health_label is not None or bool(our_taints(view, keys))
