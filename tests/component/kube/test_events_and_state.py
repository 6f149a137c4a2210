"""Are Events published once, and does the controller's state survive?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from konduktor_health.adapters.kube import KubeCluster, build_cluster
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ClusterRejected, Conflict
from konduktor_health.model import PublishEvent
from konduktor_health.settings import ShardSettings
from tests.component.kube.conftest import Side

NOW = 1_800_000_000_000_000_000
STATE = "/api/v1/namespaces/default/configmaps/konduktor-health-state"


def events(side: Side, node: str) -> list[dict[str, object]]:
    found = side.rest.ok("GET", "/api/v1/namespaces/default/events")["items"]
    return [each for each in found if each["involvedObject"]["name"] == node]


def test_the_same_transition_is_published_once(side: Side) -> None:
    name = side.node()
    uid = side.get(name)["metadata"]["uid"]
    event = PublishEvent(name, uid, "Warning", "FaultDetected", "GPU lost", "xid/79 open")
    side.cluster().publish_event(event, NOW)
    side.cluster().publish_event(replace(event, message="other words"), NOW + 10**9)
    (found,) = events(side, name)
    assert found["message"] == "GPU lost"
    assert found["involvedObject"]["uid"] == uid  # type: ignore[index]
    assert found["type"] == "Warning"
    assert found["reportingComponent"] == "konduktor-health"
    assert found["firstTimestamp"] == "2027-01-15T08:00:00Z"
    for other in (replace(event, dedupe="xid/79 cleared"), replace(event, node_uid="reborn")):
        side.cluster().publish_event(other, NOW)
    assert len(events(side, name)) == 3


def test_a_message_is_bounded_and_printable(side: Side) -> None:
    name = side.node()
    hostile = "\x1b[2J\n" + "é" * 5000
    event = PublishEvent(name, "u", "Normal", "R", hostile, "d")
    side.cluster().publish_event(event, NOW)
    message = str(events(side, name)[0]["message"])
    assert message.isprintable()
    assert len(message.encode()) <= 1024
    assert message.endswith("…")


def test_an_event_that_concerns_no_node_is_about_the_namespace(side: Side) -> None:
    event = PublishEvent("", "", "Warning", "Surge", "xid/79 on 34 nodes", "a")
    for _ in range(2):
        side.cluster().publish_event(event, NOW)
    side.cluster().publish_event(replace(event, dedupe="b"), NOW)
    found = [
        each["involvedObject"]
        for each in side.rest.ok("GET", "/api/v1/namespaces/default/events")["items"]
        if each["reason"] == "Surge"
    ]
    assert [(each["kind"], each["name"]) for each in found] == [("Namespace", "default")] * 2


def test_request_is_kept_by_whoever_writes_the_state_afterwards(side: Side) -> None:
    side.rest.call("DELETE", STATE)
    leader, operator = side.cluster(), side.cluster()
    assert operator.read_request() is None
    leader.write_state({"a": 1})
    read = operator.read_request()
    assert read is not None
    assert read.text is None
    operator.write_request(replace(read, text='{"surges":[]}'))
    with pytest.raises(Conflict):
        operator.write_request(replace(read, text="from an old version"))
    with pytest.raises(Conflict):  # at a version that is no longer: the next call reads again
        leader.write_state({"a": 2})
    leader.write_state({"a": 3})
    asked = leader.read_request()
    assert asked is not None
    assert asked.text == '{"surges":[]}'
    assert leader.read_state() == {"a": 3}


def test_a_request_reaches_the_state_of_its_own_shard(side: Side) -> None:
    def in_shard(value: str) -> KubeCluster:
        settings = side.settings().model_copy(
            update={"shard": ShardSettings(label="zone", value=value)}
        )
        http, made = build_cluster(settings, SystemClock())
        side.cleanups.append(http.close)
        return made

    for value in ("a", "b"):
        side.rest.call("DELETE", f"{STATE}-{value}")
        in_shard(value).write_state({"a": 1})
    operator = in_shard("a")
    read = operator.read_request()
    assert read is not None
    operator.write_request(replace(read, text='{"surges":[]}'))
    asked = [in_shard(value).read_request() for value in ("a", "b")]
    assert [each and each.text for each in asked] == ['{"surges":[]}', None]


def test_state_is_created_replaced_and_read(side: Side) -> None:
    side.rest.call("DELETE", STATE)
    cluster = side.cluster()
    assert cluster.read_state() is None
    cluster.write_state({"cursors": {"kmsg": 17}, "gaps": []})
    assert side.cluster().read_state() == {"cursors": {"kmsg": 17}, "gaps": []}
    cluster.write_state({"cursors": {"kmsg": 18}})
    assert side.cluster().read_state() == {"cursors": {"kmsg": 18}}


def test_state_written_by_another_meanwhile_is_replaced_when_told_again(side: Side) -> None:
    """By whom, the caller has to ask first: it may be a leader that came after."""
    first, second = side.cluster(), side.cluster()
    first.write_state({"a": 1})
    second.write_state({"a": 2})
    side.rest.patch(STATE, {"metadata": {"labels": {"team": "gpu"}}})
    with pytest.raises(Conflict):
        first.write_state({"a": 3})
    assert second.read_state() == {"a": 2}
    first.write_state({"a": 3})
    assert second.read_state() == {"a": 3}
    assert side.rest.ok("GET", STATE)["metadata"]["labels"] == {"team": "gpu"}


def test_state_deleted_under_us_is_created_again(side: Side) -> None:
    cluster = side.cluster()
    cluster.write_state({"a": 1})
    side.delete(STATE)
    with pytest.raises(Conflict):
        cluster.write_state({"a": 2})
    cluster.write_state({"a": 2})
    assert cluster.read_state() == {"a": 2}


def test_damaged_values_count_as_none(side: Side) -> None:
    cluster = side.cluster()
    cluster.write_state({"a": 1, "b": 2})
    side.rest.patch(STATE, {"data": {"a": "{not json"}})
    assert cluster.read_state() == {"b": 2}


def test_a_state_too_large_is_refused_before_sending(side: Side) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        side.cluster().write_state({"a": "x" * 1_000_000})


def test_a_missing_namespace_is_said_with_the_way_out(real_side: Side) -> None:
    with pytest.raises(ClusterRejected, match="namespace nowhere does not exist") as caught:
        real_side.cluster(namespace="nowhere").write_state({"a": 1})
    assert caught.value.hint == "kubectl create namespace nowhere"
