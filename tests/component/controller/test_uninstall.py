"""``uninstall`` beside controllers as processes: refused, repeated, and nothing left."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.kube.status import call_of
from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, cli, eventually
from tests.support.embedded import Embedded
from tests.support.loglines import STREAM, otel

SOON = {
    "lease": {"duration_s": 3.0, "renew_deadline_s": 2.0, "retry_s": 0.2},
    "cluster": {"timeout_s": 1.0},
}
FOREIGN = {"key": "example.com/theirs", "effect": "NoExecute", "timeAdded": "2026-01-02T03:04:05Z"}
Json = dict[str, Any]


class Cluster(Embedded):
    """Three GPU nodes, one of them opted out, each with something foreign on it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        super().__init__(stack, folder)
        self._stack = stack
        for name in ("gpu-a", "gpu-b", "gpu-c"):
            self.api.store.edit("nodes", name, _occupied)
        self.before = self.nodes()

    def controller(self, *args: str, loki: str = "", **settings: Any) -> ControllerProcess:
        return super().controller(*args, loki=loki, **{**SOON, **settings})

    def nodes(self) -> list[Json]:
        """All Nodes without what any write changes."""
        nodes = self.api.store.list("nodes")
        for node in nodes:
            for key in ("resourceVersion", "managedFields"):
                node["metadata"].pop(key, None)
        return nodes

    def dirty(self, *, end: bool = True) -> ControllerProcess:
        """A controller has tainted gpu-a, and was ended (or not)."""
        controller = self._stack.enter_context(self.controller())
        self.loki.push(STREAM, [otel("gpu-a"), otel("gpu-c")])
        eventually(lambda: self.tainted() == ["gpu-a"], "a taint")
        eventually(lambda: _has_condition(self.nodes()[0]), "a condition")
        eventually(lambda: self.api.store.list("configmaps", namespace=NAMESPACE), "a checkpoint")
        if end:
            assert controller.terminate()[0] == 0
            self.api.store.edit("nodes", "gpu-b", _by_hand)
        return controller

    def left(self) -> ControllerProcess:
        """As if a controller had been there; it is not started."""
        store = self.api.store
        store.edit("nodes", "gpu-a", _marked)
        store.edit("nodes", "gpu-b", _by_hand)
        state = {"metadata": {"name": "konduktor-health-state"}, "data": {"v": "1"}}
        store.create("configmaps", state, namespace=NAMESPACE)
        lease = {"metadata": {"name": "konduktor-health"}, "spec": {"holderIdentity": ""}}
        store.create("leases", lease, namespace=NAMESPACE)
        return self.controller()

    def uninstall(self, controller: ControllerProcess, *args: str) -> Any:
        return cli("uninstall", "--config", str(controller.config), *args)

    def objects(self) -> list[Json]:
        return [
            each
            for kind in ("leases", "configmaps")
            for each in self.api.store.list(kind, namespace=NAMESPACE)
        ]


def _occupied(node: Json) -> None:
    node["spec"]["taints"] = [dict(FOREIGN)]
    node["metadata"]["annotations"] = {"example.com/ledger": "theirs"}
    if node["metadata"]["name"] == "gpu-c":
        node["metadata"]["labels"]["trainy.konduktor.ai/managed"] = "false"


def _marked(node: Json) -> None:
    node["spec"]["taints"].append({"key": OUR_KEY, "value": "true", "effect": "NoSchedule"})
    node["metadata"]["annotations"]["trainy.konduktor.ai/ledger"] = "{}"
    node["metadata"]["labels"]["trainy.konduktor.ai/health"] = "faulty"
    node["status"]["conditions"].insert(1, {"type": "KonduktorHealthy", "status": "False"})


def _by_hand(node: Json) -> None:
    """A person's taint with our key, and a bare reset time."""
    node["spec"]["taints"].insert(0, {"key": OUR_KEY, "effect": "PreferNoSchedule"})
    node["metadata"]["annotations"]["trainy.konduktor.ai/reset-at"] = "2026-01-02T03:04:05Z"


def _has_condition(node: Json) -> bool:
    return any(each["type"] == "KonduktorHealthy" for each in node["status"]["conditions"])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(stack, tmp_path)
        yield made
        assert made.api.failures == []


def test_nodes_are_as_before_the_controller_ever_ran(cluster: Cluster) -> None:
    controller = cluster.dirty()
    cluster.api.requests.clear()
    listed = cluster.uninstall(controller, "--dry-run")
    assert listed.returncode == 0, listed.stderr
    assert cluster.api.requests.writes() == []
    assert f"gpu-a: taint {OUR_KEY}=true:NoSchedule, " in listed.stdout
    done = cluster.uninstall(controller, "--yes")
    assert done.returncode == 0, done.stderr
    assert cluster.nodes() == cluster.before
    assert cluster.objects() == []
    calls = {call_of(r.method, r.path) for r in cluster.api.requests.all()}
    assert {(call.verb, call.resource) for call in calls} == {
        # docs/guides/uninstall.md, "Rights"
        ("list", "nodes"),
        ("get", "nodes"),
        ("patch", "nodes"),
        ("patch", "nodes/status"),
        ("list", "leases"),
        ("get", "leases"),
        ("delete", "leases"),
        ("list", "configmaps"),
        ("get", "configmaps"),
        ("delete", "configmaps"),
        ("get", "secrets"),
    }
    again = cluster.uninstall(controller, "--yes")
    assert again.returncode == 0
    assert "nothing of ours is there" in again.stdout


