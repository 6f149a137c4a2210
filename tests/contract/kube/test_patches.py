"""What the kinds of patch do to a Node: lists above all."""

from __future__ import annotations

import pytest

from tests.support.kube_rest import (
    JSON_PATCH,
    MERGE,
    NODES,
    STRATEGIC,
    Json,
    KubeRest,
    a_node,
    nonce,
)

OURS = {"key": "ours", "value": "true", "effect": "NoSchedule"}


@pytest.fixture
def path(kube: KubeRest) -> str:
    name = nonce()
    kube.ok("POST", NODES, a_node(name, keep="1", drop="2"))
    return f"{NODES}/{name}"


def keys(node: Json) -> list[str]:
    return [taint["key"] for taint in node["spec"].get("taints", [])]


def conditions(node: Json) -> dict[str, str]:
    return {c["type"]: c["status"] for c in node["status"]["conditions"]}


def test_a_merge_patch_merges_maps_removes_nulls_and_replaces_lists(
    kube: KubeRest, path: str
) -> None:
    labels = {"drop": None, "new": "3"}
    node = kube.patch(path, {"metadata": {"labels": labels}, "spec": {"taints": [OURS]}})
    assert node["metadata"]["labels"] == {"keep": "1", "new": "3"}
    assert keys(node) == ["ours"]
    node = kube.patch(path, {"spec": {"taints": None}})
    assert keys(node) == []


def test_a_merge_patch_of_conditions_loses_the_others(kube: KubeRest, path: str) -> None:
    body = {"status": {"conditions": [{"type": "KonduktorHealthy", "status": "True"}]}}
    assert conditions(kube.patch(f"{path}/status", body)) == {"KonduktorHealthy": "True"}


def test_a_strategic_patch_replaces_taints_as_a_whole(kube: KubeRest, path: str) -> None:
    node = kube.patch(path, {"spec": {"taints": [OURS]}}, STRATEGIC)
    assert keys(node) == ["ours"]


def test_a_strategic_patch_merges_conditions_and_addresses_by_type(
    kube: KubeRest, path: str
) -> None:
    before = kube.ok("GET", path)
    body = {
        "status": {
            "conditions": [
                {"type": "KonduktorHealthy", "status": "False", "reason": "Faulty"},
                {"type": "Ready", "status": "False"},
            ],
            "addresses": [{"type": "Hostname", "address": "h"}],
        }
    }
    node = kube.patch(f"{path}/status", body, STRATEGIC)
    assert conditions(node) == {
        "KonduktorHealthy": "False",
        "Ready": "False",
        "DiskPressure": "False",
    }
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "KubeletReady"
    assert {a["type"]: a["address"] for a in node["status"]["addresses"]} == {
        "InternalIP": "10.1.2.3",
        "Hostname": "h",
    }
    assert node["spec"] == before["spec"]


def test_a_strategic_patch_deletes_by_directive(kube: KubeRest, path: str) -> None:
    body = {"status": {"conditions": [{"type": "DiskPressure", "$patch": "delete"}]}}
    assert conditions(kube.patch(f"{path}/status", body, STRATEGIC)) == {"Ready": "True"}
    node = kube.patch(path, {"metadata": {"labels": {"$patch": "replace", "a": "b"}}}, STRATEGIC)
    assert node["metadata"]["labels"] == {"a": "b"}


def test_a_strategic_patch_merges_containers_and_their_environment_by_name(
    kube: KubeRest,
) -> None:
    base, name = "/apis/apps/v1/namespaces/default/daemonsets", nonce()
    first, second = ({"name": n, "image": f"i-{n}"} for n in ("first", "second"))
    first["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]  # type: ignore[assignment]
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"a": name}},
            "template": {
                "metadata": {"labels": {"a": name}},
                "spec": {"containers": [first, second]},
            },
        },
    }
    kube.ok("POST", base, body)
    change = {
        "name": "first",
        "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}],
    }
    after = kube.patch(
        f"{base}/{name}", {"spec": {"template": {"spec": {"containers": [change]}}}}, STRATEGIC
    )
    containers = {c["name"]: c for c in after["spec"]["template"]["spec"]["containers"]}
    assert containers["first"]["env"] == [{"name": "B", "value": "3"}]
    assert containers["first"]["image"] == "i-first"
    assert containers["second"]["image"] == "i-second"
    assert after["metadata"]["generation"] == 2


