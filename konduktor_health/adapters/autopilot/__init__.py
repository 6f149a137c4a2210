"""How does the controller answer users of IBM Autopilot? Its fan-out over many nodes.

``query`` reads what is asked for, ``choice`` says on which nodes, ``agents`` asks one node's agent,
``words`` reads and bounds what it says, ``fan_out`` writes the whole answer; ``throughput``,
``pingnodes`` and ``claims`` write what takes more than one agent, or none. Texts are Autopilot's
(docs/design/autopilot.md); the HTTP server is ``runtime.autopilot_http``.
"""

from __future__ import annotations

from collections.abc import Callable

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice
from konduktor_health.adapters.autopilot.claims import Claims, TestsVolumes
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.autopilot.pingnodes import PingNodes
from konduktor_health.adapters.autopilot.throughput import Throughput
from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.probes import AgentHttp, Agents
from konduktor_health.adapters.probes.asked import AskedRuns
from konduktor_health.clock import Clock
from konduktor_health.ports import NodeFeed
from konduktor_health.settings import Settings

__all__ = ["FanOut", "TestsVolumes", "build_fan_out"]
_DRY_RUN = "[PVC Create-Delete] A dry run claims nothing. ABORT"


def build_fan_out(
    settings: Settings,
    http: KubeHttp,
    feed: NodeFeed,
    agents: Agents,
    clock: Clock,
    *,
    asks: AgentHttp | None = None,
    volumes: TestsVolumes | None = None,
    test: Callable[[str], str] | None = None,
) -> FanOut:
    """Who answers users of Autopilot. ``asks``: how agents are asked for their texts; ``volumes``:
    who tests storage; ``test``: has a node tested by a Job, "" or why not."""
    wanted = settings.autopilot
    http_of_agents = asks or AgentHttp(clock)
    orders = agents.orders if wanted.start else None
    asked = AskedAgents(
        orders,
        http_of_agents,
        clock,
        port=wanted.agent_port,
        timeout_s=wanted.timeout_s,
        agent_of=agents.pods.of,
    )
    choice = Choice(feed.nodes, agents.pods.names, agents.pods.of, http)
    throughput = pings = None
    if orders is not None:
        timeout_s = settings.probes.timeout_s
        throughput = Throughput(orders, http_of_agents, clock, timeout_s=timeout_s)
        runs = AskedRuns(agents.pods.of, http_of_agents, feed.nodes, clock, timeout_s=timeout_s)
        pings = PingNodes(orders, runs, clock, agent_of=agents.pods.of)
    return FanOut(
        choice,
        asked,
        clock,
        throughput=throughput,
        claims=_claims(settings, volumes, clock),
        pings=pings,
        test=test if wanted.start_invasive else None,
    )


def _claims(
    settings: Settings, volumes: TestsVolumes | None, clock: Clock
) -> Callable[[str], str] | None:
    """None: no storage class is set."""
    if volumes is not None:
        return Claims(volumes, clock, starts=settings.autopilot.start)
    return (lambda _node: _DRY_RUN) if settings.probes.pvc.storage_class else None