def test_a_running_controller_refuses_it_unless_forced(cluster: Cluster) -> None:
    controller = cluster.dirty(end=False)
    with controller:
        dirty = cluster.nodes()
        refused = cluster.uninstall(controller, "--yes")
        assert refused.returncode == 5, refused.stdout
        holder = cluster.api.store.get("leases", "konduktor-health", namespace=NAMESPACE)
        assert f"{holder['spec']['holderIdentity']} holds Lease" in refused.stderr
        assert "hint: stop it first: helm uninstall" in refused.stderr
        assert refused.stdout == ""
        assert cluster.nodes() == dirty
        listed = cluster.uninstall(controller, "--dry-run")
        assert listed.returncode == 0
        assert "stop it before you clear" in listed.stdout
        assert cluster.nodes() == dirty
        forced = cluster.uninstall(controller, "--yes", "--force")
        assert "cleared: " in forced.stdout
        assert "it may write to the Nodes again" in forced.stderr


def test_a_killed_controller_is_waited_for_and_then_cleared(cluster: Cluster) -> None:
    controller = cluster.dirty(end=False)
    controller.kill()
    done = cluster.uninstall(controller, "--yes")
    assert done.returncode == 0, done.stderr
    assert "watching it for 3 s" in done.stderr
    assert cluster.nodes() == cluster.before


WRITES = [
    ("PATCH", r"/nodes/gpu-a$", "gpu-a"),
    ("PATCH", r"/nodes/gpu-a/status$", "gpu-a"),
    ("DELETE", r"/configmaps/konduktor-health-state$", "ConfigMap"),
    ("DELETE", r"/leases/konduktor-health$", "Lease"),
]


@pytest.mark.parametrize(("method", "path", "name"), WRITES)
def test_what_was_interrupted_is_done_by_the_next_run(
    cluster: Cluster, method: str, path: str, name: str
) -> None:
    controller = cluster.left()
    cluster.api.faults.drop(method=method, path=path, times=2)  # it is tried twice
    first = cluster.uninstall(controller, "--yes")
    assert first.returncode == 1, first.stdout
    assert f"{name}: not cleared: " in first.stderr
    assert "run it again" in first.stderr
    assert cluster.nodes()[1:] == cluster.before[1:]
    second = cluster.uninstall(controller, "--yes")
    assert second.returncode == 0, second.stderr
    assert cluster.nodes() == cluster.before
    assert cluster.objects() == []


@pytest.mark.parametrize(("method", "path", "name"), WRITES)
def test_a_write_whose_answer_is_lost_is_not_taken_for_failed(
    cluster: Cluster, method: str, path: str, name: str
) -> None:
    controller = cluster.left()
    cluster.api.faults.drop(method=method, path=path, times=1, after=True)
    done = cluster.uninstall(controller, "--yes")
    assert done.returncode == 0, f"{name}: {done.stderr}"
    assert cluster.nodes() == cluster.before
    assert cluster.objects() == []


def test_without_a_terminal_it_asks_for_yes(cluster: Cluster) -> None:
    controller = cluster.left()
    dirty = cluster.nodes()
    done = cli("uninstall", "--config", str(controller.config), stdin="y\n")
    assert done.returncode == 2
    assert "error: there is no terminal to ask on" in done.stderr
    assert "--yes" in done.stderr
    assert cluster.nodes() == dirty


@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\x04", 2), ("y\n", 0)])
def test_on_a_terminal_the_answer_counts(cluster: Cluster, answer: str, code: int) -> None:
    controller = cluster.left()
    dirty = cluster.nodes()
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    command = [sys.executable, "-m", "konduktor_health", "uninstall", "--config"]
    try:
        done = subprocess.run(
            [*command, str(controller.config)],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Clear all of this? Pods can then start on 2 nodes that are tainted now." in done.stderr
    assert cluster.nodes() == (cluster.before if code == 0 else dirty)


def test_texts_of_the_cluster_are_printed_safely(cluster: Cluster) -> None:
    spec = {"holderIdentity": "\x1b[31mred\nline", "leaseDurationSeconds": 1}
    lease = {"metadata": {"name": "konduktor-health"}, "spec": spec}
    cluster.api.store.create("leases", lease, namespace=NAMESPACE)

    def hostile(node: Json) -> None:
        taint = {"key": OUR_KEY, "value": "\x1b]0;x\x07\n", "effect": "NoSchedule"}
        node["spec"]["taints"].append(taint)

    cluster.api.store.edit("nodes", "gpu-b", hostile)
    done = cluster.uninstall(cluster.controller(), "--yes")
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "\nline" not in done.stdout
    assert cluster.nodes() == cluster.before
