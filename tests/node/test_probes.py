"""The agent in the DaemonSet: what it measures, and whether the kernel logged what Loki says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.support.controller import eventually
from tests.support.node.release import NAMESPACE, Release, a_device, xid_line

PORT = 9410


def ask(release: Release, path: str) -> dict[str, Any]:
    """GET from the agent, through the API server."""
    proxy = f"/api/v1/namespaces/{NAMESPACE}/pods/{release.probe()}:{PORT}/proxy{path}"
    return dict(json.loads(release.node.commands.kubectl("get", "--raw", proxy).stdout))


def until_asked(release: Release) -> str:
    """The controller that leads, once it has an answer of the agent."""
    leader = release.until_led()
    answers = 'konduktor_health_agents{state="ok"} 1.0'
    eventually(
        lambda: answers in release.metrics(leader),
        lambda: f"an agent that answers: {release.metrics(leader)[-3000:]}",
        60,
        0.5,
    )
    return leader


def test_the_agent_measures_the_node_it_runs_on(release: Release) -> None:
    def report() -> dict[str, Any]:
        found = ask(release, "/v1/report")
        return found if found["runs"] else {}

    found = eventually(report, "a run", 60, 0.5)
    info = release.node.kube.node(release.node.name)["status"]["nodeInfo"]
    assert found["node"] == release.node.name
    assert found["boot_id"] == info["bootID"].replace("-", "")
    assert found["fake"] is False
    # This machine has no GPU: nothing about one was measured, and so none of it passed.
    of_gpus = [
        result
        for run in found["runs"]
        for result in run["results"]
        if result["check"].startswith(("gpu-", "nvlink-", "pcie-", "dcgm-", "driver"))
    ]
    assert of_gpus
    assert {result["outcome"] for result in of_gpus} <= {"skip"}, of_gpus
    assert (
        "konduktor_probe_"
        in release.node.commands.in_pod(
            NAMESPACE,
            release.probe(),
            "/opt/konduktor-health/bin/python",
            "-c",
            f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/metrics').read())",
            container="agent",
        ).stdout
    )


def test_a_line_of_the_kernel_log_is_attested_and_marked_injected(
    release: Release, measured: dict[str, float]
) -> None:
    until_asked(release)
    pci, began = release.echo_xid()
    release.until_tainted_for(pci)
    record = eventually(
        lambda: found if (found := release.record(pci)).get("trust") == "attested" else {},
        lambda: f"an attested record: {release.state()}",
        30,
        0.1,
    )
    measured["seconds from echo to an attested record"] = time.monotonic() - began
    assert record["injected"] is True


def test_a_forged_push_to_loki_taints_nobody_and_is_told(release: Release) -> None:
    """It looks like the forwarder's line, of this boot and of this moment."""
    leader = until_asked(release)
    # a real line tells the boot and the clock of the ring
    pci, _ = release.echo_xid()
    release.until_tainted_for(pci)
    release.clear()
    forged = a_device()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    line = {
        "konduktor": "kmsg",
        "v": 1,
        "kind": "record",
        "boot_id": boot,
        "seq": 4711,
        "uptime_us": time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000,
        "facility": 0,
        "priority": 4,
        "node": release.node.name,
        "text": xid_line(forged),
    }
    stream = {"job": "konduktor-kmsg", "node": release.node.name}
    release.loki.push(stream, [(time.time_ns(), json.dumps(line))])
    record = eventually(
        lambda: release.record(forged), lambda: f"a record: {release.state()}", 30, 0.1
    )
    assert not release.tainted()
    assert record["visible_only"] == "Uncorroborated"
    held = 'konduktor_health_holds_total{reason="Uncorroborated"}'
    assert eventually(lambda: held in release.metrics(leader), "the hold in the metrics", 20, 0.5)
    release.clear()
