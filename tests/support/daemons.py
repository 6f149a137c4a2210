"""Which objects does a collector need on the API server to tell whose log a file is?

Pods that a DaemonSet owns, and an account with the rights that the collector's configuration
names. Created once per cluster but for the pods: other tests may have made them.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml

from tests.support.cri import ContainerLog
from tests.support.servers import KubeRequestError, RealKube

_ACCOUNT = "otel-collector"  # also its namespace and role


def daemon_log(
    kube: RealKube, pod_logs: Path, node: str, *, namespace: str, daemonset: str, container: str
) -> ContainerLog:
    """A new pod of the DaemonSet on the node; the log of its container."""
    uid = _daemonset_uid(kube, namespace, daemonset)
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": daemonset, "uid": uid}
    name = f"{daemonset}-{secrets.token_hex(3)}"
    body = {
        "metadata": {"name": name, "ownerReferences": [owner | {"controller": True}]},
        "spec": _pod_spec(container) | {"nodeName": node},
    }
    pod = kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)["metadata"]
    return ContainerLog(
        pod_logs, namespace=namespace, pod=name, uid=pod["uid"], container=container
    )


def collector_kubeconfig(kube: RealKube, path: Path) -> Path:
    """A kubeconfig of a service account that may get, list and watch pods and nothing else."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": _ACCOUNT}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ACCOUNT}
    metadata = {"name": _ACCOUNT}
    accounts = f"/api/v1/namespaces/{_ACCOUNT}/serviceaccounts"
    _create(kube, "/api/v1/namespaces", {"metadata": metadata})
    _create(kube, accounts, {"metadata": metadata})
    _create(kube, f"{rbac}/clusterroles", {"metadata": metadata, "rules": [rule]})
    binding = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
    _create(kube, f"{rbac}/clusterrolebindings", binding)
    spec = {"spec": {"expirationSeconds": 3600}}
    token = kube.request("POST", f"{accounts}/{_ACCOUNT}/token", spec)["status"]["token"]
    config = yaml.safe_load(kube.kubeconfig().read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _daemonset_uid(kube: RealKube, namespace: str, name: str) -> str:
    _create(kube, "/api/v1/namespaces", {"metadata": {"name": namespace}})
    labels = {"app": name}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _pod_spec("main")},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets"
    return str(_create(kube, path, {"metadata": {"name": name}, "spec": spec})["metadata"]["uid"])


def _pod_spec(container: str) -> dict[str, Any]:
    return {"containers": [{"name": container, "image": "never-pulled"}]}


def _create(kube: RealKube, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Create, or take what is there."""
    try:
        return dict(kube.request("POST", path, body))
    except KubeRequestError as error:
        if error.status != 409:
            raise
        return dict(kube.request("GET", f"{path}/{body['metadata']['name']}"))
