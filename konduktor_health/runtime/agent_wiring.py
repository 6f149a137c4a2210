"""Which parts ask agents about kernel lines, and have them measure what a decision waits for?"""

from __future__ import annotations

import threading

from loguru import logger

from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import Clock
from konduktor_health.model import Policy
from konduktor_health.policy import unasked
from konduktor_health.ports import NodeFeed
from konduktor_health.runtime.attesting import Attesting
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.runtime.verifying import Verifying
from konduktor_health.settings import Settings
from konduktor_health.treatment import INVASIVE_CHECKS


def warn_of_unasked(policy: Policy, settings: Settings) -> None:
    """Say which rules ask for the invasive tier where nobody runs it. Of a policy file the places
    are told too, by who reads it."""
    names = [] if settings.probes.run_invasive else unasked.names_of(policy.rules)
    if settings.probes.enabled and names:
        logger.bind(hint=unasked.HINT).warning(
            f"rules {', '.join(names)} ask for it, and {unasked.NOBODY}"
        )


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
