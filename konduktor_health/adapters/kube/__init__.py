"""How do we speak to a Kubernetes cluster? Builders that wire the adapter from settings.

``client`` moves bytes, ``status`` names errors, ``config`` finds server and credentials,
``nodes`` decodes, ``feed`` watches, ``cluster`` writes, ``belongings`` deletes what is ours,
``exec`` runs a command in a pod, ``pods`` tells pods what became of their GPU, ``jobs`` makes
Jobs that test nodes (``job_manifest``), ``claims`` claims volumes.
Leader election is ``konduktor_health.adapters.lease``, on ``leases``.
"""

from __future__ import annotations

from collections.abc import Callable

from konduktor_health.adapters.kube.belongings import KubeBelongings
from konduktor_health.adapters.kube.claims import ClaimShape, KubeClaims
from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.cluster import KubeCluster
from konduktor_health.adapters.kube.config import load, namespace_of_pod
from konduktor_health.adapters.kube.feed import WatchFeed
from konduktor_health.adapters.kube.job_manifest import Shape
from konduktor_health.adapters.kube.jobs import KubeInvasiveJobs
from konduktor_health.adapters.kube.leases import KubeLease
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.adapters.kube.pods import KubePods
from konduktor_health.adapters.lease import LeaseElector, LeaseTimes
from konduktor_health.clock import Clock
from konduktor_health.core.shard import Shard
from konduktor_health.errors import ConfigError
from konduktor_health.model import NodeView
from konduktor_health.settings import Settings

__all__ = [
    "KubeBelongings",
    "KubeClaims",
    "KubeCluster",
    "KubeHttp",
    "KubeInvasiveJobs",
    "KubePods",
    "WatchFeed",
    "build_belongings",
    "build_claims",
    "build_cluster",
    "build_feed",
    "build_jobs",
    "build_lease",
    "build_pods",
    "namespace",
    "shard",
]


def namespace(settings: Settings) -> str:
    """Namespace of Lease and ConfigMap: as set, else the pod's, else konduktor-health."""
    return settings.cluster.namespace or namespace_of_pod()


def shard(settings: Settings) -> Shard:
    """Which nodes are this controller's, and how its Lease and ConfigMap are called."""
    return Shard(settings.shard.label, settings.shard.value)


def build_cluster(settings: Settings, clock: Clock) -> tuple[KubeHttp, KubeCluster]:
    """Connection and cluster. Raises ConfigError; does not yet speak to the server
    (``KubeHttp.check`` does)."""
    wanted = settings.cluster
    access = load(wanted.kubeconfig, wanted.context, clock)
    http = KubeHttp(access, clock, timeout_s=wanted.timeout_s, writers=wanted.writers)
    cluster = KubeCluster(
        http,
        _decoder(settings),
        settings.keys(),
        namespace=namespace(settings),
        shard=shard(settings),
    )
    return http, cluster


def build_belongings(settings: Settings, http: KubeHttp) -> KubeBelongings:
    """What of ours lies beside the Nodes."""
    return KubeBelongings(
        http,
        namespace(settings),
        settings.lease.name,
        shard(settings),
        settings.keys(),
        agents=settings.probes.namespace,
    )


def build_pods(settings: Settings, http: KubeHttp) -> KubePods:
    """Who uses the GPUs of a node."""
    return KubePods(http, settings.cluster.gpu_resource)


def build_jobs(settings: Settings, http: KubeHttp) -> KubeInvasiveJobs:
    """Jobs that test nodes, in the namespace of the agents. Raises ConfigError without an image."""
    jobs = settings.probes.jobs
    if not jobs.image:
        raise ConfigError(
            "settings: probes.jobs.image: Jobs need the image of the probe",
            hint="the chart sets it; without the chart, give the image of the DaemonSet",
        )
    shape = Shape(
        namespace=settings.probes.namespace or namespace_of_pod(),
        image=jobs.image,
        keys=settings.keys(),
        shard=settings.shard.value,
        pull_policy=jobs.image_pull_policy,
        pull_secrets=jobs.image_pull_secrets,
        service_account=jobs.service_account,
        priority_class=jobs.priority_class,
        runtime_class=jobs.runtime_class,
        state_directory=jobs.state_directory,
        privileged=jobs.privileged,
        requests=jobs.requests,
        limits=jobs.limits,
        tolerations=jobs.tolerations,
        user_checks=jobs.user_checks,
        longest_s=int(jobs.pending_s + jobs.deadline_s),
        ttl_s=jobs.ttl_s,
    )
    return KubeInvasiveJobs(http, build_pods(settings, http), shape, settings.cluster.gpu_resource)


def build_claims(settings: Settings, http: KubeHttp) -> KubeClaims:
    """Claims of volumes, in the namespace of the agents."""
    wanted = settings.probes.pvc
    shape = ClaimShape(
        namespace=settings.probes.namespace or namespace_of_pod(),
        storage_class=wanted.storage_class,
        access_mode=wanted.access_mode,
        size=wanted.size,
    )
    return KubeClaims(http, shape, settings.keys(), shard(settings))


def build_feed(
    settings: Settings, http: KubeHttp, keep: Callable[[NodeView], bool], clock: Clock
) -> WatchFeed:
    """The node watch. ``keep`` says which nodes are managed; it runs on the feed's thread and on
    that of put()."""
    return WatchFeed(http, _decoder(settings), keep, clock)


def build_lease(settings: Settings, http: KubeHttp, clock: Clock, identity: str) -> LeaseElector:
    """Leader election. Raises ConfigError for times that are not safe together."""
    lease = settings.lease
    times = LeaseTimes(
        duration=lease.duration_s,
        renew_deadline=lease.renew_deadline_s,
        retry=lease.retry_s,
        call=settings.cluster.timeout_s,
    )
    own = shard(settings)
    labels = {settings.keys().shard: own.value} if own.value else {}
    api = KubeLease(http, namespace(settings), own.name(lease.name), labels)
    return LeaseElector(api, identity, times, clock)


def _decoder(settings: Settings) -> NodeDecoder:
    return NodeDecoder(
        settings.keys(), settings.cluster.node_selector, settings.cluster.gpu_resource
    )
