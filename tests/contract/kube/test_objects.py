"""Objects over their life: identity, revisions, conflicts, deletion, and how refusals look."""

from __future__ import annotations

import pytest

from tests.support.kube_rest import (
    CONFIGMAPS,
    LEASES,
    MERGE,
    NODES,
    Json,
    KubeRest,
    a_configmap,
    a_node,
    nonce,
)


def test_a_created_object_has_an_identity_and_can_be_read_listed_and_deleted(
    kube: KubeRest,
) -> None:
    name = nonce()
    answer = kube.call("POST", NODES, a_node(name))
    assert answer.status_code == 201
    meta = answer.json()["metadata"]
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0

    read = kube.ok("GET", f"{NODES}/{name}")
    assert read["kind"] == "Node"
    assert read["apiVersion"] == "v1"
    assert read["metadata"]["uid"] == meta["uid"]
    assert {"key": "theirs", "value": "v", "effect": "NoSchedule"} in read["spec"]["taints"]
    assert read["status"]["allocatable"] == {"cpu": "8", "nvidia.com/gpu": "8"}

    listed = kube.ok("GET", NODES)
    assert listed["kind"] == "NodeList"
    assert name in [item["metadata"]["name"] for item in listed["items"]]
    assert int(listed["metadata"]["resourceVersion"]) >= int(meta["resourceVersion"])

    gone = kube.ok("DELETE", f"{NODES}/{name}")
    assert gone["status"] == "Success"
    assert gone["details"] == {"name": name, "kind": "nodes", "uid": meta["uid"]}
    kube.refused(404, "GET", f"{NODES}/{name}")


def test_revisions_rise_over_all_resources_and_a_write_without_change_takes_none(
    kube: KubeRest,
) -> None:
    name = nonce()
    seen = [int(kube.ok("POST", NODES, a_node(name))["metadata"]["resourceVersion"])]
    made = kube.ok("POST", CONFIGMAPS, a_configmap(name, a="1"))
    seen.append(int(made["metadata"]["resourceVersion"]))
    for value in ("x", "y", "y"):
        node = kube.patch(f"{NODES}/{name}", {"metadata": {"annotations": {"k": value}}})
        seen.append(int(node["metadata"]["resourceVersion"]))
    assert seen[:-1] == sorted(set(seen))
    assert seen[-1] == seen[-2]


def test_the_status_of_a_missing_object_names_it(kube: KubeRest) -> None:
    assert kube.refused(404, "GET", f"{NODES}/none-such") == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'nodes "none-such" not found',
        "reason": "NotFound",
        "details": {"name": "none-such", "kind": "nodes"},
        "code": 404,
    }
    status = kube.refused(404, "GET", f"{LEASES}/none-such")
    assert status["message"] == 'leases.coordination.k8s.io "none-such" not found'
    assert status["details"] == {
        "name": "none-such",
        "group": "coordination.k8s.io",
        "kind": "leases",
    }
    assert kube.refused(404, "GET", "/api/v1/nonsense")["reason"] == "NotFound"


def test_creating_twice_is_refused_as_already_exists(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name))
    status = kube.refused(409, "POST", NODES, a_node(name))
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == f'nodes "{name}" already exists'
    assert status["details"] == {"name": name, "kind": "nodes"}


