"""A stock kubectl works against the embedded API."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.nodes import cpu_node, gpu_node

Kubectl = Callable[..., str]
DEADLINE_S = 30


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home of its own: kubectl keeps its discovery cache there."""
    home = tmp_path_factory.mktemp("home")
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "KUBECONFIG": str(home / "config"), "NO_PROXY": "*"}


@pytest.fixture(scope="module")
def api(environment: dict[str, str]) -> Iterator[KubeApi]:
    api = KubeApi()
    api.start()
    Path(environment["KUBECONFIG"]).write_text(api.kubeconfig())
    yield api
    api.stop()
    assert api.failures == []


@pytest.fixture
def cluster(api: KubeApi) -> Iterator[KubeApi]:
    """Two GPU nodes, one without, a pod, an Event, a Lease."""
    for node in (gpu_node("gpu-0"), gpu_node("gpu-1"), cpu_node("cpu-0")):
        api.store.create("nodes", node)
    api.store.create(
        "pods",
        {
            "metadata": {"name": "job", "namespace": "default"},
            "spec": {"nodeName": "gpu-0", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": True}]},
        },
    )
    api.store.create(
        "events",
        {
            "metadata": {"name": "gpu-0.1", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": "gpu-0", "uid": "gpu-0"},
            "type": "Warning",
            "reason": "GpuFault",
            "message": "Xid 79 on 0000:3b:00",
            "count": 2,
            "firstTimestamp": api.store.now(),
            "lastTimestamp": api.store.now(),
            "source": {"component": "konduktor-health"},
        },
    )
    spec = {"holderIdentity": "replica-1"}
    lease = {"metadata": {"name": "konduktor-health", "namespace": "default"}, "spec": spec}
    api.store.create("leases", lease)
    yield api
    for plural in ("nodes", "pods", "events", "leases"):
        for obj in api.store.list(plural):
            namespace = obj["metadata"].get("namespace", "")
            api.store.delete(plural, obj["metadata"]["name"], namespace=namespace)


@pytest.fixture
def run(cluster: KubeApi, kubectl: str, environment: dict[str, str]) -> Kubectl:
    """Run kubectl and return its output; it must succeed unless a code is expected."""

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [kubectl, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == code, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout + done.stderr

    return call


def cells(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_nodes_are_listed_as_tables_wide_and_as_json(run: Kubectl) -> None:
    table = cells(run("get", "nodes"))
    assert table[0] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert [row[:3] for row in table[1:]] == [
        [name, "Ready", "<none>"] for name in ("cpu-0", "gpu-0", "gpu-1")
    ]
    wide = run("get", "nodes", "-o", "wide", "-l", "nvidia.com/gpu.present=true")
    assert "INTERNAL-IP" in wide
    assert "containerd://" in wide
    assert "cpu-0" not in wide
    listed = json.loads(run("get", "nodes", "-o", "json"))
    capacity = {n["metadata"]["name"]: n["status"]["capacity"] for n in listed["items"]}
    assert capacity["gpu-0"]["nvidia.com/gpu"] == "8"
    assert run("get", "nodes", "--chunk-size=1", "-o", "name").split() == [
        "node/cpu-0",
        "node/gpu-0",
        "node/gpu-1",
    ]
    assert 'nodes "none" not found' in run("get", "node", "none", code=1)


def test_a_node_is_described_with_its_pods_and_events(run: Kubectl) -> None:
    text = run("describe", "node", "gpu-0")
    for expected in (
        "nvidia.com/gpu.present=true",
        "KubeletReady",
        "nvidia.com/gpu:  8",
        "Boot ID:",
        "default                     job",
        "GpuFault",
        "Xid 79 on 0000:3b:00",
    ):
        assert expected in text


def test_taints_come_and_go(run: Kubectl, cluster: KubeApi) -> None:
    assert "node/gpu-0 tainted" in run("taint", "nodes", "gpu-0", "key=value:NoSchedule")
    run("taint", "nodes", "gpu-0", "other:NoExecute")
    taints = cluster.store.get("nodes", "gpu-0")["spec"]["taints"]
    assert {taint["key"]: taint.get("value") for taint in taints} == {"key": "value", "other": None}
    assert "node/gpu-0 untainted" in run("taint", "nodes", "gpu-0", "key:NoSchedule-")
    left = cluster.store.get("nodes", "gpu-0")["spec"]["taints"]
    assert [taint["key"] for taint in left] == ["other"]
    assert 'taint "key" not found' in run("taint", "nodes", "gpu-0", "key-", code=1)


def test_labels_annotations_and_cordons(run: Kubectl, cluster: KubeApi) -> None:
    run("label", "node", "gpu-1", "pool=blue")
    run("annotate", "node", "gpu-1", "note=looked at")
    meta = cluster.store.get("nodes", "gpu-1")["metadata"]
    assert meta["labels"]["pool"] == "blue"
    assert meta["annotations"]["note"] == "looked at"
    run("label", "node", "gpu-1", "pool-")
    run("annotate", "node", "gpu-1", "note-")
    meta = cluster.store.get("nodes", "gpu-1")["metadata"]
    assert "pool" not in meta["labels"]
    assert "note" not in meta.get("annotations", {})
    assert "cordoned" in run("cordon", "gpu-1")
    assert "Ready,SchedulingDisabled" in run("get", "node", "gpu-1")
    assert "uncordoned" in run("uncordon", "gpu-1")


def test_events_leases_and_pods_are_listed(run: Kubectl) -> None:
    table = cells(run("get", "events", "-A"))
    assert table[0] == ["NAMESPACE", "LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert table[1][2:5] == ["Warning", "GpuFault", "node/gpu-0"]
    assert "GpuFault" in run("events", "-A", "--for", "node/gpu-0")
    assert cells(run("get", "leases", "-A"))[1][:3] == [
        "default",
        "konduktor-health",
        "replica-1",
    ]
    pods = cells(run("get", "pods", "-A", "-o", "wide"))
    assert pods[1][:5] == ["default", "job", "1/1", "Running", "0"]
    assert "gpu-0" in pods[1]
    assert "No resources found" in run("get", "configmaps")


def test_a_node_is_deleted(run: Kubectl, cluster: KubeApi) -> None:
    assert 'node "gpu-1" deleted' in run("delete", "node", "gpu-1")
    assert [n["metadata"]["name"] for n in cluster.store.list("nodes")] == ["cpu-0", "gpu-0"]


def test_api_resources_and_version(run: Kubectl) -> None:
    kinds = {row[-1] for row in cells(run("api-resources"))}
    assert {"Node", "Pod", "Event", "Lease", "ConfigMap", "PodDisruptionBudget"} <= kinds
    assert "Server Version: v1." in run("version")


def test_a_configmap_is_applied_twice_and_deleted(run: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n")
    assert "created" in run("apply", "-f", str(file))
    assert "unchanged" in run("apply", "-f", str(file))
    assert "serverside-applied" in run("apply", "--server-side", "-f", str(file))
    assert run("get", "cm", "settings", "-o", "jsonpath={.data.a}") == "1"
    assert "deleted" in run("delete", "-f", str(file))


def test_a_condition_is_waited_for_and_a_node_drained(run: Kubectl, cluster: KubeApi) -> None:
    assert "condition met" in run("wait", "--for=condition=Ready", "node/gpu-0", "--timeout=5s")
    finished = cluster.store.get("pods", "job")
    finished["status"]["phase"] = "Succeeded"
    cluster.store.update("pods", finished)
    assert "drained" in run("drain", "gpu-0", "--force", "--timeout=15s")
    assert cluster.store.list("pods") == []


def test_a_watch_streams_a_change(
    cluster: KubeApi, kubectl: str, environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        [kubectl, "get", "nodes", "-w"], env=environment, stdout=subprocess.PIPE, text=True
    )
    rescue = threading.Timer(DEADLINE_S, process.kill)
    rescue.start()
    try:
        assert process.stdout is not None
        head = [process.stdout.readline().split()[0] for _ in range(4)]
        assert head == ["NAME", "cpu-0", "gpu-0", "gpu-1"]

        def cordon(node: dict[str, dict[str, object]]) -> None:
            node["spec"]["unschedulable"] = True

        cluster.store.edit("nodes", "gpu-1", cordon)
        assert process.stdout.readline().split()[:2] == ["gpu-1", "Ready,SchedulingDisabled"]
    finally:
        rescue.cancel()
        process.kill()
        process.communicate(timeout=10)
