"""A line in a real Loki becomes our taint on a real API server, and reset clears it."""

from __future__ import annotations

import json
import time

from tests.e2e.conftest import Stage
from tests.support.controller import OUR_KEY, cli, eventually, steadily
from tests.support.loglines import LOST, ago, otel


def test_line_becomes_taint_ledger_label_condition_and_event(stage: Stage) -> None:
    stage.nodes("gpu-a", "gpu-b")
    stage.controller().leading()
    stage.push(otel("gpu-a"))
    stage.until_tainted("gpu-a")
    node = stage.kube.node("gpu-a")
    assert node["metadata"]["labels"]["trainy.konduktor.ai/health"] == "faulty"
    assert "xid/79" in (stage.annotation("gpu-a", "ledger") or "")
    keys = {taint["key"] for taint in node["spec"]["taints"]}
    assert "node.kubernetes.io/not-ready" in keys  # a foreign taint is still there
    condition = eventually(lambda: stage.condition("gpu-a"), "condition")
    assert (condition["status"], condition["reason"]) == ("False", "FatalFault")
    events = eventually(lambda: stage.kube.events("gpu-a"), "event")
    assert [event["reason"] for event in events] == ["FatalFault"]
    assert stage.condition("gpu-b") == {}


def test_late_lines_are_found(stage: Stage) -> None:
    stage.nodes("gpu-a", "gpu-b", *[f"gpu-{n}" for n in range(20)])
    stage.controller().leading()
    time.sleep(1.0)  # noqa: TID251 - the cursor has moved past the late lines
    stage.push(otel("gpu-a", ns=ago(20)))
    stage.until_tainted("gpu-a")
    stage.push(otel("gpu-b", ns=ago(400)))
    stage.until_tainted("gpu-a", "gpu-b", timeout_s=80)


def test_duplicates_and_a_replayed_ring_change_nothing(stage: Stage) -> None:
    stage.nodes("gpu-a")
    controller = stage.controller().leading()
    line = otel("gpu-a", uptime_s=5000.5)
    stage.push(line)
    stage.until_tainted("gpu-a")
    assert cli("reset", "gpu-a", "--kubeconfig", str(stage.folder / "kubeconfig")).returncode == 0
    stage.until_tainted()
    for _ in range(3):  # the forwarder's pod restarts: old uptimes, new log times
        stage.push(otel("gpu-a", "nvidia: loading", uptime_s=20), otel("gpu-a", uptime_s=5000.5))
    controller.kill()
    stage.controller().leading()
    stage.push(otel("gpu-a", uptime_s=5000.5))
    steadily(lambda: stage.tainted() == [], "stays clear", 2.0)


def test_burst_of_twenty_thousand_lines_is_one_record_per_fault(stage: Stage) -> None:
    stage.nodes("gpu-a", *[f"gpu-{n}" for n in range(10)])
    controller = stage.controller().leading()
    start = ago(10)
    for chunk in range(10):
        stage.push(
            *[
                otel("gpu-a", ns=start + (chunk * 2000 + n) * 1000, uptime_s=7000 + chunk + n / 1e4)
                for n in range(2000)
            ]
        )
    stage.push(otel("gpu-0"))
    stage.until_tainted("gpu-0", "gpu-a", timeout_s=60)
    eventually(lambda: controller.metric("konduktor_health_faults_total{") == 20_001, "all counted")
    (record,) = json.loads(stage.annotation("gpu-a", "ledger") or "")["records"]
    assert record["fault"] == "xid/79"


def test_budget_holds_and_reset_lets_the_held_node_have_its_turn(stage: Stage) -> None:
    stage.nodes("gpu-a", "gpu-b", "gpu-c")
    stage.controller().leading()
    stage.push(otel("gpu-a"))
    stage.until_tainted("gpu-a")
    stage.push(otel("gpu-b"))
    eventually(
        lambda: stage.condition("gpu-b").get("reason") == "BudgetExhausted", "hold is visible"
    )
    assert stage.tainted() == ["gpu-a"]
    reasons = {event["reason"] for event in stage.kube.events("gpu-b")}
    assert reasons == {"BudgetExhausted"}
    done = cli("reset", "gpu-a", "--kubeconfig", str(stage.folder / "kubeconfig"))
    assert done.returncode == 0, done.stderr
    assert "removed taint trainy.konduktor.ai/faulty=true:NoSchedule" in done.stdout
    stage.until_tainted("gpu-b")


