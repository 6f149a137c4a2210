"""Which parts have nodes tested by Jobs, and storage by a claim, where the site wants that?"""

from __future__ import annotations

from konduktor_health.adapters.kube import KubeHttp, build_claims, build_jobs
from konduktor_health.adapters.probes import Agents
from konduktor_health.clock import Clock
from konduktor_health.core.invasive_step import Pace
from konduktor_health.model import Policy, ProbeStatus, PublishEvent
from konduktor_health.ports import Cluster, Leadership, NodeFeed
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.invasive import InvasiveTests, Limits
from konduktor_health.runtime.invasive_rota import Rota
from konduktor_health.runtime.invasive_work import InvasiveWork
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.volume_check import VolumeCheck
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


def build_volume_check(
    settings: Settings,
    http: KubeHttp,
    cluster: Cluster,
    clock: Clock,
    lease: Leadership | None,
    metrics: Metrics,
) -> VolumeCheck | None:
    """None: no storage class is named, or it is a dry run."""
    wanted = settings.probes.pvc
    if lease is None or not wanted.storage_class:
        return None

    def publish(event: PublishEvent) -> None:
        lease.assert_leader()
        cluster.publish_event(event, clock.now_ns())

    def counted(status: ProbeStatus) -> None:
        metrics.volume_checks.labels(status.value).inc()
        if status in (ProbeStatus.PASS, ProbeStatus.FAIL):
            metrics.volume_failing.set(status is ProbeStatus.FAIL)

    return VolumeCheck(
        build_claims(settings, http),
        clock=clock,
        interval_s=wanted.interval_s,
        timeout_s=wanted.timeout_s,
        assert_leader=lease.assert_leader,
        publish=publish,
        counted=counted,
    )
