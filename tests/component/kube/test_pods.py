"""Which pods of a node use its GPUs, and are they told once? On the sandbox and a real server."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.adapters.kube import KubePods, build_pods
from konduktor_health.adapters.kube.pods import MOST_PODS
from konduktor_health.errors import ClusterForbidden
from konduktor_health.ports import PodEvent, PodsOnNode
from tests.component.kube.conftest import GPU, Side

NOW = 1_800_000_000_000_000_000
SOON = "2027-01-15T08:00:00Z"  # NOW
LONG_AGO = "2027-01-15T07:00:00Z"
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"


def pods(side: Side, user: str = "") -> KubePods:
    http, _ = side.adapter(user)
    return build_pods(side.settings(user), http)


def pod(
    side: Side, name: str, node: str, asks: dict[str, str] | None = None, **status: Any
) -> dict[str, Any]:
    asks = {GPU: "1"} if asks is None else asks
    container = {"name": "c", "image": "i", "resources": {"limits": asks, "requests": asks}}
    body = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [container]}}
    made = side.rest.ok("POST", PODS, {"kind": "Pod", "apiVersion": "v1", **body})
    side.cleanups.append(lambda: side.rest.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0"))
    if status:
        side.rest.patch(f"{PODS}/{name}/status", {"status": status}, "application/merge-patch+json")
    return made


def ended(at: str, phase: str = "Failed") -> dict[str, Any]:
    terminated = {"exitCode": 1, "finishedAt": at, "reason": "Error"}
    status = {
        "name": "c",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }
    return {"phase": phase, "containerStatuses": [status]}


def test_pods_of_the_node_that_ask_for_gpus_are_found_running_ones_first(side: Side) -> None:
    name, other = side.node(), side.node()
    pod(side, f"a-{name}", name, **ended(SOON))
    pod(side, f"b-{name}", name)
    pod(side, f"part-{name}", name, {"nvidia.com/mig-1g.10gb": "2"})
    pod(side, f"cpu-{name}", name, {"cpu": "1"})
    pod(side, f"nic-{name}", name, {"nvidia.com/hostdev": "1"})
    pod(side, f"old-{name}", name, **ended(LONG_AGO))
    pod(side, f"elsewhere-{name}", other)
    found = pods(side).using_gpus(name, NOW)
    assert [each.name for each in found] == [f"b-{name}", f"part-{name}", f"a-{name}"]
    assert {each.namespace for each in found} == {"default"}


def test_a_node_without_pods_has_none_to_tell(side: Side) -> None:
    assert pods(side).using_gpus(side.node(), NOW) == ()


def test_the_pods_of_one_node_are_bounded(sandbox_side: Side) -> None:
    name = sandbox_side.node()
    for n in range(MOST_PODS + 6):
        pod(sandbox_side, f"p{n}-{name}", name)
    assert len(pods(sandbox_side).using_gpus(name, NOW)) == MOST_PODS


def test_the_same_news_is_published_once_beside_its_pod(side: Side) -> None:
    name = side.node()
    made = pod(side, f"job-{name}", name)
    adapter = pods(side)
    (found,) = adapter.using_gpus(name, NOW)
    event = PodEvent(found, "GpuFault", "\x1b[2Jxid/79\n" + "é" * 3000, "taint 1")
    adapter.publish(event, NOW)
    pods(side).publish(event, NOW + 10**9)
    about = [
        each
        for each in side.rest.ok("GET", EVENTS)["items"]
        if each["involvedObject"].get("uid") == made["metadata"]["uid"]
    ]
    (one,) = about
    assert (one["type"], one["reason"]) == ("Warning", "GpuFault")
    assert one["involvedObject"]["kind"] == "Pod"
    assert one["message"].isprintable()
    assert len(one["message"].encode()) <= 1024


def test_a_missing_right_is_named(side: Side) -> None:
    with pytest.raises(ClusterForbidden, match="list pods"):
        pods(side, "nobody").using_gpus("n", NOW)


def conforms(adapter: KubePods) -> PodsOnNode:
    """For mypy: the adapter is what the port asks for."""
    return adapter
