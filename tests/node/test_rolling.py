"""Pods that end, roll and come back, and a kubelet that restarts: nothing is lost or done twice."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.support.chart import NAME
from tests.support.controller import eventually, steadily
from tests.support.node.release import CONTROLLER, NAMESPACE, PROBE, Release, a_device, xid_line
from tests.support.node.watching import ExitWatch, ReadyWatch


def _acts_once(release: Release, pci: str) -> None:
    """One taint, one record with one line, one Event; and that stays so over some polls."""
    release.until_tainted_for(pci)

    def once() -> bool:
        events = release.node.kube.events(release.node.name)
        named = [event for event in events if pci in event.get("message", "")]
        return release.record(pci).get("count") == 1 and len(named) == 1

    eventually(once, lambda: f"one act for {pci}: {release.state()}", 15)
    steadily(once, f"{pci} is counted again", 5)
    assert release.restarts() == 0
    assert release.refused() == []


def test_leader_that_is_deleted_hands_over_ends_with_0_and_starts_on_the_tainted_node(
    release: Release, measured: dict[str, float]
) -> None:
    commands, leader = release.node.commands, release.until_led()
    first, _ = release.echo_xid()
    release.until_tainted_for(first)
    watch = ExitWatch(commands, NAMESPACE, leader)
    began = time.monotonic()
    commands.kubectl("delete", "pod", leader, "-n", NAMESPACE, "--wait=false")
    second, _ = release.echo_xid()
    other = eventually(
        lambda: release.leader() not in ("", leader) and release.leader(), "another leader", 20, 0.1
    )
    took = time.monotonic() - began
    measured["seconds from SIGTERM of the leader to the next"] = took
    assert other != leader
    assert took < 10  # the Lease lasts 15 s: it was released

    def gone() -> bool:
        words = ["get", "pod", leader, "-n", NAMESPACE, "--ignore-not-found", "-o", "name"]
        return not commands.kubectl(*words).stdout.strip()

    assert watch.code(gone) == 0
    release.until_ready()
    eventually(lambda: release.record(second), f"a record of {second}")
    _acts_once(release, first)
    assert release.record(second)["count"] == 1


def test_rolled_deployment_has_no_gap_and_a_fault_meanwhile_acts_once(release: Release) -> None:
    commands = release.node.commands
    before = {pod["metadata"]["name"] for pod in release.controllers()}
    with ReadyWatch(commands, NAMESPACE, CONTROLLER) as watch:
        commands.kubectl("rollout", "restart", f"deploy/{NAME}", "-n", NAMESPACE)
        eventually(
            lambda: {pod["metadata"]["name"] for pod in release.controllers()} - before,
            "the first new pod",
        )
        pci, _ = release.echo_xid()
        commands.kubectl("rollout", "status", f"deploy/{NAME}", "-n", NAMESPACE, timeout_s=90)
    release.until_ready()
    assert not before & {pod["metadata"]["name"] for pod in release.controllers()}
    assert watch.looks > 5
    assert watch.fewest >= 2  # surge 1, unavailable 0
    _acts_once(release, pci)


def test_restarted_kubelet_clears_nothing(release: Release) -> None:
    pci, _ = release.echo_xid()
    release.until_tainted_for(pci)
    condition = eventually(
        lambda: _our_condition(release, "False"), lambda: f"a condition: {_condition(release)}"
    )  # a taint comes first, the condition after it
    release.node.restart_kubelet()
    heard = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    eventually(lambda: _ready_heartbeat(release) >= heard, "kubelet's next status", 30, 0.2)
    release.node.wait_node_ready()
    steadily(
        lambda: release.tainted() and _condition(release) == condition,
        "the taint and the condition stay",
        4,
    )
    _acts_once(release, pci)


def _condition(release: Release, kind: str = "KonduktorHealthy") -> dict[str, Any]:
    conditions = release.node.kube.node(release.node.name)["status"]["conditions"]
    return next((dict(one) for one in conditions if one["type"] == kind), {})


def _our_condition(release: Release, status: str) -> dict[str, Any]:
    """Our condition, once it has this status; empty until then."""
    condition = _condition(release)
    return condition if condition.get("status") == status else {}


def _ready_heartbeat(release: Release) -> str:
    return str(_condition(release, "Ready").get("lastHeartbeatTime", ""))


def test_line_written_while_no_kmsg_pod_runs_is_not_lost(release: Release) -> None:
    commands, nowhere = release.node.commands, "/spec/template/spec/nodeSelector/nowhere"

    def patch(**change: str) -> None:
        words = ["patch", "daemonset", f"{NAME}-probe", "-n", NAMESPACE, "--type=json", "-p"]
        commands.kubectl(*words, json.dumps([{"path": nowhere, **change}]))

    patch(op="add", value="true")
    words = ["get", "pods", "-n", NAMESPACE, "-l", PROBE, "-o", "name"]
    eventually(lambda: not commands.kubectl(*words).stdout, "no kmsg pod", 30, 0.2)
    pci = a_device()
    Path("/dev/kmsg").write_text(f"<4>{xid_line(pci)}\n", encoding="ascii")
    patch(op="remove")
    _acts_once(release, pci)
