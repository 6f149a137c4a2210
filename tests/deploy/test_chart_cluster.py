"""The chart on a real API server: accepted strictly, upgraded by exactly what changed, removed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart import CHART, MANIFESTS, NAME, PROBE, Helm, Object, objects, path_of
from tests.support.chart_values import EVERYTHING
from tests.support.servers import RealKube

STORED = sorted(
    (Path(__file__).parent / "charts").glob("*.tgz"),
    key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)],
)
APPLY = "application/apply-patch+yaml"
# by the API server, at each change or when an object comes anew
WRITTEN = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
MINE = "app.kubernetes.io/instance"


@pytest.fixture
def kube(kube_factory: Callable[..., RealKube]) -> RealKube:
    return kube_factory()


@pytest.fixture
def helm(kube: RealKube, tmp_path: Path) -> Helm:
    return Helm(tmp_path, kube.kubeconfig())


def apply_with_kubectl(kube: RealKube, kubectl: str, *arguments: str) -> str:
    done = subprocess.run(
        [kubectl, "apply", "--server-side", "--validate=strict", *arguments],
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(kube.directory),  # its cache
            "KUBECONFIG": str(kube.kubeconfig()),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # a warning of the API server would be here
    return done.stdout


def ours(kube: RealKube) -> dict[str, Object]:
    """Every object of any kind that carries the release's label or name, by path, but for the
    namespace; without what the API server writes at each change."""
    found: dict[str, Object] = {}
    groups = ["/api/v1"]
    for group in kube.request("GET", "/apis")["groups"]:
        groups.append("/apis/" + group["preferredVersion"]["groupVersion"])
    for group in groups:
        for resource in kube.request("GET", group)["resources"]:
            if "/" in resource["name"] or "list" not in resource["verbs"]:
                continue
            path = f"{group}/{resource['name']}"
            for item in kube.request("GET", path)["items"]:
                metadata = item["metadata"]
                is_ours = metadata.get("labels", {}).get(MINE) == NAME or NAME in metadata["name"]
                if is_ours and resource["kind"] not in ("Namespace", "Event"):
                    for written in WRITTEN:
                        metadata.pop(written, None)
                    metadata.get("annotations", {}).pop(TEMPLATE_GENERATION, None)
                    item.pop("status", None)
                    found[f"{resource['kind']}/{metadata['name']}"] = item
    return found


def changed(before: dict[str, Object], after: dict[str, Object]) -> set[str]:
    """Names of what is new, gone or different; helm's own records aside."""
    names = before.keys() | after.keys()
    return {
        name
        for name in names
        if before.get(name) != after.get(name) and "sh.helm.release" not in name
    }


# ---------------------------------------------------------------- accepted


def test_the_manifests_apply_strictly(kube: RealKube, kubectl: str) -> None:
    path = MANIFESTS / f"{NAME}.yaml"
    out = apply_with_kubectl(kube, kubectl, "-f", str(path))
    assert out.count("serverside-applied") == len(objects(path.read_text()))
    again = apply_with_kubectl(kube, kubectl, "-k", str(MANIFESTS))
    assert again.count("serverside-applied") == out.count("serverside-applied")


@pytest.mark.parametrize(
    "values",
    [
        {},
        EVERYTHING,
        {**EVERYTHING, "networkPolicy": {"enabled": True, "restrictEgress": True}},
        {"lokiNetworkPolicy": {"enabled": True, "podLabels": None}, "probe": {"maxUnavailable": 2}},
        {
            "networkPolicy": {"restrictEgress": True},
            "probe": {"kmsg": {"push": {"enabled": False}}},
            "settings": {"http": {"enabled": False}},
        },
    ],
    ids=["defaults", "everything", "egress", "loki", "no push, no port"],
)
def test_what_is_rendered_is_accepted_strictly(
    clean_kube: RealKube, tmp_path: Path, values: dict[str, Any]
) -> None:
    """As a dry run: every field is known, and every object valid."""
    kube = clean_kube
    for name in (NAME, "logs", "loki"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        kube.request("POST", "/api/v1/namespaces", body, check=False)
    rendered = Helm(tmp_path).template(values)
    assert len(rendered) > 10
    for each in rendered:
        if each["kind"] == "ServiceMonitor":  # of the Prometheus operator, not of Kubernetes
            continue
        query = "?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true"
        kube.request("PATCH", path_of(kube, each) + query, each, content_type=APPLY)


# ---------------------------------------------------------------- helm's life


def test_install_upgrade_rollback_and_uninstall(helm: Helm, kube: RealKube, tmp_path: Path) -> None:
    kube.create_node("gpu-1")
    nothing = ours(kube)
    assert nothing == {}
    helm.run("package", str(CHART), "-d", str(tmp_path))
    (packaged,) = tmp_path.glob("*.tgz")
    earlier = STORED[-1] if STORED else packaged
    helm.run("install", NAME, str(earlier), "-n", NAME, "--create-namespace")
    first = ours(kube)
    assert {f"Deployment/{NAME}", f"DaemonSet/{PROBE}", f"ConfigMap/{NAME}-settings"} <= set(first)

    def upgrade(values: dict[str, Any]) -> dict[str, Object]:
        helm.run("upgrade", NAME, str(CHART), "-n", NAME, "-f", str(helm.values(values)))
        return ours(kube)

    current = upgrade({})
    if not STORED:
        assert changed(first, current) == set()

    policy = {"settings": {"policy": {"budget_percent": 5}}}
    budget = upgrade(policy)
    assert changed(current, budget) == {f"ConfigMap/{NAME}-settings", f"Deployment/{NAME}"}
    rolled, was = (each[f"Deployment/{NAME}"]["spec"] for each in (budget, current))
    assert rolled["template"]["spec"] == was["template"]["spec"]  # an annotation only
    assert {**rolled, "template": {}} == {**was, "template": {}}

    wider = upgrade({**policy, "probe": {"nodes": "all"}})
    assert changed(budget, wider) == {f"DaemonSet/{PROBE}"}

    many = upgrade({key: value for key, value in EVERYTHING.items() if key not in UNWISE})
    for name in (f"Deployment/{NAME}", f"DaemonSet/{PROBE}"):
        assert many[name]["spec"]["selector"] == first[name]["spec"]["selector"]
    assert f"Role/{NAME}-operator" in many

    helm.run("rollback", NAME, "2", "-n", NAME)
    assert changed(current, ours(kube)) == set()

    helm.run("uninstall", NAME, "-n", NAME)
    assert ours(kube) == {}
    assert kube.node("gpu-1")["metadata"]["name"] == "gpu-1"


# New names are new objects, whose selectors may differ; a ServiceMonitor needs its operator.
UNWISE = ("nameOverride", "fullnameOverride", "metrics", "lokiNetworkPolicy", "priorityClasses")


def test_what_the_controller_wrote_is_not_helms_to_remove(helm: Helm, kube: RealKube) -> None:
    """Lease and state outlive the release: an upgrade by uninstall and install forgets nothing."""
    helm.run("install", NAME, str(CHART), "-n", NAME, "--create-namespace")
    state = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{NAME}-state", "namespace": NAME},
    }
    kube.request("POST", f"/api/v1/namespaces/{NAME}/configmaps", state)
    helm.run("uninstall", NAME, "-n", NAME)
    assert set(ours(kube)) == {f"ConfigMap/{NAME}-state"}
    helm.run("install", NAME, str(CHART), "-n", NAME)
    assert f"ConfigMap/{NAME}-state" in ours(kube)
