"""How does the controller answer users of IBM Autopilot? Its fan-out over many nodes.

``query`` reads what is asked for, ``choice`` says on which nodes, ``agents`` asks one node's agent,
``words`` reads and bounds what it says, ``fan_out`` writes the whole answer. Texts are Autopilot's
(docs/design/autopilot.md); the HTTP server is ``runtime.autopilot_http``.
"""

from __future__ import annotations

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.autopilot.throughput import Throughput
from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.probes import AgentHttp, Agents
from konduktor_health.clock import Clock
from konduktor_health.ports import NodeFeed
from konduktor_health.settings import Settings

__all__ = ["FanOut", "build_fan_out"]


def build_fan_out(
    settings: Settings,
    http: KubeHttp,
    feed: NodeFeed,
    agents: Agents,
    clock: Clock,
    *,
    asks: AgentHttp | None = None,
) -> FanOut:
    """Who answers users of Autopilot. ``asks``: how agents are asked for their texts."""
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
    throughput = None
    if orders is not None:
        timeout_s = settings.probes.timeout_s
        throughput = Throughput(orders, http_of_agents, clock, timeout_s=timeout_s)
    return FanOut(choice, asked, clock, throughput=throughput)