def test_generate_name_makes_distinct_names(kube: KubeRest) -> None:
    body = a_configmap("")
    body["metadata"] = {"generateName": "gen-"}
    names = {kube.ok("POST", CONFIGMAPS, body)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_write_based_on_an_older_version_is_a_conflict(kube: KubeRest, method: str) -> None:
    name = nonce()
    old = kube.ok("POST", NODES, a_node(name))
    new = kube.patch(f"{NODES}/{name}", {"metadata": {"labels": {"by": "somebody"}}})
    stale = (
        old
        if method == "PUT"
        else {
            "metadata": {
                "resourceVersion": old["metadata"]["resourceVersion"],
                "labels": {"a": "b"},
            }
        }
    )
    kind = "application/json" if method == "PUT" else MERGE
    status = kube.refused(409, method, f"{NODES}/{name}", stale, kind=kind)
    assert status["reason"] == "Conflict"
    assert status["details"] == {"name": name, "kind": "nodes"}
    assert status["message"] == (
        f'Operation cannot be fulfilled on nodes "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    after = kube.ok("GET", f"{NODES}/{name}")
    assert after["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]


def test_a_stale_status_patch_is_a_conflict_too(kube: KubeRest) -> None:
    name = nonce()
    old = kube.ok("POST", NODES, a_node(name))["metadata"]["resourceVersion"]
    kube.patch(f"{NODES}/{name}", {"metadata": {"labels": {"by": "somebody"}}})
    body = {"metadata": {"resourceVersion": old}, "status": {"conditions": []}}
    kube.refused(409, "PATCH", f"{NODES}/{name}/status", body, kind=MERGE)


def test_put_replaces_the_spec_and_leaves_the_status(kube: KubeRest) -> None:
    name = nonce()
    node = kube.ok("POST", NODES, a_node(name))
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"new": "1"}},
        "spec": {"unschedulable": True},
        "status": {"capacity": {"cpu": "1"}},
    }
    after = kube.ok("PUT", f"{NODES}/{name}", body)
    assert after["metadata"]["labels"] == {"new": "1"}
    assert after["metadata"]["uid"] == node["metadata"]["uid"]
    assert after["spec"]["unschedulable"] is True
    assert "taints" not in after["spec"]
    assert after["status"]["capacity"]["cpu"] == "8"

    stranger = {**body, "metadata": {"name": name, "uid": "other"}}
    assert kube.refused(409, "PUT", f"{NODES}/{name}", stranger)["reason"] == "Conflict"
    kube.refused(400, "PUT", f"{NODES}/{name}", {**body, "metadata": {}})
    kube.refused(404, "PUT", f"{NODES}/{name}-o", {**body, "metadata": {"name": f"{name}-o"}})


def test_the_status_subresource_changes_status_and_not_spec(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name))
    body: Json = {"spec": {"unschedulable": True}, "status": {"nodeInfo": {"bootID": "b-2"}}}
    through_main = kube.patch(f"{NODES}/{name}", body)
    assert through_main["spec"]["unschedulable"] is True
    assert through_main["status"].get("nodeInfo", {}).get("bootID", "") == ""
    body["spec"]["unschedulable"] = False
    through_status = kube.patch(f"{NODES}/{name}/status", body)
    assert through_status["spec"]["unschedulable"] is True
    assert through_status["status"]["nodeInfo"]["bootID"] == "b-2"


def test_metadata_can_be_written_through_status(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name))
    node = kube.patch(f"{NODES}/{name}/status", {"metadata": {"annotations": {"a": "b"}}})
    assert node["metadata"]["annotations"]["a"] == "b"


def test_generation_counts_spec_changes_only(kube: KubeRest) -> None:
    path, name = "/apis/policy/v1/namespaces/default/poddisruptionbudgets", nonce()
    body = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
    }
    seen = [kube.ok("POST", path, body)["metadata"]["generation"]]
    for change in ({"metadata": {"labels": {"x": "y"}}}, {"spec": {"minAvailable": 2}}):
        seen.append(kube.patch(f"{path}/{name}", change)["metadata"]["generation"])
    assert seen == [1, 1, 2]


