"""How does a test render, install and look at the chart?

Helm(home, kubeconfig=None)   .template(values={}, files=()) -> [object], .refused(values) -> text
                              .lint(files), .run(*arguments) -> CompletedProcess
one(objects, kind, name=NAME) the only object of that kind and name
path_of(kube, object)         its path at the API server
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import binary
from tests.support.real_kube import RealKube

NAME = "konduktor-health"
PROBE = f"{NAME}-probe"
ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm" / NAME
MANIFESTS = ROOT / "deploy/manifests"
SHIPPERS = sorted((ROOT / "deploy/shippers").glob("*/values.yaml"))
HELM_S = 60.0

Object = dict[str, Any]


class HelmError(Exception):
    """helm ended with a failure; holds what it said."""


class Helm:
    """The real helm, with nothing of the user's configuration."""

    def __init__(self, home: Path, kubeconfig: Path | None = None) -> None:
        self._environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}
        self._home = home
        if kubeconfig is not None:
            self._environment["KUBECONFIG"] = str(kubeconfig)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command. Raises HelmError when it fails, unless ``check=False``."""
        done = subprocess.run(
            [binary("helm"), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HELM_S,
        )
        if check and done.returncode != 0:
            raise HelmError(f"helm {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
        return done

    def template(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        files: Sequence[Path] = (),
        release: str = NAME,
        namespace: str = NAME,
    ) -> list[Object]:
        """The objects that the chart renders with these values."""
        given = self.values(values or {})
        done = self.run("template", release, str(CHART), "-n", namespace, *_files([*files, given]))
        return objects(done.stdout)

    def refused(self, values: Mapping[str, Any]) -> str:
        """What helm says to values that it must not take."""
        done = self.run("template", NAME, str(CHART), *_files([self.values(values)]), check=False)
        assert done.returncode != 0, f"rendered: {values}"
        return done.stderr

    def lint(self, files: Sequence[Path] = ()) -> str:
        """Output of a strict lint. Raises HelmError for a warning."""
        return self.run("lint", "--strict", str(CHART), *_files(files)).stdout

    def values(self, values: Mapping[str, Any]) -> Path:
        """A values file."""
        with tempfile.NamedTemporaryFile(
            "w", dir=self._home, suffix=".yaml", delete=False, encoding="utf-8"
        ) as file:
            yaml.safe_dump(dict(values), file)
        return Path(file.name)


def objects(text: str) -> list[Object]:
    """The objects of a manifest. A key that is there twice raises."""
    return [each for each in yaml.load_all(text, _NoDuplicates) if each]


def one(found: Iterable[Object], kind: str, name: str = NAME) -> Object:
    """The only object of this kind and name."""
    (only,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return only


def kinds(found: Iterable[Object]) -> set[tuple[str, str]]:
    """Kind and name of each."""
    return {(each["kind"], each["metadata"]["name"]) for each in found}


def pod_of(workload: Object) -> Object:
    """Spec of the pods."""
    return dict(workload["spec"]["template"]["spec"])


def path_of(kube: RealKube, found: Object) -> str:
    """Path of an object at the API server."""
    version, kind, metadata = found["apiVersion"], found["kind"], found["metadata"]
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    resources = kube.request("GET", group)["resources"]
    (plural,) = [
        each["name"] for each in resources if each["kind"] == kind and "/" not in each["name"]
    ]
    space = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{group}{space}/{plural}/{metadata['name']}"


def _files(paths: Iterable[Path]) -> list[str]:
    return [part for path in paths for part in ("--values", str(path))]


class _NoDuplicates(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys; Kubernetes refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"keys that are there twice: {twice}")
        return super().construct_mapping(node, deep)
