"""What does a Job look like that tests a node? A pure function of what is wanted; batch/v1.

- Its name follows from the Node's UID, so that the API server allows one of a node at a time.
- The scheduler places its pod (node affinity, no ``nodeName``), and the pod asks for all GPUs that
  the node offers: so they are reserved, and nothing of anybody's is thrown out for them.
- It tolerates our taint and those that the settings name, not a cordon: somebody else's word.
- It ends: one pod, no second try, a deadline, and Kubernetes deletes it some time after.
- No token, no network to speak of, no capability, nothing of the host but two directories that it
  may write (the agent's inbox, and what checks compare with the next time) and one it may read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.jobs import WantedJob
from konduktor_health.model import Keys

COMPONENT = "invasive-test"
MANAGED_BY = "konduktor-health"
CONTAINER = "probe"
TIER = "invasive"
_CHECKS = "/etc/konduktor-health/user-checks"
_SHM = "1Gi"  # what NCCL shares between processes; a container has 64 MiB otherwise


@dataclass(frozen=True, slots=True)
class Shape:
    """What is the same for all Jobs. Durations in seconds."""

    namespace: str
    image: str
    keys: Keys = field(default_factory=Keys)
    shard: str = ""
    pull_policy: str = ""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    priority_class: str = ""
    runtime_class: str = ""
    state_directory: str = "/var/lib/konduktor-health"
    privileged: bool = False
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()
    user_checks: str = ""  # name of a ConfigMap
    longest_s: int = 18_300  # from the making of the Job to its end
    ttl_s: int = 3600


def job_name(node_uid: str) -> str:
    """The name of a node's Job."""
    return f"konduktor-invasive-{hashlib.sha256(node_uid.encode()).hexdigest()[:16]}"


def labels_of(shape: Shape) -> dict[str, str]:
    """By these a controller knows its Jobs; one of another shard has another value."""
    labels = {
        "app.kubernetes.io/component": COMPONENT,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        "app.kubernetes.io/part-of": "konduktor",
    }
    return labels | ({shape.keys.shard: shape.shard} if shape.shard else {})


def job_manifest(wanted: WantedJob, shape: Shape) -> dict[str, Any]:
    """The Job, as it is sent to the API server."""
    prefix, labels = shape.keys.prefix, labels_of(shape)
    annotations = {
        f"{prefix}/node": wanted.node,
        f"{prefix}/node-uid": wanted.node_uid,
        f"{prefix}/run": wanted.run_id,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(wanted.node_uid),
            "namespace": shape.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": shape.longest_s,
            "ttlSecondsAfterFinished": shape.ttl_s,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(wanted, shape),
            },
        },
    }


def _pod(wanted: WantedJob, shape: Shape) -> dict[str, Any]:
    on_the_node = {"key": "metadata.name", "operator": "In", "values": [wanted.node]}
    keys = dict.fromkeys((shape.keys.taint, *shape.tolerations))
    required = {"nodeSelectorTerms": [{"matchFields": [on_the_node]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 10,
        "affinity": affinity,
        "tolerations": [{"key": key, "operator": "Exists"} for key in keys],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(wanted, shape)],
        "volumes": _volumes(shape),
    }
    for key, value in (
        ("serviceAccountName", shape.service_account),
        ("priorityClassName", shape.priority_class),
        ("runtimeClassName", shape.runtime_class),
        ("imagePullSecrets", [{"name": name} for name in shape.pull_secrets]),
    ):
        if value:
            spec[key] = value
    return spec


def _container(wanted: WantedJob, shape: Shape) -> dict[str, Any]:
    gpus = {name: str(amount) for name, amount in wanted.gpus.items()}
    security: dict[str, Any] = {
        "runAsUser": 0,  # the agent takes what root has left, and nobody else
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
    }
    if shape.privileged:
        security["privileged"] = True
    else:
        security |= {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": shape.image,
        "command": ["konduktor-probe"],
        "args": _arguments(wanted, shape),
        "env": [
            {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"},
        ],
        "resources": {
            "requests": {**shape.requests, **gpus},
            "limits": {**shape.limits, **gpus},
        },
        "securityContext": security,
        # why it could not run is told on the Node
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(shape),
    }
    if shape.pull_policy:
        container["imagePullPolicy"] = shape.pull_policy
    return container


def _arguments(wanted: WantedJob, shape: Shape) -> list[str]:
    arguments = ["run", *(probe for probe in wanted.probes if probe != TIER)]
    if TIER in wanted.probes:
        arguments.append(f"--tier={TIER}")
    arguments += [
        f"--run-id={wanted.run_id}",
        f"--reason=job {wanted.run_id}",
        f"--settings={shape.state_directory}/agent/settings.json",
        f"--state={shape.state_directory}/jobs",
        f"--deliver={shape.state_directory}/agent/delivered",
        "--ok-when-delivered",
    ]
    return arguments + ([f"--user-checks={_CHECKS}"] if shape.user_checks else [])


def _mounts(shape: Shape) -> list[dict[str, Any]]:
    folder = shape.state_directory
    mounts: list[dict[str, Any]] = [
        {"name": "agent", "mountPath": f"{folder}/agent", "readOnly": True},
        {"name": "delivered", "mountPath": f"{folder}/agent/delivered"},
        {"name": "jobs", "mountPath": f"{folder}/jobs"},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - in the container
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - in the container
    ]
    if shape.user_checks:
        mounts.append({"name": "user-checks", "mountPath": _CHECKS, "readOnly": True})
    return mounts


def _volumes(shape: Shape) -> list[dict[str, Any]]:
    folder = shape.state_directory

    def on_host(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "hostPath": {"path": path, "type": "DirectoryOrCreate"}}

    volumes: list[dict[str, Any]] = [
        on_host("agent", f"{folder}/agent"),
        on_host("delivered", f"{folder}/agent/delivered"),
        on_host("jobs", f"{folder}/jobs"),
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHM}},
    ]
    if shape.user_checks:
        source = {"name": shape.user_checks, "defaultMode": 0o555}
        volumes.append({"name": "user-checks", "configMap": source})
    return volumes
