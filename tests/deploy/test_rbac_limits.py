"""What our accounts cannot do: other objects than their own, and for the probe anything at all."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import NAMESPACE
from tests.support.rbac import rights
from tests.support.rbac.accounts import Actor
from tests.support.rbac.rights import Account
from tests.support.rbac.scene import (
    CONTROLLER,
    LEASE,
    LEASE_NAME,
    PROBE,
    STATE,
    STATE_NAME,
    Scene,
)
from tests.support.servers import RealKube

MANIFEST = Path(__file__).parents[2] / "deploy" / "manifests" / "konduktor-health.yaml"
OBJECTS = rights.load(MANIFEST)
MERGE = "application/merge-patch+json"
NOBODY = Account("rbac-nobody", "nobody")  # in a namespace of its own: bound to nothing at all
NAMESPACES = ("default", "kube-system", NAMESPACE)


@pytest.fixture
def scene(clean_kube: RealKube, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        made = Scene(clean_kube, tmp_path, stack)
        nobody: list[rights.Object] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NOBODY.namespace}},
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": NOBODY.name, "namespace": NOBODY.namespace},
            },
        ]
        made.accounts.apply(nobody)
        made.accounts.install(OBJECTS, CONTROLLER)
        yield made


def named(name: str, namespace: str = NAMESPACE, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, **more}


def test_controller_touches_its_own_lease_and_state_and_no_other(scene: Scene) -> None:
    controller = scene.act_as(CONTROLLER)
    for collection, own in ((LEASE, LEASE_NAME), (STATE, STATE_NAME)):
        for name in (own, "others"):
            scene.kube.request("POST", collection, named(name))
        mine = controller.call("GET", f"{collection}/{own}")
        assert mine.status_code == 200
        assert controller.status("PUT", f"{collection}/{own}", mine.json()) == 200
        theirs = scene.kube.request("GET", f"{collection}/others")
        assert controller.status("GET", f"{collection}/others") == 403
        assert controller.status("PUT", f"{collection}/others", theirs) == 403
        for name in (own, "others"):
            assert controller.status("PATCH", f"{collection}/{name}", {}, MERGE) == 403
            assert controller.status("DELETE", f"{collection}/{name}") == 403
        assert controller.status("GET", collection) == 403
        assert controller.status("GET", f"{collection}?watch=true") == 403
        assert controller.status("DELETE", collection) == 403
        elsewhere = collection.replace(NAMESPACE, "default")
        assert controller.status("POST", elsewhere, named("x", "default")) == 403


def test_controller_can_do_nothing_else(scene: Scene) -> None:
    scene.kube.create_node("gpu-a")
    controller = scene.act_as(CONTROLLER)
    assert controller.status("GET", "/api/v1/nodes/gpu-a") == 200
    assert refused(controller) == {
        *(attempt for attempt in attempts() if attempt[:2] not in CONTROLLERS_OWN)
    }
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    # exec into the kmsg pod is a person's
    assert controller.status("POST", f"{pods}/konduktor-health-probe-x/exec?command=sh") == 403
    # the agents' are watched; those of the users are not
    assert controller.status("GET", "/api/v1/pods?watch=true") == 403
    events = f"/api/v1/namespaces/{NAMESPACE}/events"
    assert controller.status("GET", events) == 403  # it makes them, and reads none


def test_what_the_server_lists_for_the_controller_is_what_the_manifest_grants(
    scene: Scene,
) -> None:
    controller, nobody = scene.accounts.actor(CONTROLLER), scene.accounts.actor(NOBODY)
    for namespace in NAMESPACES:
        known = nobody.rules(namespace)
        listed = {
            (verb, resource, name)
            for rule in controller.rules(namespace)["resourceRules"]
            if rule not in known["resourceRules"]
            for verb in rule["verbs"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames") or [""]
        }
        granted = {
            (grant.verb, grant.resource, grant.name)
            for grant in rights.grants(OBJECTS, CONTROLLER)
            if grant.namespace in ("", namespace)
        }
        assert listed == granted, namespace


# ---------------------------------------------------------------- the probe

CONTROLLERS_OWN = {
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/nodes/gpu-a"),
    ("PATCH", "/api/v1/nodes/gpu-a"),
    ("PATCH", "/api/v1/nodes/gpu-a/status"),
    ("POST", "/api/v1/namespaces/default/events"),
    ("GET", "/api/v1/pods"),
    ("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"),
}


def attempts() -> list[tuple[str, str]]:
    """What somebody who has taken over a pod would try."""
    space = f"/api/v1/namespaces/{NAMESPACE}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    return [
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/nodes/gpu-a"),
        ("PATCH", "/api/v1/nodes/gpu-a"),
        ("PATCH", "/api/v1/nodes/gpu-a/status"),
        ("PUT", "/api/v1/nodes/gpu-a"),
        ("DELETE", "/api/v1/nodes/gpu-a"),
        ("GET", "/api/v1/nodes/gpu-a/proxy/"),
        ("POST", "/api/v1/namespaces/default/events"),
        ("GET", "/api/v1/pods"),
        ("GET", f"{space}/pods"),
        ("POST", f"{space}/pods"),
        ("GET", "/api/v1/secrets"),
        ("GET", f"{space}/secrets"),
        ("GET", f"{space}/secrets/loki"),
        ("GET", "/api/v1/configmaps"),
        ("GET", "/api/v1/namespaces"),
        ("GET", space),
        ("POST", f"{space}/serviceaccounts/konduktor-health/token"),
        ("GET", f"{rbac}/clusterroles"),
        ("POST", f"{rbac}/clusterrolebindings"),
        ("GET", "/apis/apps/v1/daemonsets"),
        ("PATCH", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/konduktor-health"),
        ("GET", "/metrics"),
    ]


def refused(actor: Actor) -> set[tuple[str, str]]:
    """Which attempts are refused."""
    found = set()
    for method, path in attempts():
        kind = MERGE if method == "PATCH" else ""
        body: Any = {} if method in ("POST", "PUT", "PATCH") else None
        if actor.status(method, path, body, kind) == 403:
            found.add((method, path))
    return found


def test_probe_can_do_nothing(scene: Scene, kubectl: str) -> None:
    scene.kube.create_node("gpu-a")
    assert rights.grants(OBJECTS, PROBE) == []
    probe, nobody = scene.accounts.actor(PROBE), scene.accounts.actor(NOBODY)
    assert refused(probe) == set(attempts())
    for collection in (LEASE, STATE):
        for name in (LEASE_NAME, STATE_NAME):
            for method in ("GET", "PUT", "DELETE"):
                assert probe.status(method, f"{collection}/{name}", None) == 403
        assert probe.status("POST", collection, named("x")) == 403
    for namespace in NAMESPACES:
        assert probe.rules(namespace) == nobody.rules(namespace)
    listed = can_i(kubectl, probe, scene.folder / "probe")
    assert listed == can_i(kubectl, nobody, scene.folder / "nobody")
    first = {line.split()[0] for line in listed}
    assert {word for word in first if "." in word and not word.startswith("[")} == {
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
    }


def can_i(kubectl: str, actor: Actor, kubeconfig: Path) -> list[str]:
    actor.kubeconfig(kubeconfig)
    argv = [kubectl, "--kubeconfig", str(kubeconfig), "auth", "can-i", "--list", "-n", NAMESPACE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_pods_run_as_these_accounts_and_the_probes_get_no_token() -> None:
    (deployment,) = rights.kept(OBJECTS, "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == CONTROLLER.name
    (daemonset,) = rights.kept(OBJECTS, "DaemonSet")
    pod = daemonset["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == PROBE.name
    assert pod["automountServiceAccountToken"] is False
    projected = [
        source
        for volume in pod.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
    ]
    assert [source for source in projected if "serviceAccountToken" in source] == []
    assert [volume for volume in pod.get("volumes", []) if "secret" in volume] == []
    (account,) = [
        one
        for one in rights.kept(OBJECTS, "ServiceAccount")
        if one["metadata"]["name"] == PROBE.name
    ]
    assert account["automountServiceAccountToken"] is False