def test_deletion_honours_preconditions_and_finalizers(kube: KubeRest) -> None:
    name = nonce()
    path = f"{CONFIGMAPS}/{name}"
    body = a_configmap(name)
    body["metadata"]["finalizers"] = ["example.com/wait"]
    made = kube.ok("POST", CONFIGMAPS, body)
    for wrong in ({"uid": "other"}, {"resourceVersion": "1"}):
        status = kube.refused(409, "DELETE", path, {"preconditions": wrong})
        assert status["reason"] == "Conflict"
        assert "precondition" in status["message"]

    uid = made["metadata"]["uid"]
    kube.ok("DELETE", path, {"preconditions": {"uid": uid}})
    marked = kube.ok("GET", path)
    assert marked["metadata"]["deletionTimestamp"]
    kube.patch(path, {"metadata": {"finalizers": None}})
    kube.refused(404, "GET", path)


def test_what_cannot_be_understood_is_a_bad_request(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name))
    assert kube.refused(400, "POST", NODES, b"{nonsense")["reason"] == "BadRequest"
    assert kube.refused(400, "PATCH", f"{NODES}/{name}", b'{"a":', kind=MERGE)["code"] == 400
    other = {"metadata": {"name": "other"}}
    assert kube.refused(400, "PATCH", f"{NODES}/{name}", other, kind=MERGE)["message"] == (
        f"the name of the object (other) does not match the name on the URL ({name})"
    )
    number = {"metadata": {"labels": {"a": 1}}}
    assert kube.refused(422, "PATCH", f"{NODES}/{name}", number, kind=MERGE)["reason"] == "Invalid"
    wrong = a_node(nonce())
    wrong["metadata"]["labels"] = {"a": 1}
    assert kube.refused(400, "POST", NODES, wrong)["reason"] == "BadRequest"
    assert kube.refused(415, "PATCH", f"{NODES}/{name}", {}, kind="text/plain")["reason"] == (
        "UnsupportedMediaType"
    )
    assert kube.refused(405, "POST", f"{NODES}/{name}", {})["reason"] == "MethodNotAllowed"


def test_invalid_objects_are_refused_with_the_field(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name))
    twice = [{"key": "k", "effect": "NoSchedule"}] * 2
    status = kube.refused(422, "PATCH", f"{NODES}/{name}", {"spec": {"taints": twice}}, kind=MERGE)
    assert status["reason"] == "Invalid"
    assert status["details"]["name"] == name
    assert status["details"]["kind"] == "Node"
    assert status["details"]["causes"][0]["reason"] == "FieldValueDuplicate"
    for bad in (
        {"spec": {"taints": [{"key": "k", "effect": "Sometimes"}]}},
        {"spec": {"taints": [{"key": "", "effect": "NoSchedule"}]}},
        {"metadata": {"labels": {"a": "not a value"}}},
        {"metadata": {"annotations": {"a": "x" * 300_000}}},
    ):
        kube.refused(422, "PATCH", f"{NODES}/{name}", bad, kind=MERGE)
    kube.refused(422, "POST", NODES, a_node("Upper_Case"))
    kube.refused(422, "POST", NODES, {**a_node("x"), "metadata": {}})
    kube.refused(422, "POST", CONFIGMAPS, a_configmap(nonce(), a="x" * 1_100_000))


def test_a_body_that_is_too_large_is_refused(kube: KubeRest) -> None:
    body = a_configmap(nonce(), a="x" * 3_200_000)
    assert kube.refused(413, "POST", CONFIGMAPS, body)["reason"] == "RequestEntityTooLarge"


def test_a_namespaced_object_needs_its_namespace(kube: KubeRest) -> None:
    path = "/api/v1/namespaces/none-such/configmaps"
    status = kube.refused(404, "POST", path, a_configmap(nonce()))
    assert status["message"] == 'namespaces "none-such" not found'
    wrong = a_configmap(nonce())
    wrong["metadata"]["namespace"] = "other"
    assert kube.refused(400, "POST", CONFIGMAPS, wrong)["reason"] == "BadRequest"


