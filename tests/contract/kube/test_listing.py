"""Lists: selectors, pages, and Tables as kubectl reads them."""

from __future__ import annotations

import pytest

from tests.support.kube_rest import NODES, TABLE, Json, KubeRest, a_node, nonce

PODS = "/api/v1/namespaces/default/pods"
DAEMONSET = (
    "Name Desired Current Ready Up-to-date Available Node-Selector Age Containers Images Selector"
)


@pytest.fixture
def mark(kube: KubeRest) -> str:
    """The label value of five nodes: tier a a b b none, zone 0..4."""
    value = nonce("m")
    for at, tier in enumerate("aabb-"):
        labels = {"mark": value, "zone": str(at)} | ({"tier": tier} if tier != "-" else {})
        kube.ok("POST", NODES, a_node(f"{value}-{at}", **labels))
    return value


def zones(answer: Json) -> str:
    return "".join(item["metadata"]["labels"]["zone"] for item in answer["items"])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("tier=a", "01"),
        ("tier==b", "23"),
        ("tier!=a", "234"),
        ("tier", "0123"),
        ("!tier", "4"),
        ("tier in (a, b),zone notin (0,3)", "12"),
        ("tier in (b),zone=2", "2"),
        ("zone>2", "34"),
        ("tier=none", ""),
        ("", "01234"),
    ],
)
def test_label_selectors(kube: KubeRest, mark: str, selector: str, expected: str) -> None:
    wanted = f"mark={mark}" + (f",{selector}" if selector else "")
    assert zones(kube.ok("GET", NODES, labelSelector=wanted)) == expected


def test_field_selectors(kube: KubeRest, mark: str) -> None:
    def names(fields: str) -> list[str]:
        items = kube.ok("GET", NODES, fieldSelector=fields, labelSelector=f"mark={mark}")["items"]
        return [item["metadata"]["name"] for item in items]

    assert names(f"metadata.name={mark}-3") == [f"{mark}-3"]
    assert len(names(f"metadata.name!={mark}-3")) == 4
    kube.patch(f"{NODES}/{mark}-1", {"spec": {"unschedulable": True}})
    assert names("spec.unschedulable=true") == [f"{mark}-1"]


def test_pods_are_selected_by_node_and_phase(kube: KubeRest) -> None:
    names, node = [nonce("p") for _ in range(2)], nonce("n")
    for name in names:
        spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        kube.ok("POST", PODS, pod)
    kube.patch(f"{PODS}/{names[0]}/status", {"status": {"phase": "Running"}})
    for fields, expected in (
        (f"spec.nodeName={node}", sorted(names)),
        (f"spec.nodeName={node},status.phase=Running", [names[0]]),
        (f"spec.nodeName={node},status.phase!=Running", [names[1]]),
        ("spec.nodeName=none-such", []),
    ):
        found = kube.ok("GET", "/api/v1/pods", fieldSelector=fields)["items"]
        assert sorted(pod["metadata"]["name"] for pod in found) == expected
    for name in names:
        kube.ok("DELETE", f"{PODS}/{name}", gracePeriodSeconds=0)


def test_a_selector_that_cannot_be_understood_is_a_bad_request(kube: KubeRest) -> None:
    for params in (
        {"fieldSelector": "spec.nonsense=x"},
        {"fieldSelector": "nonsense"},
        {"labelSelector": "a b c"},
        {"labelSelector": "a in b"},
        {"continue": "nonsense", "limit": "1"},
    ):
        assert kube.refused(400, "GET", NODES, **params)["reason"] == "BadRequest"


def test_a_list_in_pages_is_one_moment_of_the_whole(kube: KubeRest, mark: str) -> None:
    wanted = {"labelSelector": f"mark={mark}", "limit": 2}
    page = kube.ok("GET", NODES, **wanted)
    revision, seen = page["metadata"]["resourceVersion"], zones(page)
    kube.ok("DELETE", f"{NODES}/{mark}-4")
    kube.ok("POST", NODES, a_node(f"{mark}-44", mark=mark, zone="X"))
    sizes = [len(page["items"])]
    while token := page["metadata"].get("continue"):
        page = kube.ok("GET", NODES, **wanted, **{"continue": token})
        assert page["metadata"]["resourceVersion"] == revision
        seen += zones(page)
        sizes.append(len(page["items"]))
    assert seen == "01234"
    assert sizes == [2, 2, 1]


