"""From a line in the real kernel log to a taint that real pods feel."""

from __future__ import annotations

import time
from typing import Any

from tests.support.chart import NAME
from tests.support.controller import OUR_KEY, eventually
from tests.support.node.busybox import BUSYBOX
from tests.support.node.release import NAMESPACE, Release, a_device


def test_echo_into_the_kmsg_pod_taints_the_node(
    release: Release, measured: dict[str, float]
) -> None:
    release.until_led()
    pci, began = release.echo_xid()
    record = release.until_tainted_for(pci)
    measured["seconds from echo to taint"] = time.monotonic() - began
    assert record["injected"] is True  # a program cannot write facility 0
    assert record["count"] == 1
    # attested where the agent's answer came before the first write
    assert record["trust"] in ("kernel", "attested")


def test_installed_release_has_state_and_lease_and_asks_for_nothing_it_may_not(
    release: Release,
) -> None:
    assert release.until_led() in {pod["metadata"]["name"] for pod in release.controllers()}
    state = release.node.commands.get("configmap", f"{NAME}-state", "-n", NAMESPACE)
    assert "sources" in state["data"]
    calls = list(release.node.audit.calls(f"system:serviceaccount:{NAMESPACE}:{NAME}"))
    assert {"nodes", "leases", "configmaps"} <= {call.resource for call in calls}
    assert release.refused() == []


def _pod(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "job", "image": BUSYBOX, "command": ["sleep", "1000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


def test_pod_without_toleration_stays_pending_and_one_with_it_runs(release: Release) -> None:
    commands = release.node.commands
    pci, _ = release.echo_xid()
    release.until_tainted_for(pci)
    try:
        commands.apply(_pod("refused"))
        commands.apply(_pod("tolerant", tolerations=[{"key": OUR_KEY, "operator": "Exists"}]))
        commands.ready_pods("default", "app=tolerant", 1)

        def failed() -> str:
            events = commands.get("events", "-n", "default")["items"]
            return next(
                (
                    str(event["message"])
                    for event in events
                    if event["reason"] == "FailedScheduling"
                    and event["involvedObject"]["name"] == "refused"
                ),
                "",
            )

        # this scheduler does not name the taint: it is the only one
        assert "untolerated taint" in eventually(failed, "an Event that tells why it waits")
        assert [taint["key"] for taint in release.node.kube.taints(release.node.name)] == [OUR_KEY]
        assert commands.get("pod", "refused", "-n", "default")["status"]["phase"] == "Pending"
        release.clear()
        commands.ready_pods("default", "app=refused", 1)
    finally:
        commands.kubectl("delete", "pod", "refused", "tolerant", "--now", "--ignore-not-found")


def test_inject_and_reset_from_outside_the_cluster(release: Release) -> None:
    pci = a_device()
    commands = release.node.commands
    done = commands.konduktor("inject", "--node", release.node.name, "--pci", pci, "--yes")
    assert pci in done.stdout
    release.until_tainted_for(pci)
    commands.konduktor("reset", release.node.name)
    release.until_clear()


def test_reset_from_inside_with_the_pods_own_account(release: Release) -> None:
    pci, _ = release.echo_xid()
    release.until_tainted_for(pci)
    command = ["konduktor-health", "reset", release.node.name]
    release.node.commands.in_pod(NAMESPACE, f"deploy/{NAME}", *command)
    release.until_clear()
    assert release.refused() == []
