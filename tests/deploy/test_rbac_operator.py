"""The chart's optional operator role is what a person's commands need, exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from probes.report import PORT
from tests.support.chart import Helm
from tests.support.controller import NAMESPACE, OUR_KEY
from tests.support.processes import free_port
from tests.support.rbac import rights
from tests.support.rbac.rights import Account, Object
from tests.support.rbac.scene import LEASE, LEASE_NAME, SECRETS, STATE, STATE_NAME, Scene
from tests.support.servers import RealKube

PERSON = Account("rbac-people", "operator")
UNREACHED = "127.0.0.1"  # the API server takes no pod to be there, and asks nobody

pytestmark = pytest.mark.e2e  # helm renders the roles
SIGNING, KEYS = "konduktor-health-signing", "konduktor-health-probe-keys"
STATUS = ("status",)
EXPLAIN = ("explain", "gpu-z")
RESET = ("reset", "gpu-z")
RESET_ALL = ("reset", "--all")
ORDERS = (
    ("hold", "gpu-z", "--until", "1h"),
    ("taint", "gpu-z", "--reason", "fan"),
    ("release", "-l", "!rack"),
    ("maintenance", "start", "gpu-z"),
)
INJECT = ("inject", "--node", "gpu-z", "--yes")
RESULTS = ("probe", "results", "--node", "gpu-z")
MEASURE = ("probe", "run", "ping", "--node", "gpu-z")
RESUME = ("resume", "--all")
LIST = ("uninstall", "--dry-run")
UNINSTALL = ("uninstall", "--yes")


@dataclass(frozen=True, slots=True)
class Missed:
    """A command that is in want of the right, and its exit code."""

    arguments: tuple[str, ...]
    code: int
    says: str


MISSED = {
    "get nodes": Missed(RESET, 4, "error: "),
    "list nodes": Missed(RESET_ALL, 4, "error: "),
    "patch nodes": Missed(RESET, 1, "gpu-z: not reset: "),
    "patch nodes/status": Missed(UNINSTALL, 1, "gpu-z: not cleared: "),
    "create events": Missed(RESET, 0, "Event not published: "),
    "list leases": Missed(LIST, 0, "shards are not looked for"),
    "list configmaps": Missed(LIST, 0, "shards are not looked for"),
    f"get leases {LEASE_NAME}": Missed(LIST, 4, "error: "),
    f"delete leases {LEASE_NAME}": Missed(UNINSTALL, 1, "Lease: not cleared: "),
    f"get configmaps {STATE_NAME}": Missed(LIST, 4, "error: "),
    f"patch configmaps {STATE_NAME}": Missed(RESUME, 4, "error: "),
    f"delete configmaps {STATE_NAME}": Missed(UNINSTALL, 1, "ConfigMap: not cleared: "),
    f"get secrets {SIGNING}": Missed(MEASURE, 1, "error: "),
    f"delete secrets {SIGNING}": Missed(UNINSTALL, 1, f"Secret {SIGNING}: not cleared: "),
    f"get configmaps {KEYS}": Missed(LIST, 4, "error: "),
    f"delete configmaps {KEYS}": Missed(UNINSTALL, 1, f"ConfigMap {KEYS}: not cleared: "),
    "get daemonsets konduktor-health-probe": Missed(RESULTS, 1, "error: "),
    "list pods": Missed(INJECT, 4, "error: "),
    "get pods/proxy": Missed(RESULTS, 1, "error: "),
    "create pods/proxy": Missed(MEASURE, 1, "error: "),
    "get pods/exec": Missed(INJECT, 4, "error: "),
    "create pods/exec": Missed(INJECT, 4, "error: "),
}


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """The operator's roles as the chart renders them, bound to a person."""
    helm = Helm(tmp_path_factory.mktemp("helm"))
    every = helm.template({"rbac": {"operatorRole": {"create": True}}})
    roles = [
        one
        for one in rights.kept(every, "ClusterRole", "Role")
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    ]
    assert roles, "the chart makes no operator role"
    return [*people(), *(one for role in roles for one in (role, binding_of(role)))]


def people() -> list[Object]:
    account = {"name": PERSON.name, "namespace": PERSON.namespace}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PERSON.namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
    ]


def binding_of(role: Object) -> Object:
    meta = {key: role["metadata"][key] for key in ("name", "namespace") if key in role["metadata"]}
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": PERSON.name, "namespace": PERSON.namespace}
    return {
        "apiVersion": f"{group}/v1",
        "kind": f"{role['kind']}Binding",
        "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": role["kind"], "name": meta["name"]},
        "subjects": [subject],
    }


