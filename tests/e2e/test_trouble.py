"""Servers fail, restart, refuse and race; no fault is lost and nothing foreign is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.e2e.conftest import Stage
from tests.support.controller import OUR_KEY, eventually, steadily
from tests.support.loglines import ago, otel
from tests.support.proxy import Proxy, Refusal
from tests.support.servers import KubeRequestError, Loki, RealKube

OnServers = Callable[[RealKube, Loki], Stage]
NODES = tuple(f"gpu-{n}" for n in range(20))


def test_loki_down_at_start_and_restarted_later_loses_nothing(
    stage_on: OnServers, clean_kube: RealKube, loki_factory: Callable[..., Loki]
) -> None:
    loki = loki_factory()
    stage = stage_on(clean_kube, loki)
    stage.nodes(*NODES)
    stage.push(otel("gpu-0", ns=ago(5)))
    loki.stop()
    controller = stage.controller()
    eventually(lambda: "loki" in controller.readiness()[1].lower(), "says why it is not ready")
    assert controller.readiness()[0] == 503
    steadily(lambda: stage.tainted() == [], "nobody is tainted", 1.0)
    loki.start()
    stage.until_tainted("gpu-0")
    controller.ready()
    loki.kill()
    eventually(lambda: controller.readiness()[0] == 503, "not ready while Loki is down")
    loki.start()
    stage.push(otel("gpu-1", ns=ago(3)))
    stage.until_tainted("gpu-0", "gpu-1")
    controller.ready()


def test_refusals_delay_and_lose_nothing(stage: Stage) -> None:
    stage.nodes(*NODES)
    with Proxy(stage.loki.url) as proxy:
        controller = stage.controller(loki=proxy.url, policy={"budget_percent": 100}).leading()
        for status, headers in ((429, {"Retry-After": "1"}), (503, {}), (500, {}), (504, {})):
            proxy.refusal = Refusal(status, times=5, headers=headers)
            name = f"gpu-{status - 420}" if status == 429 else f"gpu-{status - 490}"
            wanted = sorted({*stage.tainted(), name})
            stage.push(otel(name))
            stage.until_tainted(*wanted, timeout_s=30)
        assert proxy.refused == 20
        controller.ready()


def test_pages_cut_by_a_tenant_limit_are_read_to_the_end(
    stage_on: OnServers, clean_kube: RealKube, loki_factory: Callable[..., Loki]
) -> None:
    loki = loki_factory(limits={"max_entries_limit_per_query": 7})
    stage = stage_on(clean_kube, loki)
    stage.nodes(*NODES)
    tie = ago(4)
    noise = [
        otel("gpu-0", "NVRM: Xid (PCI:0000:18:00): 43, pid=1", ns=tie, uptime_s=n)
        for n in range(12)
    ]
    stage.push(*noise, otel("gpu-1", ns=tie + 1), otel("gpu-2", ns=tie))
    controller = stage.controller().leading()
    stage.until_tainted("gpu-1", "gpu-2", timeout_s=40)
    eventually(lambda: controller.metric("konduktor_health_faults_total{") == 14, "all counted")


def test_apiserver_restarted(
    stage_on: OnServers, kube_factory: Callable[..., RealKube], real_loki: Loki
) -> None:
    stage = stage_on(kube_factory(), real_loki)
    stage.nodes(*NODES)
    controller = stage.controller(lease={"duration_s": 30, "renew_deadline_s": 25}).leading()
    stage.kube.stop_apiserver()
    stage.push(otel("gpu-0"))
    stage.kube.start_apiserver()
    stage.until_tainted("gpu-0", timeout_s=40)
    stage.push(otel("gpu-1"))
    stage.until_tainted("gpu-0", "gpu-1", timeout_s=40)
    assert controller.running()


def test_a_concurrent_writer_and_foreign_taints_are_preserved(stage: Stage) -> None:
    names = [f"gpu-{n}" for n in range(8)]
    stage.nodes(*names)
    stage.controller(policy={"budget_percent": 100, "surge_enabled": False}).leading()
    done = threading.Event()
    written = dict.fromkeys(names, 0)

    def write(name: str) -> None:
        while not done.is_set():
            node = stage.kube.node(name)
            others = [t for t in node["spec"].get("taints", []) if t["key"] != "example.com/n"]
            mine = {"key": "example.com/n", "value": str(written[name]), "effect": "NoSchedule"}
            patch = {
                "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
                "spec": {"taints": [*others, mine]},
            }
            try:
                stage.kube.patch_node(name, patch)
            except KubeRequestError as error:
                assert error.status == 409  # noqa: PT017 - the writer's own conflicts are expected
                continue
            written[name] += 1
            done.wait(0.02)

    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    stage.push(*[otel(name) for name in names])
    try:
        stage.until_tainted(*names, timeout_s=30)
    finally:
        done.set()
        for writer in writers:
            writer.join()
    for name in names:
        taints = {t["key"]: t.get("value", "") for t in stage.kube.taints(name)}
        assert taints["example.com/n"] == str(written[name] - 1)
        assert taints[OUR_KEY] == "true"
        assert "node.kubernetes.io/not-ready" in taints


def test_sigterm_ends_in_seconds_and_releases_the_lease(stage: Stage) -> None:
    stage.nodes("gpu-a")
    controller = stage.controller().leading()
    path = "/apis/coordination.k8s.io/v1/namespaces/konduktor-health/leases/konduktor-health"
    assert stage.kube.request("GET", path)["spec"]["holderIdentity"]
    code, seconds = controller.terminate()
    assert (code, seconds < 5) == (0, True), controller.tail()
    assert not stage.kube.request("GET", path)["spec"].get("holderIdentity")


def test_second_replica_takes_over_when_the_first_is_killed(stage: Stage) -> None:
    stage.nodes(*NODES)
    first = stage.controller().leading()
    second = stage.controller()
    eventually(lambda: second.readiness()[0] == 200, "the standby is ready")
    assert "konduktor_health_leader 1.0" not in second.metrics()
    first.kill()
    stage.push(otel("gpu-0"))
    stage.until_tainted("gpu-0", timeout_s=40)
