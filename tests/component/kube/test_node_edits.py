"""Do our writes change exactly what they should, and only the version they were decided on?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from konduktor_health.errors import ClusterForbidden, ClusterRejected, Conflict, NotFound
from konduktor_health.model import Condition, NodeEdit, Taint
from tests.component.kube.conftest import Side

NOW = 1_800_000_000_123_456_789
FOREIGN = {
    "key": "example.com/maintenance",
    "value": "ticket-7",
    "effect": "NoExecute",
    "timeAdded": "2026-01-02T03:04:05Z",
}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def ours(side: Side, effect: str = "NoSchedule") -> Taint:
    return Taint(side.keys.taint, "true", effect)


def foreign(side: Side, name: str) -> list[object]:
    taints = side.get(name)["spec"].get("taints", [])
    return [taint for taint in taints if taint["key"] != side.keys.taint]


def test_foreign_taints_stay_exactly_as_they_are(side: Side) -> None:
    name = side.node()
    side.patch(name, {"spec": {"taints": [FOREIGN, CORDON]}})
    before = foreign(side, name)
    assert FOREIGN in before  # timeAdded is really there
    cluster = side.cluster()
    tainted = cluster.edit_node(cluster.get_node(name), NodeEdit(add_taints=(ours(side),)))
    assert ours(side) in tainted.taints
    assert foreign(side, name) == before
    cleared = cluster.edit_node(tainted, NodeEdit(remove_taints=(ours(side),)))
    assert ours(side) not in cleared.taints
    assert foreign(side, name) == before


def test_one_patch_carries_taint_annotations_and_labels(side: Side) -> None:
    name = side.node()
    side.patch(name, {"metadata": {"annotations": {"foreign": "kept"}}})
    cluster = side.cluster()
    before = cluster.get_node(name)
    edit = NodeEdit(
        add_taints=(ours(side), ours(side, "PreferNoSchedule")),
        annotations={side.keys.ledger: "{}", "absent": None},
        labels={side.keys.health: "faulty"},
    )
    after = cluster.edit_node(before, edit)
    assert (after.ledger, after.health_label) == ("{}", "faulty")
    assert after == cluster.get_node(name)
    raw = side.get(name)
    assert raw["metadata"]["annotations"]["foreign"] == "kept"
    assert raw["metadata"]["labels"]["a"] == "b"
    undo = NodeEdit(
        remove_taints=edit.add_taints,
        annotations={side.keys.ledger: None},
        labels={side.keys.health: None},
    )
    cleared = cluster.edit_node(after, undo)
    assert (cleared.ledger, cleared.health_label, cleared.taints) == (None, None, before.taints)


def test_a_concurrent_writer_wins_and_loses_nothing(side: Side) -> None:
    name = side.node()
    cluster = side.cluster()
    view = cluster.get_node(name)
    side.patch(name, {"spec": {"taints": [FOREIGN]}})
    with pytest.raises(Conflict):
        cluster.edit_node(view, NodeEdit(add_taints=(ours(side),)))
    with pytest.raises(Conflict):
        cluster.edit_node(view, NodeEdit(labels={side.keys.health: "faulty"}))
    with pytest.raises(Conflict):
        cluster.set_condition(view, Condition("False", "X", "x"), NOW)
    assert FOREIGN in foreign(side, name)
    after = cluster.edit_node(cluster.get_node(name), NodeEdit(add_taints=(ours(side),)))
    assert ours(side) in after.taints
    assert FOREIGN in foreign(side, name)


def test_a_view_that_came_from_elsewhere_can_be_edited_while_it_is_current(side: Side) -> None:
    """Views of the watch and of a former process: the raw taints are read when needed."""
    name = side.node()
    side.patch(name, {"spec": {"taints": [FOREIGN]}})
    view = side.cluster().get_node(name)
    side.cluster().edit_node(view, NodeEdit(add_taints=(ours(side),)))
    assert FOREIGN in foreign(side, name)
    with pytest.raises(Conflict):
        side.cluster().edit_node(view, NodeEdit(remove_taints=(ours(side),)))


def test_many_writers_of_one_node_lose_no_taint(side: Side) -> None:
    name = side.node()
    cluster = side.cluster()

    def toggle(number: int) -> None:
        for _ in range(100):
            view = cluster.get_node(name)
            try:
                if number == 0:
                    side.patch(
                        name,
                        {
                            "metadata": {"resourceVersion": view.resource_version},
                            "spec": {"taints": [*side.get(name)["spec"]["taints"], FOREIGN]},
                        },
                    )
                else:
                    cluster.edit_node(view, NodeEdit(labels={f"l{number}": "x"}))
            except (Conflict, AssertionError):
                continue
            return
        raise AssertionError("never got through")

    side.patch(name, {"spec": {"taints": [CORDON]}})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(toggle, range(4)))
    raw = side.get(name)
    assert {"l1", "l2", "l3"} <= set(raw["metadata"]["labels"])
    assert FOREIGN in raw["spec"]["taints"]


def test_only_our_own_taint_may_be_touched(side: Side) -> None:
    name = side.node()
    cluster = side.cluster()
    theirs = (Taint("example.com/theirs", "", "NoSchedule"),)
    view = cluster.get_node(name)
    for edit in (NodeEdit(add_taints=theirs), NodeEdit(remove_taints=theirs)):
        with pytest.raises(ValueError, match="not ours"):
            cluster.edit_node(view, edit)


def test_a_node_that_is_gone_is_not_found(side: Side) -> None:
    name = side.node()
    cluster = side.cluster()
    view = cluster.get_node(name)
    side.delete(f"/api/v1/nodes/{name}")
    with pytest.raises(NotFound, match=name):
        cluster.get_node(name)
    with pytest.raises(NotFound):
        cluster.edit_node(view, NodeEdit(annotations={side.keys.ledger: "{}"}))


def test_an_invalid_edit_is_rejected_with_the_servers_words(side: Side) -> None:
    cluster = side.cluster()
    view = cluster.get_node(side.node())
    with pytest.raises(ClusterRejected, match=r"NoSuchEffect|Invalid|invalid|Unsupported"):
        cluster.edit_node(view, NodeEdit(add_taints=(ours(side, "NoSuchEffect"),)))


def test_our_condition_leaves_the_others_and_moves_its_time_with_the_status(side: Side) -> None:
    name = side.node()
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m"}
    side.patch(name, {"status": {"conditions": [ready]}}, "/status")
    cluster = side.cluster()

    def entry() -> dict[str, str]:
        conditions = side.get(name)["status"]["conditions"]
        assert any(each["type"] == "Ready" for each in conditions)
        (found,) = (each for each in conditions if each["type"] == side.keys.condition)
        return dict(found)

    hour = 3600 * 10**9
    view = cluster.set_condition(cluster.get_node(name), Condition("False", "A", "a"), NOW)
    assert view.condition == Condition("False", "A", "a")
    assert entry()["lastTransitionTime"] == entry()["lastHeartbeatTime"] == "2027-01-15T08:00:00Z"
    view = cluster.set_condition(view, Condition("False", "B", "b"), NOW + hour)
    assert entry()["reason"] == "B"
    assert entry()["lastHeartbeatTime"] == "2027-01-15T09:00:00Z"
    assert entry()["lastTransitionTime"] == "2027-01-15T08:00:00Z"
    cluster.set_condition(view, Condition("True", "C", "c"), NOW + 2 * hour)
    assert entry()["lastTransitionTime"] == "2027-01-15T10:00:00Z"


def test_missing_rights_name_verb_and_resource(side: Side) -> None:
    cluster = side.cluster("nobody")
    with pytest.raises(ClusterForbidden, match=r"get nodes n.* \(403\)") as caught:
        cluster.get_node("n")
    assert "'get'" in caught.value.hint
    assert "nodes" in caught.value.hint
    with pytest.raises(ClusterForbidden, match="list nodes"):
        cluster.list_nodes()
    view = side.cluster().get_node(side.node())
    with pytest.raises(ClusterForbidden, match="patch nodes/status"):
        cluster.set_condition(view, Condition("True", "R", "m"), NOW)


def test_all_nodes_are_listed_managed_or_not(side: Side) -> None:
    names = {side.node(), side.node(gpus=0)}
    views = {view.name: view for view in side.cluster().list_nodes()}
    assert names <= set(views)
    assert {views[name].gpu_capacity for name in names} == {0, 8}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-", "x" * 254, "n\x1b[31m"])
def test_what_cannot_be_a_node_name_is_not_found(side: Side, name: str) -> None:
    with pytest.raises(NotFound):
        side.cluster().get_node(name)
