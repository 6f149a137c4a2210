"""Which parts make up the tests in pairs? From settings, and what the agents can be asked."""

from __future__ import annotations

from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import NS, Clock
from konduktor_health.core.pair_tests import Kind
from konduktor_health.core.rounds import RoundOptions, Shape
from konduktor_health.model import Policy
from konduktor_health.ports import NodeFeed
from konduktor_health.round_settings import RoundSettings
from konduktor_health.runtime.pair_course import Course
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.pair_members import Takers
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.selector import parse_selector
from konduktor_health.settings import Settings

#: However short the interval: as long as it takes until a node is accused.
LEAST_WINDOW_S = 1800.0


def build_rounds(
    settings: Settings, agents: Agents | None, feed: NodeFeed, policy: Policy, clock: Clock
) -> Rounds | None:
    """Who has nodes measure what lies between them; None where nobody may be asked (a dry run)."""
    if agents is None or agents.pairs is None:
        return None
    wanted = settings.probes.rounds
    selector = parse_selector(wanted.nodes) if wanted.nodes.strip() else None
    takers = Takers(feed.nodes, agents.pairs.agent_of, policy, clock, selector=selector)
    kinds = (
        (Kind.PING, wanted.interval_s, wanted.at_once),
        (Kind.BANDWIDTH, wanted.bandwidth_interval_s, wanted.bandwidth_at_once),
        (Kind.NCCL, wanted.nccl_interval_s, wanted.nccl_at_once),
    )
    courses = [
        Course(
            kind,
            _options(wanted, interval_s),
            clock,
            at_once=at_once,
            confirm_s=wanted.confirm_s,
        )
        for kind, interval_s, at_once in kinds
        if interval_s
    ]
    rounds = Rounds(agents.pairs.measuring, takers, courses, PairFindings(clock), clock)
    agents.pairs.on_suspicion(rounds.suspect)
    return rounds


def _options(wanted: RoundSettings, interval_s: float) -> RoundOptions:
    """Results of this round and of the one before it count."""
    window_s = max(1.5 * interval_s, LEAST_WINDOW_S)
    return RoundOptions(
        Shape(wanted.shape), interval_ns=int(interval_s * NS), window_ns=int(window_s * NS)
    )
