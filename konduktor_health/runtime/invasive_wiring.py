"""Which parts have nodes tested by Jobs, where the site wants that?"""

from __future__ import annotations

from konduktor_health.adapters.kube import KubeHttp, build_jobs
from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import Clock
from konduktor_health.core.invasive_step import Pace
from konduktor_health.model import Policy
from konduktor_health.ports import Leadership, NodeFeed
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.invasive import InvasiveTests, Limits
from konduktor_health.runtime.invasive_rota import Rota
from konduktor_health.runtime.invasive_work import InvasiveWork
from konduktor_health.settings import Settings


def build_invasive(
    settings: Settings,
    http: KubeHttp,
    agents: Agents | None,
    feed: NodeFeed,
    applier: Applier | None,
    policy: Policy,
    clock: Clock,
    lease: Leadership | None,
) -> InvasiveTests | None:
    """None: the settings do not want it, nobody would tell what was delivered, or it is a dry
    run."""
    wanted = settings.probes.jobs
    if agents is None or applier is None or lease is None or not wanted.enabled:
        return None
    pace = Pace(
        pending_s=wanted.pending_s,
        deadline_s=wanted.deadline_s,
        retry_s=wanted.retry_s,
        retry_most_s=wanted.retry_most_s,
    )
    jobs, keys = build_jobs(settings, http), settings.keys()
    work = InvasiveWork(
        jobs, applier.edit, keys, clock=clock, pace=pace, assert_leader=lease.assert_leader
    )
    return InvasiveTests(
        jobs,
        feed.nodes,
        work,
        policy,
        clock=clock,
        believed=agents.collector.believed,
        pace=pace,
        limits=Limits(wanted.most_percent, wanted.most, frozenset(wanted.own_checks)),
        rota=Rota(keys, clock, interval_s=wanted.interval_s, pause_s=pace.busy_most_s),
    )
