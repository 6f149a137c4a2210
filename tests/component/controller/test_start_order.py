"""A controller that starts misses nothing, in whatever order its surroundings answer."""

from __future__ import annotations

from pathlib import Path

from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.sandbox.loki import LokiServer
from konduktor_health.sandbox.nodes import gpu_node
from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, eventually
from tests.support.loglines import STREAM, otel


def test_fault_logged_before_a_slow_node_list_taints(tmp_path: Path) -> None:
    api = KubeApi()
    api.start()
    try:
        api.store.create("namespaces", {"metadata": {"name": NAMESPACE}})
        api.store.create("nodes", gpu_node("gpu-a"))
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        api.faults.delay(1.5, method="GET", path=r"^/api/v1/nodes(\?|$)", times=1)
        with LokiServer() as loki:
            loki.push(STREAM, [otel("gpu-a")])
            with ControllerProcess(tmp_path, kubeconfig=kubeconfig, loki=loki.url):

                def tainted() -> bool:
                    taints = api.store.get("nodes", "gpu-a")["spec"].get("taints", [])
                    return any(taint["key"] == OUR_KEY for taint in taints)

                eventually(tainted, "gpu-a tainted", timeout_s=10)
    finally:
        api.stop()
