"""Which Jobs of ours test nodes now, and how are they made and deleted? By REST.

A Job is known by its labels, and says by its annotations which Node and which run it is for. What
cannot be read of one is empty, so that nothing takes it for its own. Deleting takes the pod along,
and only the very Job that was seen (UID).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from konduktor_health.adapters.kube.client import KubeHttp
from konduktor_health.adapters.kube.job_manifest import (
    COMPONENT,
    MANAGED_BY,
    Shape,
    job_manifest,
)
from konduktor_health.adapters.kube.listing import NODES
from konduktor_health.adapters.kube.nodes import printable
from konduktor_health.adapters.kube.pods import KubePods
from konduktor_health.errors import Conflict, NotFound
from konduktor_health.jobs import InvasiveJob, JobState, WantedJob
from konduktor_health.ports import PodOnNode

_PAGE = "500"
_MOST_PAGES = 100
_MIG = "/mig-"  # nvidia.com/mig-1g.10gb: a part of a GPU
_WAITS = ("Pending", "Unknown", "")


class KubeInvasiveJobs:
    """``ports.InvasiveJobs`` on a real API server. Thread-safe."""

    def __init__(self, http: KubeHttp, pods: KubePods, shape: Shape, gpu_resource: str) -> None:
        self._http = http
        self._pods = pods
        self._shape = shape
        self._gpu_resource = gpu_resource
        self._part = gpu_resource.partition("/")[0] + _MIG
        space = quote(shape.namespace, safe="")
        self._collection = f"/apis/batch/v1/namespaces/{space}/jobs"
        self._pods_path = f"/api/v1/namespaces/{space}/pods"

    def jobs(self) -> tuple[InvasiveJob, ...]:
        """All Jobs of this controller, or of this shard."""
        found: list[InvasiveJob] = []
        params = {"labelSelector": self._selector(), "limit": _PAGE}
        for _ in range(_MOST_PAGES):
            answer = self._http.get(self._collection, params)
            found += (_job(each, self._shape.keys.prefix) for each in _maps(answer.get("items")))
            more = _map(answer.get("metadata")).get("continue")
            if not (isinstance(more, str) and more):
                break
            params["continue"] = more
        return tuple(found)

    def make(self, wanted: WantedJob) -> None:
        """Create the Job; Conflict where one of the node is there already."""
        self._http.request("POST", self._collection, body=job_manifest(wanted, self._shape))

    def remove(self, job: InvasiveJob) -> None:
        """Delete exactly this Job and its pod. Gone, or another one by now, is done."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": job.uid},
        }
        path = f"{self._collection}/{quote(job.name, safe='')}"
        try:
            self._http.request("DELETE", path, body=body)
        except (NotFound, Conflict):
            return

    def gpus_of(self, node: str) -> Mapping[str, int]:
        """What pods can have of the node's GPUs now, by resource: whole ones and MIG slices."""
        raw = self._http.get(f"{NODES}/{quote(node, safe='')}")
        allocatable = _map(_map(raw.get("status")).get("allocatable"))
        found = {}
        for name, amount in sorted(allocatable.items()):
            text = str(amount)
            is_gpu = name == self._gpu_resource or str(name).startswith(self._part)
            is_number = text.isascii() and text.isdigit() and len(text) < 6
            if is_gpu and is_number and int(text) > 0:
                found[str(name)] = int(text)
        return found

    def holding_gpus(self, node: str) -> tuple[PodOnNode, ...]:
        """Pods that hold GPUs of the node now, but for those of our Jobs."""
        return self._pods.holding_gpus(node, but=COMPONENT)

    def why_not_running(self, job: InvasiveJob) -> str:
        """Why the Job's pod does not run; "" where it runs, or has ended."""
        status = self._pod_status(job)
        if status is None:
            return "its Job has no pod"
        phase = status.get("phase")
        if phase not in _WAITS and phase is not None:
            return ""
        return f"its pod does not run: {_why(status) or 'no reason is told'}"

    def why_failed(self, job: InvasiveJob) -> str:
        """What the pod of a Job that failed has said last; "" where nobody can tell."""
        status = self._pod_status(job)
        if status is None:
            return ""
        for container in _maps(status.get("containerStatuses")):
            ended = _map(_map(container.get("state")).get("terminated"))
            if ended:
                text = printable(ended.get("message"), 2048)[-160:].strip()
                code = f"exit code {_number(ended.get('exitCode'))}"
                return f"{code}: {text}" if text else code
        return _said(status)

    def _pod_status(self, job: InvasiveJob) -> Mapping[str, Any] | None:
        """Of the Job's pod; None: there is none."""
        params = {"labelSelector": f"job-name={job.name}", "limit": "16"}
        pods = _maps(self._http.get(self._pods_path, params).get("items"))
        owned = [pod for pod in pods if _owner(pod) == job.uid]
        return _map(owned[-1].get("status")) if owned else None

    def _selector(self) -> str:
        own = self._shape.keys.shard
        shard = f"{own}={self._shape.shard}" if self._shape.shard else f"!{own}"
        component = f"app.kubernetes.io/component={COMPONENT}"
        return f"{component},app.kubernetes.io/managed-by={MANAGED_BY},{shard}"


def _job(raw: Mapping[str, Any], prefix: str) -> InvasiveJob:
    meta, status = _map(raw.get("metadata")), _map(raw.get("status"))
    said = _map(meta.get("annotations"))
    state, message = _state(status)
    return InvasiveJob(
        name=printable(meta.get("name"), 253),
        uid=printable(meta.get("uid"), 128),
        node=printable(said.get(f"{prefix}/node"), 253),
        node_uid=printable(said.get(f"{prefix}/node-uid"), 128),
        run_id=printable(said.get(f"{prefix}/run"), 64),
        state=state,
        message=message,
        ending=bool(meta.get("deletionTimestamp")),
    )


def _state(status: Mapping[str, Any]) -> tuple[JobState, str]:
    for each in _maps(status.get("conditions")):
        if each.get("status") != "True":
            continue
        if each.get("type") == "Complete":
            return JobState.DONE, ""
        if each.get("type") == "Failed":
            parts = (printable(each.get(key), 200) for key in ("reason", "message"))
            return JobState.FAILED, ": ".join(part for part in parts if part)
    if _number(status.get("ready")) > 0:
        return JobState.RUNNING, ""
    return JobState.PENDING, ""


def _why(status: Mapping[str, Any]) -> str:
    """What the scheduler or the kubelet says about a pod that does not run."""
    for container in _maps(status.get("containerStatuses")):
        waiting = _map(_map(container.get("state")).get("waiting"))
        if waiting:
            return _said(waiting)
    for each in _maps(status.get("conditions")):
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return _said(each)
    return ""


def _said(what: Mapping[str, Any]) -> str:
    parts = (printable(what.get(key), 160) for key in ("reason", "message"))
    return ": ".join(part for part in parts if part)


def _owner(pod: Mapping[str, Any]) -> str:
    owners = _maps(_map(pod.get("metadata")).get("ownerReferences"))
    return next((str(each.get("uid")) for each in owners if each.get("kind") == "Job"), "")


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Iterable[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
