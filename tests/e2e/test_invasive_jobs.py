"""A real scheduler and Job controller: GPUs that are held are waited for, then really reserved.

The chart's own objects: its settings, its rights, its PriorityClass. kwok plays the kubelets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from konduktor_health.adapters.kube import build_cluster, build_feed
from konduktor_health.adapters.probes import Agents as BuiltAgents
from konduktor_health.clock import SystemClock
from konduktor_health.core.invasive_note import Note, parse_note
from konduktor_health.core.ledger import Ledger, Record, render
from konduktor_health.core.record import Missing
from konduktor_health.model import Policy, Remedy, Severity
from konduktor_health.ports import Leadership
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.invasive import InvasiveTests
from konduktor_health.runtime.invasive_wiring import build_invasive
from konduktor_health.settings import Settings, load
from tests.support.chart import NAME, Helm, one, path_of
from tests.support.controller import NAMESPACE, OUR_KEY, eventually
from tests.support.kube_servers import KubeScheduler
from tests.support.leading import Agents, Leads
from tests.support.rbac.accounts import Accounts
from tests.support.rbac.scene import CONTROLLER
from tests.support.servers import RealKube

PODS = "/api/v1/namespaces/default/pods"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
GPU = "nvidia.com/gpu"
VALUES = {"settings": {"probes": {"jobs": {"enabled": True}}}}
QUICK = {"retry_s": 1, "pending_s": 15}


class Cluster:
    """A cluster with a scheduler, and the controller's part that tests nodes, as its account."""

    def __init__(self, kube: RealKube, folder: Path, stack: ExitStack) -> None:
        self.kube, self.folder = kube, folder
        scheduler = KubeScheduler(kube.directory / "scheduler", kube.directory / "admin.kubeconfig")
        scheduler.start()
        stack.callback(scheduler.stop)
        kube.start_kwok()
        found = Helm(folder).template(VALUES)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        accounts = Accounts(kube)
        accounts.install([namespace, *found], CONTROLLER)
        priority = one(found, "PriorityClass", f"{NAME}-invasive")
        kube.request("POST", path_of(kube, priority).rpartition("/")[0], priority)
        self.settings = self._settings(found, accounts)
        self.stop = threading.Event()
        stack.callback(self.stop.set)

    def _settings(self, found: list[dict[str, Any]], accounts: Accounts) -> Settings:
        file = self.folder / "settings.yaml"
        file.write_text(one(found, "ConfigMap", f"{NAME}-settings")["data"]["settings.yaml"])
        own = accounts.actor(CONTROLLER).kubeconfig(self.folder / "kubeconfig")
        cluster = {"kubeconfig": str(own), "namespace": NAMESPACE}
        probes = {"namespace": NAMESPACE, "jobs": QUICK}
        return load(file, {"cluster": cluster, "probes": probes}, environ={})

    def controller(self) -> InvasiveTests:
        """One that has just started."""
        clock = SystemClock()
        http, cluster = build_cluster(self.settings, clock)
        feed = build_feed(self.settings, http, lambda _view: True, clock)
        applier = Applier(cluster, feed, clock=clock)
        lease, agents = cast(Leadership, Leads()), cast(BuiltAgents, Agents())
        tests = build_invasive(self.settings, http, agents, feed, applier, Policy(), clock, lease)
        assert tests is not None
        feed.on_change(tests.changed)
        feed.start(self.stop)
        eventually(feed.synced, "the nodes are known")
        return tests

    def faulty_node(self, name: str) -> None:
        """Our taint, and a ledger that waits for the invasive tier alone."""
        taint = {"key": OUR_KEY, "value": "true", "effect": "NoSchedule"}
        self.kube.create_node(name, kwok=True, taints=[taint])
        self.kube.wait_ready([name])
        node = self.kube.node(name)
        record = Record(
            "0000:3b:00",
            "xid/79",
            Severity.FATAL,
            Remedy.REBOOT,
            first_ns=1,
            last_ns=1,
            count=1,
            rule="fatal",
            reached=True,
            missing=(Missing("probe:invasive", 1),),
        )
        uid = node["metadata"]["uid"]
        ledger = Ledger(uid=uid, owned=("NoSchedule",), tainted_ns=1, records=(record,))
        annotation = {"trainy.konduktor.ai/ledger": render(ledger)}
        self.kube.patch_node(name, {"metadata": {"annotations": annotation}})
        # younger Nodes are left alone; the scheduler has to know the node, too
        self.kube.predate_node(name, 3600)
        self.kube.patch_node(name, {"metadata": {"labels": {"seen": "again"}}})

    def pod(self, name: str, gpus: int, **spec: Any) -> None:
        limits = {GPU: str(gpus)}
        container = {"name": "c", "image": "i", "resources": {"limits": limits}}
        body = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
        self.kube.request("POST", PODS, body)

    def note(self, name: str) -> Note | None:
        annotations = self.kube.node(name)["metadata"].get("annotations", {})
        return parse_note(annotations.get("trainy.konduktor.ai/testing"))

    def stage(self, name: str) -> str:
        note = self.note(name)
        return "" if note is None else note.stage.value

    def job_pod(self) -> dict[str, Any]:
        items = self.kube.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
        return dict(items[0]) if len(items) == 1 else {}


