"""Watches: what is seen, from where, in which order, and how they end."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from konduktor_health.sandbox.kubeapi import KubeApi
from tests.support.kube_rest import (
    CONFIGMAPS,
    NODES,
    TABLE,
    Json,
    KubeRest,
    a_configmap,
    a_node,
    nonce,
)


def told(frames: list[Json]) -> list[tuple[str, str]]:
    return [(f["type"], f["object"]["metadata"]["name"]) for f in frames]


def test_changes_after_a_revision_are_replayed_in_order(kube: KubeRest) -> None:
    mark, revision = nonce(), kube.revision()
    one, two = f"{mark}-1", f"{mark}-2"
    kube.ok("POST", NODES, a_node(one, mark=mark))
    kube.ok("POST", NODES, a_node(two, mark=mark))
    kube.patch(f"{NODES}/{one}", {"metadata": {"annotations": {"a": "b"}}})
    kube.ok("DELETE", f"{NODES}/{two}")
    wanted = {"labelSelector": f"mark={mark}", "resourceVersion": revision}
    frames = kube.frames(NODES, 4, **wanted)
    assert told(frames) == [("ADDED", one), ("ADDED", two), ("MODIFIED", one), ("DELETED", two)]
    versions = [int(f["object"]["metadata"]["resourceVersion"]) for f in frames]
    assert versions == sorted(set(versions))
    assert frames[2]["object"]["metadata"]["annotations"] == {"a": "b"}

    wanted["resourceVersion"] = str(versions[1])
    assert told(kube.frames(NODES, 2, **wanted)) == told(frames[2:])


def test_a_change_arrives_while_the_watch_is_open(kube: KubeRest) -> None:
    name, revision = nonce(), kube.revision()
    with closing(kube.watch(NODES, resourceVersion=revision, labelSelector=f"mark={name}")) as w:
        kube.ok("POST", NODES, a_node(name, mark=name))
        assert told([next(w)]) == [("ADDED", name)]
        began = time.monotonic()
        kube.patch(f"{NODES}/{name}/status", {"status": {"nodeInfo": {"bootID": "new"}}})
        frame = next(w)
        assert time.monotonic() - began < 1.0
        assert frame["type"] == "MODIFIED"
        assert frame["object"]["status"]["nodeInfo"]["bootID"] == "new"


@pytest.mark.parametrize("start", [{}, {"resourceVersion": "0"}, {"resourceVersion": ""}])
@pytest.mark.parametrize("spelling", ["true", "True", "1"])
def test_without_a_revision_the_present_comes_first(
    kube: KubeRest, start: dict[str, str], spelling: str
) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name, mark=name))
    wanted = {"labelSelector": f"mark={name}", "watch": spelling, **start}
    with closing(kube.watch(NODES, **wanted)) as watching:
        assert told([next(watching)]) == [("ADDED", name)]
        kube.ok("DELETE", f"{NODES}/{name}")
        assert told([next(watching)]) == [("DELETED", name)]


def test_leaving_and_entering_the_selector_are_deletion_and_addition(kube: KubeRest) -> None:
    name, revision = nonce(), kube.revision()
    kube.ok("POST", NODES, a_node(name, mark=name))
    for value in ("other", name):
        kube.patch(f"{NODES}/{name}", {"metadata": {"labels": {"mark": value}}})
    kube.ok("DELETE", f"{NODES}/{name}")
    frames = kube.frames(NODES, 4, resourceVersion=revision, labelSelector=f"mark={name}")
    assert [f["type"] for f in frames] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    versions = [int(f["object"]["metadata"]["resourceVersion"]) for f in frames]
    assert versions == sorted(set(versions))
    # what is deleted is shown as it last matched, at the revision at which it stopped to
    assert frames[1]["object"]["metadata"]["labels"]["mark"] == name


def test_a_watch_sees_only_its_namespace_and_resource(kube: KubeRest) -> None:
    name, revision = nonce(), kube.revision()
    kube.ok("POST", NODES, a_node(name))
    kube.ok("POST", "/api/v1/namespaces/kube-public/configmaps", a_configmap(name))
    kube.ok("POST", CONFIGMAPS, a_configmap(name))
    frames = kube.frames(CONFIGMAPS, 1, resourceVersion=revision)
    assert frames[0]["object"]["metadata"]["namespace"] == "default"
    assert frames[0]["object"]["metadata"]["name"] == name


def test_one_object_is_watched_by_its_name(kube: KubeRest) -> None:
    name, revision = nonce(), kube.revision()
    for each in (f"{name}-x", name):
        kube.ok("POST", NODES, a_node(each))
    fields = f"metadata.name={name}"
    frames = kube.frames(NODES, 1, resourceVersion=revision, fieldSelector=fields)
    assert told(frames) == [("ADDED", name)]


def test_the_watch_ends_after_its_time(kube: KubeRest) -> None:
    began = time.monotonic()
    revision = kube.revision()
    frames = kube.frames(
        NODES, 99, resourceVersion=revision, timeoutSeconds=1, labelSelector="mark=none-such"
    )
    assert frames == []
    assert 0.5 < time.monotonic() - began < 3.0


@pytest.mark.parametrize("start", ["", "0"])
def test_a_bookmark_tells_that_the_present_is_complete(kube: KubeRest, start: str) -> None:
    name = nonce()
    made = kube.ok("POST", NODES, a_node(name, mark=name))
    wanted = {"labelSelector": f"mark={name}", "resourceVersion": start}
    frames = kube.frames(NODES, 2, allowWatchBookmarks="true", **wanted)
    assert [f["type"] for f in frames] == ["ADDED", "BOOKMARK"]
    bookmark = frames[1]["object"]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("Node", "v1")
    assert "name" not in bookmark["metadata"]
    version = int(bookmark["metadata"]["resourceVersion"])
    assert version >= int(made["metadata"]["resourceVersion"])


def test_initial_events_end_with_a_bookmark(kube: KubeRest) -> None:
    name = nonce()
    kube.ok("POST", NODES, a_node(name, mark=name))
    wanted = {
        "labelSelector": f"mark={name}",
        "sendInitialEvents": "true",
        "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
    }
    frames = kube.frames(NODES, 2, **wanted)
    assert [f["type"] for f in frames] == ["ADDED", "BOOKMARK"]
    assert frames[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    del wanted["resourceVersionMatch"]
    kube.refused(422, "GET", NODES, watch="true", **wanted)


def test_a_watch_in_tables_sends_the_columns_once(kube: KubeRest) -> None:
    name, revision = nonce(), kube.revision()
    kube.ok("POST", NODES, a_node(name, mark=name))
    kube.patch(f"{NODES}/{name}", {"spec": {"unschedulable": True}})
    frames = kube.frames(
        NODES, 2, resourceVersion=revision, labelSelector=f"mark={name}", accept=TABLE
    )
    tables = [frame["object"] for frame in frames]
    assert [len(t["columnDefinitions"] or []) for t in tables] == [10, 0]
    assert [t["rows"][0]["cells"][:2] for t in tables] == [
        [name, "Ready"],
        [name, "Ready,SchedulingDisabled"],
    ]


def test_a_revision_that_is_no_longer_known_is_expired(
    kube: KubeRest, request: pytest.FixtureRequest
) -> None:
    path = NODES
    if kube.server.kind == "sandbox":
        api: KubeApi = request.getfixturevalue("sandbox_kube")
        kube.ok("POST", NODES, a_node(nonce()))
        api.faults.compact()
    else:
        path = _young_resource(kube)
    # HTTP 200, and the refusal as an event
    [frame] = kube.frames(path, 9, resourceVersion="1")
    assert frame["type"] == "ERROR"
    status = frame["object"]
    assert status["kind"] == "Status"
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def _young_resource(kube: KubeRest) -> str:
    """A kind whose history begins now: the cache of a real server never reached back to 1."""
    plural = nonce("w").replace("-", "")
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": plural, "kind": plural.capitalize()},
            "versions": [version],
        },
    }
    kube.ok("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    path, deadline = f"/apis/example.com/v1/{plural}", time.monotonic() + 10
    while kube.call("GET", path).status_code != 200:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    return path


def test_a_revision_that_is_no_number_is_refused(kube: KubeRest) -> None:
    status = kube.refused(500, "GET", NODES, watch="1", resourceVersion="abc", timeoutSeconds=1)
    assert "Invalid value" in status["message"]


def test_a_list_from_the_future_is_refused(kube: KubeRest) -> None:
    status = kube.refused(504, "GET", NODES, resourceVersion=str(int(kube.revision()) + 10_000))
    assert status["reason"] == "Timeout"
    assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
