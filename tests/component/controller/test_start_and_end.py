"""The controller as a process: what it remembers, how it ends, what ``--once`` means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.runtime.checkpoint import short_hash
from tests.support.controller import NAMESPACE, ControllerProcess, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, ago, otel

NODE_PATH = r"^/api/v1/nodes/[^/]+$"
STATE = "konduktor-health-state"


class Cluster(Embedded):
    """With a Lease that is taken over soon."""

    def controller(self, *args: str, loki: str = "", **settings: Any) -> ControllerProcess:
        soon = {
            "lease": {"duration_s": 3.0, "renew_deadline_s": 2.0, "retry_s": 0.2},
            "cluster": {"timeout_s": 1.0},
        }
        return super().controller(*args, loki=loki, **{**soon, **settings})

    def holder(self) -> str:
        lease = self.api.store.get("leases", "konduktor-health", namespace=NAMESPACE)
        return str(lease["spec"].get("holderIdentity") or "")

    def state(self) -> dict[str, Any]:
        data = self.api.store.get("configmaps", STATE, namespace=NAMESPACE)["data"]
        return {key: json.loads(value) for key, value in data.items()}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(stack, tmp_path)
        yield made
        assert made.api.failures == []


def lose_gpus(node: dict[str, Any]) -> None:
    node["metadata"]["labels"].pop("nvidia.com/gpu.present")
    for key in ("capacity", "allocatable"):
        node["status"][key].pop("nvidia.com/gpu")


def test_node_whose_gpus_vanished_while_nobody_looked_is_still_managed(cluster: Cluster) -> None:
    uid = cluster.api.store.get("nodes", "gpu-b")["metadata"]["uid"]
    with cluster.controller() as first:
        eventually(lambda: cluster.api.store.list("configmaps", namespace=NAMESPACE), "checkpoint")
        assert first.terminate()[0] == 0
    assert short_hash(uid) in cluster.state()["managed"]
    cluster.api.store.edit("nodes", "gpu-b", lose_gpus)
    cluster.loki.push(STREAM, [otel("gpu-b")])
    with cluster.controller():
        eventually(lambda: cluster.tainted() == ["gpu-b"], "the node is tainted")
    cluster.loki.push(STREAM, [otel("gpu-c", ns=ago(1))])


def test_damaged_state_is_a_first_start(cluster: Cluster) -> None:
    cluster.api.store.create(
        "configmaps",
        {"metadata": {"name": STATE}, "data": {"sources": '{"konduktor-otel": {"v": 1', "v": "x"}},
        namespace=NAMESPACE,
    )
    cluster.loki.push(STREAM, [otel("gpu-a", ns=ago(1000)), otel("gpu-b", ns=ago(5))])
    with cluster.controller() as controller:
        eventually(lambda: cluster.tainted() == ["gpu-b"], "what is recent acts")
        assert controller.terminate()[0] == 0
    assert cluster.state()["v"] == 1


@pytest.mark.parametrize("path", [NODE_PATH, f"/configmaps/{STATE}$"], ids=["node", "state"])
def test_sigterm_while_a_write_hangs_ends_in_time_and_frees_the_lease(
    cluster: Cluster, path: str
) -> None:
    with cluster.controller(cluster={"timeout_s": 30.0}, lease=SLOW_LEASE) as controller:
        controller.leading()
        eventually(lambda: cluster.api.store.list("configmaps", namespace=NAMESPACE), "checkpoint")
        cluster.api.faults.delay(10.0, path=path, times=1)
        if path == NODE_PATH:
            cluster.loki.push(STREAM, [otel("gpu-a")])
            eventually(lambda: not cluster.api.faults._rules, "the request hangs")
        code, seconds = controller.terminate()
        assert (code, seconds < 5) == (0, True), controller.tail()
    assert cluster.holder() == ""


SLOW_LEASE = {"duration_s": 60.0, "renew_deadline_s": 20.0, "retry_s": 0.2}


def test_once_beside_a_running_controller_ends_and_says_so(cluster: Cluster) -> None:
    with cluster.controller() as running:
        running.leading()
        with cluster.controller("--once") as once:
            assert once.wait(20) == 5
            assert "another replica" in once.tail()


def test_once_that_could_not_write_is_no_success(cluster: Cluster) -> None:
    cluster.api.faults.answer(500, method="PATCH", path=NODE_PATH, times=None)
    cluster.loki.push(STREAM, [otel("gpu-a")])
    with cluster.controller("--once") as once:
        assert once.wait(30) == 3, once.tail()
        assert "1 node" in once.tail()
    cluster.api.faults.clear()
    with cluster.controller("--once") as once:
        assert once.wait(30) == 0, once.tail()
    assert cluster.tainted() == ["gpu-a"]


def test_dry_run_beside_a_running_controller_takes_and_writes_nothing(cluster: Cluster) -> None:
    cluster.loki.push(STREAM, [otel("gpu-a", "nvidia: loading")])  # without a stream: not ready
    with cluster.controller("--dry-run") as shown:
        eventually(lambda: shown.readiness()[0] == 200, "ready")
        cluster.loki.push(STREAM, [otel("gpu-a")])
        eventually(lambda: "taint gpu-a" in shown.output(), "the plan is printed")
        assert shown.terminate()[0] == 0
    assert cluster.api.requests.writes() == []


def test_odd_opt_out_label_is_warned_about_and_the_node_managed(cluster: Cluster) -> None:
    def label(node: dict[str, Any]) -> None:
        node["metadata"]["labels"]["trainy.konduktor.ai/managed"] = "False"

    cluster.api.store.edit("nodes", "gpu-a", label)
    cluster.loki.push(STREAM, [otel("gpu-a")])
    with cluster.controller() as controller:
        eventually(lambda: cluster.tainted() == ["gpu-a"], "the node is tainted")
        assert "only false opts out" in controller.tail()
