"""The real node itself: what the other tests stand on."""

from __future__ import annotations

from tests.support.controller import eventually
from tests.support.node.busybox import BUSYBOX
from tests.support.node.cluster import RealNode


def test_pod_runs_writes_logs_answers_exec_and_reaches_the_api(node: RealNode) -> None:
    shell = "echo it runs; exec sleep 1000"
    words = ["run", "smoke", f"--image={BUSYBOX}", "--restart=Never", "--", "sh", "-c", shell]
    node.commands.kubectl(*words)
    try:
        node.commands.ready_pods("default", "run=smoke", 1)
        eventually(lambda: node.commands.logs("default", "smoke") == "it runs\n", "the pod's log")
        said = node.commands.in_pod("default", "smoke", "id", "-u").stdout
        assert said == "0\n"
        ca = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        assert "BEGIN CERTIFICATE" in node.commands.in_pod("default", "smoke", "cat", ca).stdout
        answer = node.commands.in_pod(
            "default", "smoke", "wget", "-q", "-O", "-", "--no-check-certificate",
            "https://10.99.0.1:443/version",
        )  # fmt: skip
        assert "gitVersion" in answer.stdout
    finally:
        node.commands.kubectl("delete", "pod", "smoke", "--now", "--wait=false")