def test_a_json_patch_adds_tests_replaces_and_removes(kube: KubeRest, path: str) -> None:
    version = kube.ok("GET", path)["metadata"]["resourceVersion"]
    node = kube.patch(
        path,
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/spec/taints/-", "value": OURS},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "x"},
            {"op": "replace", "path": "/metadata/labels/keep", "value": "9"},
            {"op": "replace", "path": "/metadata/labels/missing", "value": "8"},
            {"op": "remove", "path": "/metadata/labels/drop"},
            {"op": "copy", "from": "/metadata/labels/keep", "path": "/metadata/labels/copied"},
            {"op": "move", "from": "/metadata/labels/copied", "path": "/metadata/labels/moved"},
        ],
        JSON_PATCH,
    )
    assert {"theirs", "ours"} <= set(keys(node))
    assert node["metadata"]["labels"] == {"a/b": "x", "keep": "9", "missing": "8", "moved": "9"}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/labels/keep", "value": "other"},
        {"op": "remove", "path": "/metadata/labels/none"},
        {"op": "add", "path": "/metadata/none/deeper", "value": "x"},
        {"op": "add", "path": "/spec/taints/77", "value": OURS},
        {"op": "bogus", "path": "/spec"},
    ],
    ids=lambda operation: f"{operation['op']}{operation['path']}".replace("/", "."),
)
def test_a_json_patch_that_does_not_fit_is_invalid_and_changes_nothing(
    kube: KubeRest, path: str, operation: Json
) -> None:
    before = kube.ok("GET", path)
    first = {"op": "add", "path": "/metadata/labels/half", "value": "done"}
    status = kube.refused(422, "PATCH", path, [first, operation], kind=JSON_PATCH)
    assert status["reason"] == "Invalid"
    assert kube.ok("GET", path) == before


def test_what_is_empty_is_not_kept_so_that_a_json_patch_cannot_add_into_it(
    kube: KubeRest, path: str
) -> None:
    body = {"metadata": {"labels": {"keep": None, "drop": None}}, "spec": {"taints": []}}
    node = kube.patch(path, body)
    assert "labels" not in node["metadata"]
    assert "taints" not in node["spec"]
    for into, value in (("/spec/taints/-", OURS), ("/metadata/labels/a", "b")):
        operation = {"op": "add", "path": into, "value": value}
        kube.refused(422, "PATCH", path, [operation], kind=JSON_PATCH)


def test_a_strategic_patch_decides_the_order_of_what_it_names(kube: KubeRest, path: str) -> None:
    body = {"status": {"conditions": [{"type": "New", "status": "True"}]}}
    assert list(conditions(kube.patch(f"{path}/status", body, STRATEGIC))) == [
        "New",
        "Ready",
        "DiskPressure",
    ]


@pytest.mark.parametrize(("kind", "body"), [(MERGE, []), (STRATEGIC, []), (JSON_PATCH, {"a": 1})])
def test_a_patch_of_the_wrong_shape_is_a_bad_request(
    kube: KubeRest, path: str, kind: str, body: object
) -> None:
    assert kube.refused(400, "PATCH", path, body, kind=kind)["reason"] == "BadRequest"


def test_the_server_keeps_what_only_it_decides(kube: KubeRest, path: str) -> None:
    before = kube.ok("GET", path)["metadata"]
    stamps = {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 99}
    after = kube.patch(path, {"metadata": {**stamps, "labels": {"x": "y"}}})["metadata"]
    assert after["creationTimestamp"] == before["creationTimestamp"]
    assert after.get("generation") == before.get("generation")
    status = kube.refused(422, "PATCH", path, {"metadata": {"uid": "other"}}, kind=MERGE)
    assert status["details"]["causes"][0]["field"] == "metadata.uid"


def test_server_side_apply_creates_and_merges(kube: KubeRest) -> None:
    name = nonce()
    path, kind = f"/api/v1/namespaces/default/configmaps/{name}", "application/apply-patch+yaml"
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"a": "1"},
    }
    made = kube.call("PATCH", path, body, kind=kind, fieldManager="one")
    assert made.status_code == 201
    assert made.json()["metadata"]["managedFields"][0]["manager"] == "one"
    body["data"] = {"b": "2"}
    after = kube.patch(path, body, kind, fieldManager="two")
    assert after["data"] == {"a": "1", "b": "2"}
    assert {f["manager"] for f in after["metadata"]["managedFields"]} == {"one", "two"}
    kube.refused(422, "PATCH", path, body, kind=kind)
