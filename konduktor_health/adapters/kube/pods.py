"""Which pods use the GPUs of a node, and how are they told? A list by node, and Events.

Only asked when a node was tainted: nothing is watched, and an idle controller lists no pods. Pods
that ask for GPUs through a resource claim (DRA) are not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.cluster import COMPONENT, bounded_message
from konduktor_health.adapters.kube.nodes import printable
from konduktor_health.adapters.kube.status import AlreadyExists
from konduktor_health.clock import rfc3339
from konduktor_health.ports import PodEvent, PodOnNode
from konduktor_health.timestamps import NS, parse_rfc3339

MOST_PODS = 64  # that are told of one taint
_LISTED = 500  # a kubelet runs 110 pods by default
ENDED_NS = 600 * NS  # a pod that the fault has ended is told too, for so long
_MIG = "/mig-"  # nvidia.com/mig-1g.10gb: a part of a GPU


class KubePods:
    """PodsOnNode of ports on a real API server. Thread-safe."""

    def __init__(self, http: KubeHttp, gpu_resource: str, *, reporter: str = COMPONENT) -> None:
        self._http = http
        self._gpu_resource = gpu_resource
        self._part = gpu_resource.partition("/")[0] + _MIG
        self._reporter = reporter

    def using_gpus(self, node: str, now_ns: int) -> tuple[PodOnNode, ...]:
        """Pods of the node that ask for GPUs; those that run first, then by name."""
        found: list[tuple[bool, PodOnNode]] = []
        for raw in self._on(node):
            pod = _pod(raw)
            ended_ns = _ended_ns(raw)
            late = ended_ns is not None and not 0 <= now_ns - ended_ns <= ENDED_NS
            if pod is not None and not late and self._asks(raw):
                found.append((ended_ns is not None, pod))
        found.sort(key=lambda each: (each[0], each[1].namespace, each[1].name))
        return tuple(pod for _, pod in found[:MOST_PODS])

    def holding_gpus(self, node: str, *, but: str = "") -> tuple[PodOnNode, ...]:
        """Pods of the node that hold GPUs now, by name. ``but``: those of this component
        (label ``app.kubernetes.io/component``) are left out."""
        found = [
            pod
            for raw in self._on(node)
            if (pod := _pod(raw)) is not None
            and _ended_ns(raw) is None
            and self._asks(raw)
            and not (but and _component(raw) == but)
        ]
        return tuple(sorted(found, key=lambda each: (each.namespace, each.name))[:MOST_PODS])

    def publish(self, event: PodEvent, now_ns: int) -> None:
        """Create the Event beside its pod; its name follows from the pod and ``dedupe``."""
        now, pod = rfc3339(now_ns), event.pod
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": _event_name(event), "namespace": pod.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": pod.namespace,
                "name": pod.name,
                "uid": pod.uid,
            },
            "type": "Warning",
            "reason": printable(event.reason, 128),
            "message": bounded_message(event.message),
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._reporter[:128],
        }
        namespace = quote(pod.namespace, safe="")
        try:
            self._http.request("POST", f"/api/v1/namespaces/{namespace}/events", body=body)
        except AlreadyExists:
            return

    def _on(self, node: str) -> list[Any]:
        params = {"fieldSelector": f"spec.nodeName={node}", "limit": str(_LISTED)}
        items = self._http.get("/api/v1/pods", params).get("items")
        return items if isinstance(items, list) else []

    def _asks(self, raw: Any) -> bool:
        return any(
            name == self._gpu_resource or name.startswith(self._part)
            for name, amount in _amounts(raw)
            if str(amount) not in ("", "0")
        )


def _pod(raw: Any) -> PodOnNode | None:
    meta = _map(_map(raw).get("metadata"))
    namespace, name, uid = (meta.get(key) for key in ("namespace", "name", "uid"))
    if not (isinstance(namespace, str) and isinstance(name, str) and isinstance(uid, str)):
        return None
    return PodOnNode(namespace, name, uid) if namespace and name and uid else None


def _component(raw: Any) -> object:
    labels = _map(_map(_map(raw).get("metadata")).get("labels"))
    return labels.get("app.kubernetes.io/component")


def _amounts(raw: Any) -> Iterator[tuple[str, Any]]:
    """What the containers of a pod ask for."""
    spec = _map(_map(raw).get("spec"))
    for group in ("containers", "initContainers"):
        for container in _maps(spec.get(group)):
            resources = _map(container.get("resources"))
            for kind in ("requests", "limits"):
                yield from _map(resources.get(kind)).items()


def _ended_ns(raw: Any) -> int | None:
    """When a pod ended that has, Unix ns (0: it does not tell); None: it runs."""
    status = _map(_map(raw).get("status"))
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    ends = [0]
    for container in _maps(status.get("containerStatuses")):
        ended = _map(_map(container.get("state")).get("terminated")).get("finishedAt")
        try:
            ends.append(parse_rfc3339(ended) if isinstance(ended, str) else 0)
        except (ValueError, OverflowError):
            continue
    return max(ends)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    return (each for each in (value if isinstance(value, list) else ()) if isinstance(each, dict))


def _event_name(event: PodEvent) -> str:
    source = "\0".join((event.pod.uid, event.reason, event.dedupe)).encode("utf-8", "replace")
    return f"{event.pod.name[:230].rstrip('.-')}.{hashlib.sha256(source).hexdigest()[:16]}"