@pytest.fixture
def cluster(kube_factory: Callable[..., RealKube], tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(kube_factory(controller_manager=True), tmp_path, stack)


def until(tests: InvasiveTests, condition: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so."""

    def looked() -> bool:
        tests.turn()
        return condition()

    eventually(looked, what, timeout_s=60.0)


def test_gpus_that_are_held_are_waited_for_then_reserved_and_given_back(cluster: Cluster) -> None:
    kube, node = cluster.kube, "gpu-a"
    cluster.faulty_node(node)
    cluster.pod("train", 8, nodeName=node)
    tests = cluster.controller()
    until(tests, lambda: cluster.stage(node) == "waiting", "the pod is waited for")
    note = cluster.note(node)
    assert note is not None
    assert note.why == "GPUs busy (pods default/train)"
    assert kube.request("GET", JOBS)["items"] == []

    kube.request("DELETE", f"{PODS}/train", {"gracePeriodSeconds": 0})
    until(tests, lambda: cluster.stage(node) == "testing", "the test begins")
    tests = cluster.controller()  # another one takes over between intent and Job
    running = {"phase": "Running"}
    until(
        tests,
        lambda: running.items() <= cluster.job_pod().get("status", {}).items(),
        "the scheduler has placed the Job's pod, and it runs",
    )
    pod = cluster.job_pod()
    assert pod["spec"]["nodeName"] == node
    assert pod["spec"]["containers"][0]["resources"]["limits"][GPU] == "8"
    assert (pod["spec"]["priority"], pod["spec"]["preemptionPolicy"]) == (-1, "Never")
    assert kube.node(node)["metadata"]["labels"]["trainy.konduktor.ai/testing"] == "true"
    assert len(kube.request("GET", JOBS)["items"]) == 1

    meanwhile(cluster, node)
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}/status"
    merge = "application/merge-patch+json"
    ended = {"name": "probe", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    done = [{**ended, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]
    over = {"status": {"phase": "Succeeded", "containerStatuses": done}}
    kube.request("PATCH", path, over, content_type=merge)
    until(tests, lambda: cluster.stage(node) == "tested", "what it delivered is waited for")
    assert "trainy.konduktor.ai/testing" not in kube.node(node)["metadata"]["labels"]

    ledger = {"trainy.konduktor.ai/ledger": None}
    kube.patch_node(node, {"metadata": {"annotations": ledger}})
    until(tests, lambda: cluster.note(node) is None, "nothing is left once it is cleared")
    counts = tests.work.drain_counts()
    assert (counts["delivered"], counts["error"]) == (1, 0)


def meanwhile(cluster: Cluster, node: str) -> None:
    """While it is tested the scheduler gives nobody else a GPU of the node."""
    there = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [there]}]}
    cluster.pod(
        "other",
        1,
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        tolerations=[{"operator": "Exists"}],
        priorityClassName=f"{NAME}-invasive",
    )

    def refused() -> str:
        conditions = cluster.kube.request("GET", f"{PODS}/other")["status"].get("conditions", [])
        return next((str(c.get("message")) for c in conditions if c["status"] == "False"), "")

    eventually(lambda: f"Insufficient {GPU}" in refused(), lambda: f"no room: {refused()}")
