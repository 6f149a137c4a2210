"""What the embedded API offers beyond a real server: faults, refusals, actors, and its speed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import yaml

from konduktor_health.sandbox.kubeapi import ApiError, KubeApi
from konduktor_health.sandbox.kubeapi.actors import Actors
from konduktor_health.sandbox.nodes import cpu_node, gpu_node
from tests.support.kube_rest import CONFIGMAPS, MERGE, NODES, KubeRest, KubeServer, a_configmap

NS = 1_000_000_000


class FixedClock:
    def __init__(self) -> None:
        self.ns = 1_800_000_000 * NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / NS

    def wait(self, event: Any, seconds: float) -> bool:
        self.ns += int(seconds * NS)
        return bool(event.is_set())


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def api(clock: FixedClock) -> Iterator[KubeApi]:
    api = KubeApi(clock=clock, tokens={"one": "admin", "two": "weak"}, buffer=50)
    api.start()
    yield api
    api.stop()
    assert api.failures == []


def client_of(api: KubeApi, token: str) -> KubeRest:
    return KubeRest(KubeServer(api.url, {"Authorization": f"Bearer {token}"}, True, "sandbox"))


@pytest.fixture
def kube(api: KubeApi) -> Iterator[KubeRest]:
    client = client_of(api, "one")
    yield client
    client.close()


def test_objects_prepared_in_python_are_what_clients_see(api: KubeApi, kube: KubeRest) -> None:
    made = api.store.create("nodes", gpu_node("n", gpus=4, labels={"a": "b"}))
    node = kube.ok("GET", f"{NODES}/n")
    assert node == made
    assert node["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert node["metadata"]["labels"]["nvidia.com/gpu.present"] == "true"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert gpu_node("n")["status"]["nodeInfo"] == gpu_node("n")["status"]["nodeInfo"]
    assert gpu_node("n", boot_id="x")["status"]["nodeInfo"]["bootID"] == "x"
    assert "nvidia.com/gpu" not in cpu_node("c")["status"]["capacity"]
    made["metadata"]["labels"]["a"] = "changed"
    assert api.store.get("nodes", "n")["metadata"]["labels"]["a"] == "b"
    api.store.update("nodes", made)
    with pytest.raises(ApiError) as refusal:
        api.store.update("nodes", made)
    assert refusal.value.code == 409


def test_the_kubeconfig_is_readable_and_carries_the_token(api: KubeApi) -> None:
    config = yaml.safe_load(api.kubeconfig("weak"))
    assert config["clusters"][0]["cluster"]["server"] == api.url
    assert config["users"][0]["user"] == {"token": "two"}
    assert config["contexts"][0]["name"] == config["current-context"]


def test_a_denied_verb_is_forbidden_in_the_words_of_rbac(api: KubeApi) -> None:
    api.store.create("nodes", cpu_node("n"))
    api.deny["weak"] = {("list", "nodes"), ("patch", "nodes/status"), ("*", "leases")}
    weak = client_of(api, "two")
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/x"
    assert weak.refused(403, "GET", NODES)["message"] == (
        'nodes is forbidden: User "weak" cannot list resource "nodes" in API group "" at the '
        "cluster scope"
    )
    assert weak.refused(403, "PATCH", f"{NODES}/n/status", {}, kind=MERGE)["message"] == (
        'nodes "n" is forbidden: User "weak" cannot patch resource "nodes/status" in API group "" '
        "at the cluster scope"
    )
    assert weak.refused(403, "GET", path)["message"] == (
        'leases.coordination.k8s.io "x" is forbidden: User "weak" cannot get resource "leases" in '
        'API group "coordination.k8s.io" in the namespace "default"'
    )
    weak.patch(f"{NODES}/n", {"metadata": {"labels": {"a": "b"}}})
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}}
    where = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert weak.ok("POST", where, review)["status"]["allowed"] is False
    weak.close()


def test_answers_can_be_replaced_a_number_of_times(api: KubeApi, kube: KubeRest) -> None:
    api.faults.answer(503, path="/nodes$", times=2)
    api.faults.answer(429, method="POST", message="slow down", retry_after=7)
    assert [kube.call("GET", NODES).status_code for _ in range(3)] == [503, 503, 200]
    answer = kube.call("POST", CONFIGMAPS, a_configmap("c"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["reason"] == "TooManyRequests"
    assert kube.call("POST", CONFIGMAPS, a_configmap("c")).status_code == 201


def test_a_connection_is_dropped_before_or_after_the_write(api: KubeApi, kube: KubeRest) -> None:
    for name, after in (("lost", False), ("kept", True)):
        api.faults.drop(method="POST", after=after)
        with pytest.raises(requests.ConnectionError):
            kube.call("POST", CONFIGMAPS, a_configmap(name))
    assert [c["metadata"]["name"] for c in api.store.list("configmaps")] == ["kept"]


def test_answers_can_be_late(api: KubeApi, kube: KubeRest) -> None:
    api.faults.delay(0.2, path="/nodes$", times=1)
    began = time.monotonic()
    kube.ok("GET", NODES)
    assert time.monotonic() - began >= 0.2


def test_watches_can_be_killed_and_resumed(api: KubeApi, kube: KubeRest) -> None:
    revision = kube.revision()
    watching = kube.watch(NODES, resourceVersion=revision, timeoutSeconds=60)
    api.store.create("nodes", cpu_node("a"))
    assert next(watching)["object"]["metadata"]["name"] == "a"
    api.faults.kill_watches()
    assert list(watching) == []
    watching.close()
    api.store.create("nodes", cpu_node("b"))
    names = [
        f["object"]["metadata"]["name"] for f in kube.frames(NODES, 2, resourceVersion=revision)
    ]
    assert names == ["a", "b"]


def test_a_bookmark_tells_how_far_a_silent_watch_is(api: KubeApi, kube: KubeRest) -> None:
    revision = kube.revision()
    api.store.create("nodes", cpu_node("a"))
    wanted = {"labelSelector": "none-such", "resourceVersion": revision, "timeoutSeconds": 3}
    [frame] = kube.frames(NODES, 9, allowWatchBookmarks="true", **wanted)
    assert frame["type"] == "BOOKMARK"
    assert frame["object"]["metadata"] == {"resourceVersion": str(int(revision) + 1)}


def test_a_watch_that_fell_behind_the_buffer_is_expired(api: KubeApi, kube: KubeRest) -> None:
    api.store.create("nodes", cpu_node("a"))
    revision = kube.revision()
    for at in range(50):
        api.store.create("configmaps", a_configmap(f"c-{at}"))
    assert len(kube.frames(CONFIGMAPS, 50, resourceVersion=revision)) == 50
    api.store.create("configmaps", a_configmap("one-more"))
    [frame] = kube.frames(CONFIGMAPS, 9, resourceVersion=revision)
    assert (frame["type"], frame["object"]["code"]) == ("ERROR", 410)


def test_a_page_of_a_list_that_was_compacted_is_gone(api: KubeApi, kube: KubeRest) -> None:
    for name in "abc":
        api.store.create("nodes", cpu_node(name))
    token = kube.ok("GET", NODES, limit=1)["metadata"]["continue"]
    api.faults.compact()
    assert kube.refused(410, "GET", NODES, limit=1, **{"continue": token})["reason"] == "Expired"


def test_requests_are_recorded_with_user_and_code(api: KubeApi, kube: KubeRest) -> None:
    kube.ok("GET", NODES, limit=5)
    kube.refused(404, "DELETE", f"{NODES}/none")
    assert [(r.method, r.path, r.query, r.user, r.code) for r in api.requests.all()] == [
        ("GET", NODES, "limit=5", "admin", 200),
        ("DELETE", f"{NODES}/none", "", "admin", 404),
    ]
    assert [r.code for r in api.requests.writes()] == [404]
    api.requests.clear()
    assert api.requests.matching("GET", "nodes") == []


def a_pod(name: str, *, ready: bool = True, **spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], **spec},
        "status": {"phase": "Running", "conditions": conditions},
    }


def test_an_eviction_waits_for_the_disruption_budget(
    api: KubeApi, kube: KubeRest, clock: FixedClock
) -> None:
    for name in ("p-0", "p-1"):
        api.store.create("pods", a_pod(name))
    api.store.create(
        "poddisruptionbudgets",
        {
            "metadata": {"name": "keep-one", "namespace": "default"},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "a"}}},
        },
    )

    def evict(name: str) -> requests.Response:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        return kube.call("POST", f"/api/v1/namespaces/default/pods/{name}/eviction", body)

    assert evict("p-0").status_code == 201
    refused = evict("p-1")
    assert refused.status_code == 429
    assert refused.json()["details"]["causes"][0]["reason"] == "DisruptionBudget"
    Actors(api.store, clock).step()
    assert [p["metadata"]["name"] for p in api.store.list("pods")] == ["p-1"]
    assert evict("none").status_code == 404


def test_a_no_execute_taint_drives_out_what_does_not_tolerate_it(
    api: KubeApi, clock: FixedClock
) -> None:
    taint = {"key": "k", "effect": "NoExecute", "timeAdded": api.store.now()}
    api.store.create("nodes", cpu_node("n") | {"spec": {"taints": [taint]}})
    patience = {"key": "k", "operator": "Exists", "tolerationSeconds": 60}
    api.store.create("pods", a_pod("bears", tolerations=[{"operator": "Exists"}]))
    api.store.create("pods", a_pod("bears-a-while", tolerations=[patience]))
    api.store.create("pods", a_pod("leaves"))

    def left() -> list[str]:
        for _ in range(2):
            Actors(api.store, clock).step()
        return [p["metadata"]["name"] for p in api.store.list("pods")]

    assert left() == ["bears", "bears-a-while"]
    clock.ns += 61 * NS
    assert left() == ["bears"]


def test_a_deleted_namespace_takes_its_objects_along(api: KubeApi, kube: KubeRest) -> None:
    kube.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "job"}})
    path = "/api/v1/namespaces/job/configmaps"
    kube.ok("POST", path, a_configmap("c"))
    kube.ok("DELETE", "/api/v1/namespaces/job")
    assert kube.ok("GET", path)["items"] == []


def test_pod_logs_are_what_the_test_says(api: KubeApi, kube: KubeRest) -> None:
    api.store.create("pods", a_pod("p"))
    api.pod_logs["default", "p"] = "line\n"
    assert kube.call("GET", "/api/v1/namespaces/default/pods/p/log").text == "line\n"


def test_stop_ends_open_watches_quickly(clock: FixedClock) -> None:
    api = KubeApi(clock=clock)
    api.start()
    client = KubeRest(KubeServer(api.url, {}, True, "sandbox"))
    watching = client.watch(NODES, timeoutSeconds=300, resourceVersion="1")
    began = time.monotonic()
    api.stop()
    assert time.monotonic() - began < 2.0
    watching.close()
    client.close()


def test_a_thousand_nodes_are_listed_and_two_hundred_patched_in_time() -> None:
    api = KubeApi()
    api.start()
    for at in range(1000):
        api.store.create("nodes", gpu_node(f"node-{at}"))
    client = KubeRest(KubeServer(api.url, {}, True, "sandbox"))
    began = time.monotonic()
    answer = client.call("GET", NODES)
    took = time.monotonic() - began
    assert len(json.loads(answer.content)["items"]) == 1000
    client.close()

    def patch_some(worker: int) -> None:
        own = KubeRest(KubeServer(api.url, {}, True, "sandbox"))
        for at in range(25):
            body = {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
            own.patch(f"{NODES}/node-{worker * 25 + at}", body)
        own.close()

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(patch_some, range(8)))
    rate = 200 / (time.monotonic() - began)
    api.stop()
    assert took < 0.3
    assert rate > 300