@pytest.fixture
def scene(clean_kube: RealKube, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        made = Scene(clean_kube, tmp_path, stack)
        made.accounts.apply(people())
        made.kube.request("POST", "/api/v1/nodes", node())
        made.kube.patch_node("gpu-z", {"status": status()}, subresource="/status")
        leave(made)
        made.stale_keys()
        pods(made)
        yield made


def node() -> dict[str, Any]:
    """A node with everything of ours on it."""
    key = OUR_KEY.split("/", 1)[0]
    return {
        "metadata": {
            "name": "gpu-z",
            "labels": {f"{key}/health": "faulty"},
            "annotations": {f"{key}/reset-at": "2026-01-01T00:00:00Z"},
        },
        "spec": {"taints": [{"key": OUR_KEY, "value": "true", "effect": "NoSchedule"}]},
    }


def status() -> dict[str, Any]:
    """Our condition; a kubelet that nobody is at home at."""
    return {
        "conditions": [{"type": "KonduktorHealthy", "status": "False", "reason": "FatalFault"}],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": free_port()}},
    }


def leave(scene: Scene) -> None:
    """What a controller leaves beside the Nodes."""
    body = {"metadata": {"name": LEASE_NAME, "namespace": NAMESPACE}, "spec": {}}
    scene.kube.request("POST", LEASE, body)
    surge = {"fault": "xid/79", "scope": "fleet", "name": "", "since": 1, "last": 1}
    data = {"surges": json.dumps([surge])}
    body = {"metadata": {"name": STATE_NAME, "namespace": NAMESPACE}, "data": data}
    scene.kube.request("POST", STATE, body)


def pods(scene: Scene) -> None:
    """A pod of the DaemonSet that the API server takes for running."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    made = scene.daemonset()
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": made["metadata"]["name"],
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    labels = {"app.kubernetes.io/component": "probe"}
    meta = {"name": "kmsg", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]}
    containers = [
        {"name": "kmsg", "image": "none"},
        {"name": "agent", "image": "none", "ports": [{"containerPort": PORT}]},
    ]
    scene.kube.request(
        "POST", path, {"metadata": meta, "spec": {"nodeName": "gpu-z", "containers": containers}}
    )
    address = {"podIP": UNREACHED, "podIPs": [{"ip": UNREACHED}]}
    running = {"status": {"phase": "Running", **address}}
    merge = "application/merge-patch+json"
    scene.kube.request("PATCH", f"{path}/kmsg/status", running, content_type=merge)


def test_operator_role_is_enough_for_a_persons_commands(scene: Scene, bound: list[Object]) -> None:
    scene.accounts.install(bound, PERSON)
    scene.act_as(PERSON)
    for command in (STATUS, EXPLAIN):
        told = scene.run(*command)
        assert (told.returncode, told.stderr) == (0, "")
        assert "NoSchedule" in told.stdout
    injected = scene.run(*INJECT)
    assert injected.returncode == 3, injected.stderr  # got as far as the kubelet
    assert "127.0.0.1" in injected.stderr
    assert "403" not in injected.stderr
    for order in ORDERS:
        done = scene.run(*order)
        assert done.returncode == 0, done.stderr
        assert "not published" not in done.stdout + done.stderr
    resumed = scene.run(*RESUME)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert "xid/79" in resumed.stdout
    done = scene.run(*RESET)
    assert (done.returncode, done.stderr) == (0, "")
    assert "not published" not in done.stdout + done.stderr
    assert not scene.tainted("gpu-z")
    told = scene.reasons("gpu-z")
    assert sorted(told) == ["Held", "MaintenanceStarted", "Released", "Reset", "TaintedByOperator"]
    for asked in (RESULTS, MEASURE):
        done = scene.run(*asked)
        assert "(400): address not allowed" in done.stderr  # got as far as the pod
    done = scene.run(*UNINSTALL)
    assert done.returncode == 0, done.stderr
    assert scene.condition("gpu-z") == ""
    assert scene.state() == {}
    gone = (f"{LEASE}/{LEASE_NAME}", f"{STATE}/{STATE_NAME}", f"{SECRETS}/{SIGNING}")
    for path in (*gone, f"{STATE}/{KEYS}"):
        assert scene.kube.request("GET", path, check=False)["code"] == 404
    assert "nothing of ours is there" in scene.run(*LIST).stdout


def test_every_right_of_the_operator_has_an_effect_of_its_own(bound: list[Object]) -> None:
    given = [str(grant) for grant in rights.grants(bound, PERSON)]
    assert sorted(given) == sorted(MISSED)


@pytest.mark.parametrize("right", MISSED)
def test_command_names_the_right_that_is_missing(
    scene: Scene, bound: list[Object], right: str
) -> None:
    missed = MISSED[right]
    (grant,) = [one for one in rights.grants(bound, PERSON) if str(one) == right]
    objects = [*people(), *rights.without(bound, PERSON, grant)]
    scene.accounts.install(objects, PERSON, missing=[grant])
    scene.act_as(PERSON)
    done = scene.run(*missed.arguments)
    said = done.stdout + done.stderr
    assert (done.returncode, missed.says in said) == (missed.code, True), said
    assert "(403)" in said
    if grant.resource == "pods/exec":  # the server does not say which of the two it misses
        assert "grant verbs 'get' and 'create' on resource 'pods/exec'" in said
    else:
        assert f"not allowed to {grant}" in said
