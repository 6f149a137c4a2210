"""Agents are found by their pods, while these come and go, on an API server that misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.kube import KubeHttp
from konduktor_health.adapters.kube.config import load
from konduktor_health.adapters.probes.pod_watch import AgentPods
from konduktor_health.clock import SystemClock
from konduktor_health.sandbox.kubeapi import KubeApi
from tests.support.controller import eventually

NAMESPACE = "konduktor-health"
LABELS = {"app.kubernetes.io/component": "probe"}


class Cluster:
    """Pods of a DaemonSet in the sandbox's API server."""

    def __init__(self, tmp_path: Path, *, daemonset: bool = True) -> None:
        self.api = KubeApi()
        self.api.start()
        self.store = self.api.store
        self.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        self.uid = self.make_daemonset() if daemonset else ""
        path = tmp_path / "kubeconfig"
        path.write_text(self.api.kubeconfig(), encoding="utf-8")
        self.http = KubeHttp(load(path, "", SystemClock()), SystemClock(), timeout_s=5)
        self.stop = threading.Event()
        self.told: list[set[str]] = []
        self.pods = AgentPods(
            self.http,
            SystemClock(),
            namespace=NAMESPACE,
            daemonset="konduktor-health-probe",
            selector="app.kubernetes.io/component=probe",
            port=9410,
            jitter=lambda: 0.0,
        )
        self.pods.on_change(lambda names: self.told.append(set(names)))

    def start(self) -> None:
        self.pods.start(self.stop)

    def make_daemonset(self) -> str:
        made = self.store.create(
            "daemonsets", {"metadata": {"name": "konduktor-health-probe", "namespace": NAMESPACE}}
        )
        return str(made["metadata"]["uid"])

    def pod(self, name: str, node: str, address: str, *, uid: str = "", **more: Any) -> None:
        owner = {
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "konduktor-health-probe",
            "uid": uid or self.uid, "controller": True,
        }  # fmt: skip
        self.store.create(
            "pods",
            {
                "metadata": {
                    "name": name, "namespace": NAMESPACE, "labels": LABELS,
                    "ownerReferences": [owner],
                },
                "spec": {
                    "nodeName": node,
                    "containers": [{"name": "agent", "ports": [{"containerPort": 9410}]}],
                },
                "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
                **more,
            },
        )  # fmt: skip

    def address(self, node: str) -> str:
        found = self.pods.of(node)
        return found.address if found else ""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    made: list[Cluster] = []

    def cluster(**how: Any) -> Cluster:
        made.append(Cluster(tmp_path, **how))
        return made[-1]

    yield cluster
    for each in made:
        each.stop.set()
        each.api.stop()


def test_pods_are_found_and_followed(make: Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.pod("a", "gpu-1", "10.0.0.1")
    assert cluster.pods.names() is None
    cluster.start()
    eventually(lambda: cluster.pods.names() == frozenset({"gpu-1"}), "the first list")
    cluster.pod("b", "gpu-2", "10.0.0.2")
    eventually(lambda: cluster.address("gpu-2") == "10.0.0.2", "a pod that comes")
    cluster.http.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/a")
    eventually(lambda: cluster.pods.names() == frozenset({"gpu-2"}), "a pod that goes")
    assert {"gpu-1"} in cluster.told


def test_a_pod_that_only_claims_to_be_ours_is_not_asked(make: Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.pod("a", "gpu-1", "10.0.0.1")
    cluster.pod("forged", "gpu-2", "10.6.6.6", uid="another one's")
    cluster.start()
    eventually(lambda: cluster.pods.names() == frozenset({"gpu-1"}), "ours alone")


def test_without_a_daemonset_it_is_known_that_there_are_no_agents(
    make: Callable[..., Cluster],
) -> None:
    cluster = make(daemonset=False)
    cluster.start()
    eventually(lambda: cluster.pods.names() == frozenset(), "known, and nobody")


def test_what_was_known_outlasts_an_api_server_that_fails(make: Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.pod("a", "gpu-1", "10.0.0.1")
    cluster.start()
    eventually(lambda: cluster.address("gpu-1") == "10.0.0.1", "the first list")
    cluster.api.stop()
    assert not cluster.stop.wait(0.3)
    assert cluster.pods.names() == frozenset({"gpu-1"})
