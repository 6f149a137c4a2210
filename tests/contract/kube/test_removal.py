"""How is something taken away: one condition of many, and objects at the version that was read?"""

from __future__ import annotations

import pytest

from tests.support.kube_rest import (
    CONFIGMAPS,
    LEASES,
    MERGE,
    NODES,
    STRATEGIC,
    Json,
    KubeRest,
    a_configmap,
    a_node,
    nonce,
)

OURS = {"type": "KonduktorHealthy", "status": "False", "reason": "FatalFault", "message": "m"}


def removal(kind: str, version: str) -> Json:
    gone = {"type": kind, "$patch": "delete"}
    return {"metadata": {"resourceVersion": version}, "status": {"conditions": [gone]}}


def version(node: Json) -> str:
    return str(node["metadata"]["resourceVersion"])


def test_a_condition_is_removed_at_one_version_and_the_others_stay_as_they_are(
    kube: KubeRest,
) -> None:
    path = f"{NODES}/{nonce()}"
    before = kube.ok("POST", NODES, a_node(path.rsplit("/", 1)[1]))["status"]["conditions"]
    body = {"status": {"conditions": [OURS]}}
    stale = kube.patch(f"{path}/status", body, STRATEGIC)
    fresh = kube.patch(path, {"metadata": {"labels": {"by": "somebody"}}})
    old = removal(OURS["type"], version(stale))
    status = kube.refused(409, "PATCH", f"{path}/status", old, kind=STRATEGIC)
    assert status["reason"] == "Conflict"
    after = kube.patch(f"{path}/status", removal(OURS["type"], version(fresh)), STRATEGIC)
    assert after["status"]["conditions"] == before
    again = kube.patch(f"{path}/status", removal(OURS["type"], version(after)), STRATEGIC)
    assert again["status"]["conditions"] == before
    assert version(again) == version(after)


def test_the_last_condition_takes_the_list_with_it(kube: KubeRest) -> None:
    name = nonce()
    made = kube.ok("POST", NODES, {**a_node(name), "status": {}})
    assert "conditions" not in made["status"]
    path = f"{NODES}/{name}/status"
    node = kube.patch(path, {"status": {"conditions": [OURS]}}, STRATEGIC)
    after = kube.patch(path, removal(OURS["type"], version(node)), STRATEGIC)
    assert "conditions" not in after["status"]


def test_what_is_emptied_is_as_if_it_had_never_been(kube: KubeRest) -> None:
    name = nonce()
    body: Json = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    kube.ok("POST", NODES, body)
    path = f"{NODES}/{name}"
    before = kube.patch(path, {"spec": {"taints": None}})  # of admission
    change: Json = {
        "metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
        "spec": {"taints": [{"key": "ours", "value": "true", "effect": "NoSchedule"}]},
    }
    kube.patch(path, change, MERGE)
    undo: Json = {
        "metadata": {"labels": {"a": None}, "annotations": {"a": None}},
        "spec": {"taints": []},
    }
    after = kube.patch(path, undo, MERGE)
    for node in (before, after):
        for key in ("resourceVersion", "managedFields"):
            node["metadata"].pop(key, None)
    assert after == before


@pytest.mark.parametrize("collection", [CONFIGMAPS, LEASES], ids=["configmap", "lease"])
def test_an_object_is_deleted_at_exactly_the_version_that_was_read(
    kube: KubeRest, collection: str
) -> None:
    name = nonce()
    path = f"{collection}/{name}"
    body: Json = a_configmap(name, a="1")
    if collection == LEASES:
        spec = {"holderIdentity": "a", "leaseDurationSeconds": 15}
        body = {"metadata": {"name": name}, "spec": spec}
    made = kube.ok("POST", collection, body)["metadata"]
    renewed = kube.patch(path, {"metadata": {"annotations": {"by": "somebody"}}})["metadata"]

    def options(meta: Json, **more: str) -> Json:
        wanted = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        return {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": wanted | more}

    status = kube.refused(409, "DELETE", path, options(made))
    assert status["reason"] == "Conflict"
    kube.refused(409, "DELETE", path, options(renewed, uid="other"))
    kube.ok("DELETE", path, options(renewed))
    assert kube.refused(404, "DELETE", path, options(renewed))["reason"] == "NotFound"
    kube.refused(404, "GET", path)