def test_a_lease_is_renewed_by_put_with_its_version(kube: KubeRest) -> None:
    name = nonce()
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    }
    first = kube.ok("POST", LEASES, lease)
    assert first["spec"] == lease["spec"]
    first["spec"]["renewTime"] = "2026-01-01T00:00:10.123456Z"
    second = kube.ok("PUT", f"{LEASES}/{name}", first)
    assert second["spec"]["renewTime"] == "2026-01-01T00:00:10.123456Z"
    status = kube.refused(409, "PUT", f"{LEASES}/{name}", first)
    assert status["details"]["group"] == "coordination.k8s.io"
    status = kube.refused(422, "PUT", f"{LEASES}/{name}", lease)
    assert status["details"]["causes"][0]["field"] == "metadata.resourceVersion"


def test_a_lease_is_created_by_put_where_there_is_none(kube: KubeRest) -> None:
    name = nonce()
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    }
    assert kube.call("PUT", f"{LEASES}/{name}", lease).status_code == 201


def test_a_configmap_is_replaced_and_patched(kube: KubeRest) -> None:
    name = nonce()
    made = kube.ok("POST", CONFIGMAPS, a_configmap(name, a="1", b="2"))
    made["data"] = {"a": "3"}
    assert kube.ok("PUT", f"{CONFIGMAPS}/{name}", made)["data"] == {"a": "3"}
    after = kube.patch(f"{CONFIGMAPS}/{name}", {"data": {"b": "4", "a": None}})
    assert after["data"] == {"b": "4"}


def test_a_dry_run_stores_nothing(kube: KubeRest) -> None:
    name = nonce()
    assert kube.call("POST", NODES, a_node(name), dryRun="All").status_code == 201
    kube.refused(404, "GET", f"{NODES}/{name}")
    kube.ok("POST", NODES, a_node(name))
    node = kube.patch(f"{NODES}/{name}", {"metadata": {"labels": {"a": "b"}}}, dryRun="All")
    assert node["metadata"]["labels"] == {"a": "b"}
    assert kube.ok("GET", f"{NODES}/{name}")["metadata"].get("labels", {}) == {}
    kube.ok("DELETE", f"{NODES}/{name}", dryRun="All")
    kube.ok("GET", f"{NODES}/{name}")


def test_a_collection_is_deleted_by_selector(kube: KubeRest) -> None:
    mark, names = nonce(), [nonce() for _ in range(3)]
    for at, name in enumerate(names):
        kube.ok("POST", NODES, a_node(name, mark=mark, at=str(at)))
    kube.ok("DELETE", NODES, labelSelector=f"mark={mark},at!=1")
    left = kube.ok("GET", NODES, labelSelector=f"mark={mark}")["items"]
    assert [node["metadata"]["name"] for node in left] == [names[1]]


def test_a_pod_on_a_node_ends_gracefully_and_one_that_waits_at_once(kube: KubeRest) -> None:
    path = "/api/v1/namespaces/default/pods"
    names = [nonce("bound"), nonce("waiting")]
    for name in names:
        spec = {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 7}
        if name == names[0]:
            spec["nodeName"] = "somewhere"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        made = kube.ok("POST", path, pod)
        assert made["status"]["phase"] == "Pending"
    ending = kube.ok("DELETE", f"{path}/{names[0]}")
    assert ending["kind"] == "Pod"
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 7
    assert kube.ok("GET", f"{path}/{names[0]}")["metadata"]["deletionTimestamp"]
    kube.ok("DELETE", f"{path}/{names[0]}", gracePeriodSeconds=0)
    kube.refused(404, "GET", f"{path}/{names[0]}")
    kube.ok("DELETE", f"{path}/{names[1]}")
    kube.refused(404, "GET", f"{path}/{names[1]}")


def test_a_wrong_token_is_unauthorized(kube: KubeRest) -> None:
    stranger = KubeRest(kube.server._replace(headers={"Authorization": "Bearer wrong"}))
    try:
        assert stranger.refused(401, "GET", NODES) == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "Unauthorized",
            "reason": "Unauthorized",
            "code": 401,
        }
    finally:
        stranger.close()