def test_dry_run_prints_the_plan_and_writes_nothing(stage: Stage) -> None:
    stage.nodes("gpu-a")
    stage.push(otel("gpu-a"))
    before = stage.kube.node("gpu-a")["metadata"]["resourceVersion"]
    controller = stage.controller("--dry-run", "--once")
    assert controller.wait() == 0, controller.tail()
    assert "taint gpu-a: taint for xid/79 on 0000:3b:00" in controller.output()
    assert stage.kube.node("gpu-a")["metadata"]["resourceVersion"] == before
    leases = stage.kube.request("GET", "/apis/coordination.k8s.io/v1/leases")["items"]
    ours = [lease for lease in leases if lease["metadata"]["name"] == "konduktor-health"]
    assert ours == []


def test_once_does_one_pass(stage: Stage) -> None:
    stage.nodes("gpu-a")
    stage.push(otel("gpu-a"))
    controller = stage.controller("--once")
    assert controller.wait() == 0, controller.tail()
    assert stage.tainted() == ["gpu-a"]


def test_first_start_on_old_faults_taints_nobody(stage: Stage) -> None:
    names = [f"gpu-{n}" for n in range(10)]
    stage.nodes(*names)
    stage.push(*[otel(name, ns=ago(1000 + n)) for n, name in enumerate(names)])
    controller = stage.controller().leading()
    steadily(lambda: stage.tainted() == [], "nobody is tainted", 3.0)
    listed = cli(
        "scan", "--loki", "--since", "1h", "-o", "jsonl", "--config", str(controller.config)
    )
    assert len(listed.stdout.splitlines()) == 10


def test_same_daemonset_name_in_another_namespace_taints_nobody(stage: Stage) -> None:
    stage.nodes("gpu-a")
    stage.controller().leading()
    stage.push(otel("gpu-a"), k8s_namespace_name="mallory")
    steadily(lambda: stage.tainted() == [], "nobody is tainted", 2.0)
    stage.push(otel("gpu-a"))
    stage.until_tainted("gpu-a")


def test_unmanaged_and_unknown_nodes_are_left_alone_and_seen(stage: Stage) -> None:
    stage.nodes("cpu-a", gpus=0, labels={"nvidia.com/gpu.present": "false"})
    stage.nodes("gpu-a", "gpu-out", labels={"trainy.konduktor.ai/managed": "false"})
    controller = stage.controller().leading()
    stage.push(otel("cpu-a"), otel("gpu-out"), otel("nobody-knows"))
    eventually(lambda: controller.metric("konduktor_health_unknown_node_lines") == 1, "counted")
    eventually(lambda: controller.metric("konduktor_health_unmanaged_faults") == 2, "counted")
    assert stage.tainted() == []


def test_taint_removed_by_hand_stays_removed_until_newer_evidence(stage: Stage) -> None:
    stage.nodes("gpu-a", *[f"gpu-{n}" for n in range(10)])
    stage.controller().leading()
    stage.push(otel("gpu-a", uptime_s=5000))
    stage.until_tainted("gpu-a")
    eventually(lambda: stage.condition("gpu-a"), "condition")
    others = [t for t in stage.kube.taints("gpu-a") if t["key"] != OUR_KEY]
    stage.kube.patch_node("gpu-a", {"spec": {"taints": others}})
    eventually(
        lambda: stage.condition("gpu-a").get("reason") == "TaintRemovedByOperator", "respected"
    )
    steadily(lambda: stage.tainted() == [], "stays removed", 1.0)
    stage.push(otel("gpu-a", LOST, uptime_s=9000))
    stage.until_tainted("gpu-a")


def test_reset_all_names_each_node_and_leaves_others_alone(stage: Stage) -> None:
    stage.nodes("gpu-a", "gpu-b")
    stage.kube.patch_node(
        "gpu-b", {"spec": {"taints": [{"key": OUR_KEY, "value": "true", "effect": "NoSchedule"}]}}
    )
    kubeconfig = str(stage.kube.kubeconfig(stage.folder / "kubeconfig"))
    shown = cli("reset", "--all", "--dry-run", "--kubeconfig", kubeconfig)
    assert shown.stdout.startswith("gpu-b: would remove taint")
    assert stage.tainted() == ["gpu-b"]
    version = stage.kube.node("gpu-a")["metadata"]["resourceVersion"]
    done = cli("reset", "--all", "--kubeconfig", kubeconfig)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert stage.tainted() == []
    assert stage.kube.node("gpu-a")["metadata"]["resourceVersion"] == version
    missing = cli("reset", "gpu-zzz", "--kubeconfig", kubeconfig)
    assert (missing.returncode, missing.stderr.strip()) == (1, "gpu-zzz: no such node")
