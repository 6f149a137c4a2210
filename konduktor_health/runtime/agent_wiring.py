"""Which parts ask agents about kernel lines, and have them measure what a decision waits for?"""

from __future__ import annotations

import threading

from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import Clock
from konduktor_health.core.invasive import INVASIVE_CHECKS
from konduktor_health.model import Policy
from konduktor_health.ports import NodeFeed
from konduktor_health.runtime.attesting import Attesting
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.runtime.verifying import Verifying
from konduktor_health.settings import Settings


def build_attesting(agents: Agents | None, clock: Clock, wake: threading.Event) -> Attesting | None:
    """Who asks agents about kernel lines. A dry run asks nobody for anything."""
    if agents is None or agents.orders is None:
        return None
    believed = agents.collector.believed
    return Attesting(agents.orders, clock=clock, believed=believed, wake=wake.set)


def build_verifying(
    agents: Agents | None,
    feed: NodeFeed,
    policy: Policy,
    clock: Clock,
    rounds: Rounds | None,
    settings: Settings,
) -> Verifying | None:
    """Who asks agents to measure what a decision waits for."""
    if agents is None or agents.orders is None:
        return None
    jobs = settings.probes.jobs
    return Verifying(
        agents.orders,
        feed.nodes,
        policy,
        clock=clock,
        believed=agents.collector.believed,
        elsewhere=rounds.want if rounds is not None else lambda _node, _probe: False,
        left_to_jobs=INVASIVE_CHECKS.union(jobs.own_checks) if jobs.enabled else frozenset(),
    )
