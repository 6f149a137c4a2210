"""A real API server and an agent behind its pod proxy; prints what commands make of it, as JSON.

Run in a network namespace of its own (the test makes it): a real API server refuses to pass
requests on to loopback addresses, so that the pods have addresses that exist in there alone.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from konduktor_health.adapters.kube import build_cluster
from konduktor_health.adapters.probes.keys import as_secret, published, rotated
from konduktor_health.adapters.signing import SECRET
from konduktor_health.clock import SystemClock
from konduktor_health.sandbox.nodes import stable_uuid
from konduktor_health.settings import load
from tests.support.controller import NAMESPACE, cli
from tests.support.probe_fleet import DAEMONSET, AgentsOfPods
from tests.support.processes import free_port
from tests.support.servers import RealKube

ADDRESSES = {"gpu-a": "10.99.0.1", "gpu-dead": "10.99.0.2"}
#: What docs/guides/probe-nodes.md says that a person needs.
RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"],
     "resourceNames": [DAEMONSET]},
    {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [SECRET]},
]  # fmt: skip
READER: list[dict[str, Any]] = [
    *RULES[:2],
    {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]},
]


class World:
    """One cluster with two nodes; one agent listens, one does not."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.kube = RealKube(folder / "kube", users={"person": [], "reader": []})
        self.kube.start()
        stack.callback(self.kube.stop)
        self.port = free_port()
        self.folder = folder
        keys = rotated((), time.time_ns(), rotate_s=0)
        (folder / "keys").mkdir()
        for name, pem in published(keys).items():
            (folder / "keys" / name).write_text(pem)
        self._post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        uid = self._daemonset()
        secret = {"metadata": {"name": SECRET}, "data": dict(as_secret(keys))}
        self._post(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret)
        self.agents = AgentsOfPods(stack, folder, self.port)
        for name, address in ADDRESSES.items():
            self.kube.create_node(name, boot_id=stable_uuid(name, "boot"))
            self._pod(name, address, uid)
        self.agents.serve("gpu-a", ADDRESSES["gpu-a"])
        self._allow("person", RULES)
        self._allow("reader", READER)
        self.config = folder / "settings.yaml"
        wanted = {"probes": {"port": self.port}, "cluster": {"namespace": NAMESPACE}}
        self.config.write_text(yaml.safe_dump(wanted))

    def says(self, user: str, *arguments: str) -> dict[str, Any]:
        """What a command comes to as this user."""
        kubeconfig = self.kube.kubeconfig(self.folder / f"{user}.kubeconfig", user)
        flags = ("--kubeconfig", str(kubeconfig), "--config", str(self.config))
        done = cli("probe", *arguments, *flags)
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

    def raw(self) -> dict[str, Any]:
        """What comes through the proxy, to the header."""
        kubeconfig = self.kube.kubeconfig(self.folder / "person.kubeconfig", "person")
        flags = {"cluster": {"kubeconfig": kubeconfig, "namespace": NAMESPACE}}
        http, _ = build_cluster(load(flags=flags, environ={}), SystemClock())
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/probe-gpu-a:{self.port}/proxy/v1/report"
        first = http.pass_on("GET", path, timeout_s=5)
        again = http.pass_on("GET", path, headers={"if-none-match": first.etag}, timeout_s=5)
        http.close()
        return {"first": first.status, "etag": first.etag, "again": again.status}

    def _daemonset(self) -> str:
        labels = {"app": "probe"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "none"}]},
        }
        body = {
            "metadata": {"name": DAEMONSET},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
        made = self._post(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets", body)
        return str(made["metadata"]["uid"])

    def _pod(self, name: str, address: str, uid: str) -> None:
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": DAEMONSET, "uid": uid,
                 "controller": True}  # fmt: skip
        metadata = {
            "name": f"probe-{name}", "ownerReferences": [owner],
            "labels": {"app.kubernetes.io/component": "probe"},
        }  # fmt: skip
        ports = [{"containerPort": self.port}]
        containers = [{"name": "c", "image": "none", "ports": ports}]
        spec = {"nodeName": name, "containers": containers}
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self._post(pods, {"metadata": metadata, "spec": spec})
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self.kube.request(
            "PATCH", f"{pods}/probe-{name}/status", {"status": status},
            content_type="application/strategic-merge-patch+json",
        )  # fmt: skip

    def _allow(self, user: str, rules: list[dict[str, Any]]) -> None:
        rbac = "rbac.authorization.k8s.io"
        subject = {"apiGroup": rbac, "kind": "User", "name": user}
        nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}
        for kind, where, own in (
            ("Role", f"/namespaces/{NAMESPACE}", rules), ("ClusterRole", "", [nodes]),
        ):  # fmt: skip
            base = f"/apis/{rbac}/v1{where}/"
            plural = kind.lower() + "s"
            self._post(base + plural, {"metadata": {"name": user}, "rules": own})
            reference = {"apiGroup": rbac, "kind": kind, "name": user}
            binding = {"metadata": {"name": user}, "subjects": [subject], "roleRef": reference}
            self._post(base + plural.replace("roles", "rolebindings"), binding)

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self.kube.request("POST", path, body)


def main(folder: Path) -> None:
    """Print one object."""
    with ExitStack() as stack:
        world = World(stack, folder)
        told = {
            "run": world.says("person", "run", "gpu-health", "--node", "gpu-a"),
            "all": world.says("person", "run", "gpu-health", "--all", "--output", "json"),
            "refused": world.says("person", "run", "unheard-of", "--node", "gpu-a"),
            "read": world.says("reader", "results", "--node", "gpu-a"),
            "start": world.says("reader", "run", "gpu-health", "--node", "gpu-a"),
            "raw": world.raw(),
        }
        print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
