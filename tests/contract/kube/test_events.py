"""Events: two APIs over the same objects."""

from __future__ import annotations

from tests.support.kube_rest import EVENTS, NEW_EVENTS, KubeRest, an_event, nonce


def test_an_event_is_created_once_and_counted_by_patch(kube: KubeRest) -> None:
    name, node = nonce("e"), nonce("n")
    kube.ok("POST", EVENTS, an_event(name, node))
    status = kube.refused(409, "POST", EVENTS, an_event(name, node))
    assert status["reason"] == "AlreadyExists"
    assert status["message"] == f'events "{name}" already exists'
    body = {"count": 2, "lastTimestamp": "2026-01-01T00:00:05Z"}
    after = kube.patch(f"{EVENTS}/{name}", body)
    assert (after["count"], after["firstTimestamp"]) == (2, "2026-01-01T00:00:00Z")


def test_events_are_selected_by_what_they_are_about(kube: KubeRest) -> None:
    names, node = [nonce("e") for _ in range(2)], nonce("n")
    kube.ok("POST", EVENTS, an_event(names[0], node))
    kube.ok("POST", EVENTS, an_event(names[1], node, type="Normal", reason="Cleared"))

    def found(fields: str) -> list[str]:
        items = kube.ok("GET", "/api/v1/events", fieldSelector=fields)["items"]
        return sorted(item["metadata"]["name"] for item in items)

    about = f"involvedObject.kind=Node,involvedObject.name={node}"
    assert found(about) == sorted(names)
    assert found(f"{about},involvedObject.uid={node},involvedObject.namespace=") == sorted(names)
    assert found(f"{about},type=Warning") == [names[0]]
    assert found(f"{about},reason=Cleared") == [names[1]]
    assert found("involvedObject.name=none-such") == []


def test_both_event_apis_show_the_same_objects(kube: KubeRest) -> None:
    old, new, node = nonce("old"), nonce("new"), nonce("n")
    kube.ok("POST", EVENTS, an_event(old, node))
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": new, "namespace": "default"},
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "eventTime": "2026-01-01T00:00:00.000001Z",
        "type": "Warning",
        "reason": "GpuFault",
        "action": "Taint",
        "note": "a note",
        "reportingController": "contract",
        "reportingInstance": "contract-0",
    }
    kube.ok("POST", NEW_EVENTS, body)

    shown = kube.ok("GET", f"{EVENTS}/{new}")
    assert (shown["apiVersion"], shown["kind"]) == ("v1", "Event")
    assert shown["involvedObject"]["name"] == node
    assert shown["message"] == "a note"
    assert shown["reportingComponent"] == "contract"
    assert shown["eventTime"] == "2026-01-01T00:00:00.000001Z"

    seen = kube.ok("GET", f"{NEW_EVENTS}/{old}")
    assert seen["apiVersion"] == "events.k8s.io/v1"
    assert seen["regarding"]["name"] == node
    assert seen["note"] == "something is wrong"
    assert seen["deprecatedCount"] == 1
    assert seen["deprecatedSource"] == {"component": "contract"}
    assert seen["deprecatedFirstTimestamp"] == "2026-01-01T00:00:00Z"

    fields = f"regarding.kind=Node,regarding.name={node}"
    listed = kube.ok("GET", NEW_EVENTS, fieldSelector=fields)
    assert {item["metadata"]["name"] for item in listed["items"]} == {old, new}
    revision = str(int(shown["metadata"]["resourceVersion"]) - 1)
    [frame] = kube.frames(NEW_EVENTS, 1, fieldSelector=fields, resourceVersion=revision)
    assert frame["object"]["note"] == "a note"


def test_an_event_about_a_node_lives_in_the_default_namespace(kube: KubeRest) -> None:
    body = an_event(nonce("e"), nonce("n"))
    body["metadata"]["namespace"] = "kube-public"
    path = "/api/v1/namespaces/kube-public/events"
    status = kube.refused(422, "POST", path, body)
    assert status["details"]["causes"][0]["field"] == "involvedObject.namespace"