def test_a_page_tells_how_many_are_left(kube: KubeRest, mark: str) -> None:
    total = len(kube.ok("GET", NODES)["items"])
    meta = kube.ok("GET", NODES, limit=1)["metadata"]
    assert meta["remainingItemCount"] == total - 1
    assert "continue" not in kube.ok("GET", NODES, limit=total)["metadata"]


def test_nodes_as_a_table(kube: KubeRest, mark: str) -> None:
    kube.patch(f"{NODES}/{mark}-1", {"spec": {"unschedulable": True}})
    role = {"node-role.kubernetes.io/worker": ""}
    kube.patch(f"{NODES}/{mark}-2", {"metadata": {"labels": role}})
    answer = kube.call("GET", NODES, accept=TABLE, labelSelector=f"mark={mark},tier")
    assert answer.headers["Content-Type"] == "application/json"
    table = answer.json()
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [(c["name"], c["priority"]) for c in table["columnDefinitions"]] == [
        ("Name", 0),
        ("Status", 0),
        ("Roles", 0),
        ("Age", 0),
        ("Version", 0),
        ("Internal-IP", 1),
        ("External-IP", 1),
        ("OS-Image", 1),
        ("Kernel-Version", 1),
        ("Container-Runtime", 1),
    ]
    rows = [row["cells"] for row in table["rows"]]
    assert [row[0] for row in rows] == [f"{mark}-{at}" for at in range(4)]
    assert [row[1] for row in rows] == ["Ready", "Ready,SchedulingDisabled", "Ready", "Ready"]
    assert [row[2] for row in rows] == ["<none>", "<none>", "worker", "<none>"]
    assert rows[0][3].endswith("s")
    assert rows[0][5:] == ["10.1.2.3", "<none>", "<unknown>", "<unknown>", "<unknown>"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["rows"][0]["object"]["metadata"]["name"] == f"{mark}-0"


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("/api/v1/pods", "Name Ready Status Restarts Age IP Node Nominated-Node Readiness-Gates"),
        (
            "/api/v1/events",
            "Last-Seen Type Reason Object Subobject Source Message First-Seen Count Name",
        ),
        ("/apis/coordination.k8s.io/v1/leases", "Name Holder Age"),
        ("/api/v1/configmaps", "Name Data Age"),
        ("/api/v1/secrets", "Name Type Data Age"),
        ("/api/v1/namespaces", "Name Status Age"),
        (
            "/apis/apps/v1/daemonsets",
            DAEMONSET,
        ),
        (
            "/apis/policy/v1/poddisruptionbudgets",
            "Name Min-Available Max-Unavailable Allowed-Disruptions Age",
        ),
    ],
)
def test_table_columns(kube: KubeRest, path: str, columns: str) -> None:
    table = kube.ok("GET", path, accept=TABLE)
    names = [c["name"].replace(" ", "-") for c in table["columnDefinitions"]]
    assert " ".join(names) == columns


def test_a_list_of_all_namespaces_names_them(kube: KubeRest) -> None:
    listed = kube.ok("GET", "/api/v1/namespaces")["items"]
    assert {"default", "kube-system"} <= {item["metadata"]["name"] for item in listed}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/api/v1", "APIResourceList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
    ],
)
def test_discovery(kube: KubeRest, path: str, kind: str) -> None:
    assert kube.ok("GET", path)["kind"] == kind


def test_discovery_describes_nodes(kube: KubeRest) -> None:
    rows = {row["name"]: row for row in kube.ok("GET", "/api/v1")["resources"]}
    node = rows["nodes"]
    assert (node["kind"], node["namespaced"], node["singularName"]) == ("Node", False, "node")
    assert node["shortNames"] == ["no"]
    assert set(node["verbs"]) == {
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    }
    assert "nodes/status" in rows
    assert rows["pods/eviction"]["kind"] == "Eviction"
    assert int(kube.ok("GET", "/version")["minor"]) >= 34
    assert kube.call("GET", "/readyz").text == "ok"
