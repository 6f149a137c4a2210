"""Does ``uninstall`` leave a cluster as it was before the controller came? On both servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from konduktor_health.adapters.kube import KubeCluster, build_belongings, build_cluster
from konduktor_health.clock import SystemClock
from konduktor_health.errors import Conflict
from konduktor_health.model import Condition, Keys, NodeEdit, Taint
from konduktor_health.settings import ShardSettings
from tests.component.kube.conftest import Side
from tests.support.controller import cli
from tests.support.kube_rest import LEASES, Json, nonce

NOW = 1_800_000_000_123_456_789
FOREIGN_TAINTS = [
    {
        "key": "example.com/maintenance",
        "value": "ticket-7",
        "effect": "NoExecute",
        "timeAdded": "2026-01-02T03:04:05Z",
    },
    {"key": "example.com/faulty", "value": "true", "effect": "NoSchedule"},
]
STATE = "/api/v1/namespaces/default/configmaps/konduktor-health-state"


@dataclass
class Installed:
    """Settings with names of their own, and what a controller with them leaves behind."""

    side: Side
    settings: dict[str, Any]
    keys: Keys
    config: Path

    def run(self, *args: str, user: str = "default") -> Any:
        kubeconfig = self.side.directory / f"{user}.kubeconfig"
        return cli(
            "uninstall", "--config", str(self.config), "--kubeconfig", str(kubeconfig), *args
        )

    @property
    def lease(self) -> str:
        return f"{LEASES}/{self.settings['lease']['name']}"

    def cluster(self) -> KubeCluster:
        return self.side.cluster(**self.settings["cluster"])

    def mark(self, name: str) -> None:
        """All that a controller writes on a Node, and more: an adopted taint, a damaged ledger."""
        cluster, keys = self.cluster(), self.keys
        edit = NodeEdit(
            add_taints=(
                Taint(keys.taint, "true", "NoSchedule"),
                Taint(keys.taint, "", "NoExecute"),
            ),
            annotations={keys.ledger: "{}", keys.ledger_corrupt: "{", keys.reset_at: "2026"},
            labels={keys.health: "faulty"},
        )
        view = cluster.edit_node(cluster.get_node(name), edit)
        cluster.set_condition(view, Condition("False", "FatalFault", "Xid 79"), NOW)

    def leave(self, holder: str = "") -> None:
        """Lease and state."""
        self.cluster().write_state({"v": 1})
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 1}
        name = self.settings["lease"]["name"]
        self.side.rest.ok("POST", LEASES, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture
def installed(side: Side, tmp_path: Path) -> Installed:
    name = nonce("own")
    settings: dict[str, Any] = {
        "cluster": {
            "key_prefix": f"{name}.example.com",
            "condition": f"{name}Healthy",
            "namespace": "default",
        },
        "lease": {"name": name, "retry_s": 0.2},
    }
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    side.settings()  # writes the kubeconfig
    side.rest.call("DELETE", STATE)
    cluster = settings["cluster"]
    return Installed(side, settings, Keys(cluster["key_prefix"], cluster["condition"]), config)


def plain(node: Json) -> Json:
    """A Node without what any write changes."""
    meta = {
        k: v for k, v in node["metadata"].items() if k not in ("resourceVersion", "managedFields")
    }
    return {**node, "metadata": meta}


def test_every_node_is_what_it_was_before_and_the_namespace_holds_nothing_of_ours(
    installed: Installed,
) -> None:
    side, keys = installed.side, installed.keys
    names = [side.node(), side.node(gpus=0), side.node()]
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m"}
    theirs: Json = {"metadata": {"annotations": {"example.com/ledger": '{"a": 1}'}}}
    for name in names[:2]:
        side.patch(name, {**theirs, "spec": {"taints": FOREIGN_TAINTS}})
        side.patch(name, {"status": {"conditions": [ready]}}, "/status")
    side.patch(names[1], {"metadata": {"labels": {keys.managed: "false"}}})
    before = [plain(side.get(name)) for name in names]
    for name in names:
        installed.mark(name)
    installed.leave()
    dirty = [side.get(name) for name in names]

    listed = installed.run("--dry-run")
    assert listed.returncode == 0, listed.stderr
    for name in names:
        (line,) = (each for each in listed.stdout.splitlines() if each.startswith(f"{name}: "))
        for word in (
            f"taint {keys.taint}=true:NoSchedule",
            f"taint {keys.taint}=:NoExecute",
            f"annotation {keys.ledger},",
            f"annotation {keys.ledger_corrupt}",
            f"annotation {keys.reset_at}",
            f"label {keys.health}=faulty",
            f"condition {keys.condition}",
        ):
            assert word in line
    assert f"label {keys.managed} on 1 node: {names[1]}" in listed.stdout
    assert "Events" in listed.stdout
    assert [side.get(name) for name in names] == dirty

    done = installed.run("--yes")
    assert done.returncode == 0, done.stderr
    listing = listed.stdout.removesuffix("nothing was written (--dry-run)\n")
    assert done.stdout.startswith(listing)
    assert "cleared: 3 nodes, ConfigMap konduktor-health-state, Lease" in done.stdout
    assert [plain(side.get(name)) for name in names] == before
    for path in (STATE, installed.lease):
        assert side.rest.call("GET", path).status_code == 404

    again = installed.run("--yes")
    assert (again.returncode, again.stderr) == (0, "")
    assert f"nothing of ours is there (keys {keys.prefix}/..., namespace default)" in again.stdout
    assert [plain(side.get(name)) for name in names] == before


def test_every_shards_lease_and_state_go_and_a_name_alike_stays(installed: Installed) -> None:
    side, name = installed.side, installed.settings["lease"]["name"]
    installed.leave()
    for value in ("a", "b.c"):
        labels = {installed.keys.shard: value}
        side.rest.call("DELETE", f"{STATE}-{value}")
        shard = ShardSettings(label="example.com/shard", value=value)
        settings = side.settings(**installed.settings["cluster"])
        http, cluster = build_cluster(settings.model_copy(update={"shard": shard}), SystemClock())
        cluster.write_state({"v": 1})
        http.close()
        assert side.rest.ok("GET", f"{STATE}-{value}")["metadata"]["labels"] == labels
        meta = {"name": f"{name}-{value}", "labels": labels}
        side.rest.ok("POST", LEASES, {"metadata": meta, "spec": {"holderIdentity": ""}})
    side.rest.ok("POST", LEASES, {"metadata": {"name": f"{name}-else"}})
    strange = {"name": f"{name}-x", "labels": {installed.keys.shard: "y"}}
    side.rest.ok("POST", LEASES, {"metadata": strange})

    listed = installed.run("--dry-run")
    assert listed.returncode == 0, listed.stderr
    done = installed.run("--yes")
    assert done.returncode == 0, done.stderr
    for value in ("", "-a", "-b.c"):
        assert f"Lease default/{name}{value}\n" in listed.stdout
        assert f"ConfigMap default/konduktor-health-state{value}\n" in listed.stdout
        for path in (f"{installed.lease}{value}", f"{STATE}{value}"):
            assert side.rest.call("GET", path).status_code == 404
    for value in ("else", "x"):
        assert side.rest.call("GET", f"{installed.lease}-{value}").status_code == 200
        side.delete(f"{installed.lease}-{value}")


def test_one_shard_whose_controller_may_run_stops_everything(installed: Installed) -> None:
    side, name = installed.side, installed.settings["lease"]["name"]
    node = side.node()
    installed.mark(node)
    installed.leave()
    meta = {"name": f"{name}-a", "labels": {installed.keys.shard: "a"}}
    spec = {"holderIdentity": "pod-a", "leaseDurationSeconds": 3600}  # not sat out
    side.rest.ok("POST", LEASES, {"metadata": meta, "spec": spec})
    dirty = side.get(node)
    done = installed.run("--yes")
    assert done.returncode == 5, done.stdout + done.stderr
    assert f"pod-a holds Lease default/{name}-a" in done.stderr
    assert side.get(node) == dirty
    side.delete(f"{installed.lease}-a")


def test_other_names_than_the_settings_are_not_ours(installed: Installed) -> None:
    side = installed.side
    name = side.node()
    installed.mark(name)
    installed.leave()
    before = side.get(name)
    other = {"key_prefix": "other.example.com", "condition": "Other", "namespace": nonce()}
    installed.config.write_text(yaml.safe_dump({"cluster": other}))
    done = installed.run("--yes")
    assert done.returncode == 0, done.stderr
    assert "nothing of ours is there" in done.stdout
    assert f"another cluster.key_prefix: {installed.keys.prefix}" in done.stdout
    assert side.get(name) == before
    assert side.rest.call("GET", installed.lease).status_code == 200


def test_nodes_without_lease_and_state_raise_the_question_of_the_namespace(
    installed: Installed,
) -> None:
    installed.mark(installed.side.node())
    where = nonce("elsewhere")
    done = installed.run("--dry-run", "--namespace", where)
    assert done.returncode == 0, done.stderr
    assert f"neither Lease nor state in namespace {where}" in done.stderr
    installed.leave()
    assert "neither Lease" not in installed.run("--dry-run").stderr


def test_a_dead_controllers_lease_is_watched_and_then_deleted(installed: Installed) -> None:
    installed.leave(holder="pod-that-died")
    done = installed.run("--yes")
    assert done.returncode == 0, done.stderr
    assert "held by pod-that-died: watching it for 1 s" in done.stderr
    assert installed.side.rest.call("GET", installed.lease).status_code == 404


def test_what_was_written_since_it_was_found_is_not_deleted(installed: Installed) -> None:
    installed.leave(holder="a")
    side = installed.side
    settings = side.settings(**installed.settings["cluster"])
    settings = settings.model_copy(
        update={
            "lease": settings.lease.model_copy(update={"name": installed.settings["lease"]["name"]})
        }
    )
    belongings = build_belongings(settings, side.adapter()[0])
    lease, state = belongings.lease(), belongings.state()
    assert lease is not None
    assert state is not None
    assert (lease.holder, lease.duration_s) == ("a", 1.0)
    side.rest.patch(installed.lease, {"spec": {"holderIdentity": "b"}})
    side.rest.patch(STATE, {"data": {"v": "2"}})
    for found in (lease, state):
        with pytest.raises(Conflict):
            belongings.delete(found)
    for look in (belongings.lease, belongings.state):
        fresh = look()
        assert fresh is not None
        belongings.delete(fresh)
        belongings.delete(fresh)  # gone is done
    assert (belongings.lease(), belongings.state()) == (None, None)


def test_a_stale_view_removes_no_condition(installed: Installed) -> None:
    side = installed.side
    name = side.node()
    installed.mark(name)
    cluster = installed.cluster()
    view = cluster.get_node(name)
    side.patch(name, {"metadata": {"labels": {"by": "somebody"}}})
    with pytest.raises(Conflict):
        cluster.clear_condition(view)
    cleared = cluster.clear_condition(cluster.get_node(name))
    assert cleared.condition is None
    assert cleared == cluster.get_node(name)


def test_missing_rights_are_named_before_anything_is_written(installed: Installed) -> None:
    side = installed.side
    side.settings("nobody")
    done = installed.run("--yes", user="nobody")
    assert done.returncode == 4
    assert "error: not allowed to get leases" in done.stderr
    assert "hint: RBAC" in done.stderr
