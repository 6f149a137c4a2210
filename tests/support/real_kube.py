"""How does a test get a real cluster (etcd and kube-apiserver, kwok on demand) and fill it?

The admin client here is deliberately another one than the product's: plain requests.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
import yaml
from requests.adapters import HTTPAdapter

from tests.support.kube_servers import (
    KWOK_ANNOTATION,
    Etcd,
    KubeApiServer,
    KubeControllerManager,
    Kwok,
)
from tests.support.processes import ServerError

MERGE_PATCH = "application/merge-patch+json"
GPU = "nvidia.com/gpu"
_THREADS = 8
_ALWAYS_THERE = "kube-system"  # holds ConfigMaps and Leases of the apiserver itself


class KubeRequestError(Exception):
    """The API server answered with 400 or more."""

    def __init__(self, method: str, path: str, status: int, body: str) -> None:
        super().__init__(f"{method} {path}: {status}: {body[:500]}")
        self.status = status
        self.body = body


class RealKube:
    """etcd and kube-apiserver with admin access.

    ``users``: further users and their groups. ``controller_manager=True`` starts the controllers
    too (service accounts are then admitted as in a real cluster). ``flags``: more of the API
    server's command line; ``port``: where it listens (0: a free one).
    """

    def __init__(
        self,
        directory: Path,
        *,
        users: Mapping[str, Sequence[str]] | None = None,
        controller_manager: bool = False,
        flags: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        self.directory = directory
        self.etcd = Etcd(directory / "etcd")
        self.apiserver = KubeApiServer(
            directory / "apiserver",
            self.etcd.url,
            users=users,
            service_accounts=controller_manager,
            flags=flags,
            port=port,
        )
        self.url = self.apiserver.url
        self.token = self.apiserver.token
        self.ca = self.apiserver.ca
        admin = directory / "admin.kubeconfig"
        self.controller_manager = (
            KubeControllerManager(
                directory / "controller-manager",
                admin,
                self.apiserver.service_account_key,
                root_ca=self.apiserver.ca,
            )
            if controller_manager
            else None
        )
        self.kwok = Kwok(directory / "kwok", admin)
        self._admin_kubeconfig = admin
        self._session = self._new_session()

    @staticmethod
    def _new_session() -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # REQUESTS_CA_BUNDLE would override verify
        session.mount("https://", HTTPAdapter(pool_maxsize=2 * _THREADS))
        return session

    def start(self) -> None:
        """Start what is not running, in order. Raises ServerError with the log's tail."""
        if not self.etcd.running:
            self.etcd.start()
        self.start_apiserver()
        self.kubeconfig(self._admin_kubeconfig)
        if self.controller_manager and not self.controller_manager.running:
            self.controller_manager.start()

    def stop(self) -> None:
        """Stop everything; data stays in the directory."""
        self._session.close()
        self.kwok.stop()
        if self.controller_manager:
            self.controller_manager.stop()
        self.apiserver.stop()
        self.etcd.stop()

    def log_tail(self) -> str:
        """The ends of all servers' logs."""
        servers = (self.etcd, self.apiserver, self.controller_manager, self.kwok)
        return "\n".join(
            server.log_tail() for server in servers if server and server.process.log.exists()
        )

    def start_apiserver(self) -> None:
        """Start the API server again, on the same port."""
        if not self.apiserver.running:
            self.apiserver.start()

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop the API server alone; etcd keeps its data. ``kill``: as in a crash."""
        self._session.close()
        (self.apiserver.kill if kill else self.apiserver.stop)()

    def start_kwok(self) -> None:
        """Let kwok look after the nodes that were made with ``kwok=True``."""
        if not self.kwok.running:
            self.kwok.start()

    def stop_kwok(self) -> None:
        """Stop kwok; its nodes stay as they are."""
        self.kwok.stop()

    def token_of(self, user: str) -> str:
        """Bearer token of ``admin`` or of one of ``users``."""
        return self.apiserver.token_of(user)

    def kubeconfig(self, path: Path | None = None, user: str = "admin") -> Path:
        """Write a kubeconfig for the user (default: a file in the cluster's directory)."""
        target = path or self.directory / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        context = {"cluster": "tests", "user": user}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token_of(user)}}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }
        target.write_text(yaml.safe_dump(content), encoding="utf-8")
        return target

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        user: str = "admin",
        check: bool = True,
    ) -> Any:
        """The parsed answer. Raises KubeRequestError from 400 on, unless ``check=False``."""
        answer = self._session.request(
            method,
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token_of(user)}",
                "Content-Type": content_type,
                "Accept": "application/json",
            },
            verify=str(self.ca),
            timeout=30,
        )
        if check and answer.status_code >= 400:
            raise KubeRequestError(method, path, answer.status_code, answer.text)
        return (
            answer.json() if answer.headers["Content-Type"] == "application/json" else answer.text
        )

    def create_node(
        self,
        node: str | Mapping[str, Any],
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        boot_id: str = "",
        ready: bool = True,
        gpus: int = 8,
        kwok: bool = False,
    ) -> dict[str, Any]:
        """Create a Node (a name, or a whole object whose status is kept) and return it.

        ``kwok=True`` leaves the status to kwok (Ready, 8 GPUs, the uid as boot id): see
        wait_ready() and set_boot_id().
        """
        wanted = dict(node) if isinstance(node, Mapping) else _node(node, boot_id, ready, gpus)
        wanted = {"apiVersion": "v1", "kind": "Node", **wanted}
        metadata = wanted["metadata"] = dict(wanted["metadata"])
        metadata["labels"] = {**metadata.get("labels", {}), **(labels or {})}
        metadata["annotations"] = {**metadata.get("annotations", {}), **(annotations or {})}
        if kwok:
            metadata["annotations"][KWOK_ANNOTATION] = "fake"
            wanted.pop("status", None)
        if taints:
            wanted["spec"] = {**wanted.get("spec", {}), "taints": [dict(taint) for taint in taints]}
        created = self.request("POST", "/api/v1/nodes", wanted)
        if "status" in wanted:  # a create drops it
            status = {"status": wanted["status"]}
            created = self.patch_node(metadata["name"], status, subresource="/status")
        return dict(created)

    def create_nodes(self, count: int, prefix: str = "node", **arguments: Any) -> list[str]:
        """Create ``{prefix}-0000`` and so on by eight threads; arguments as of create_node."""
        names = [f"{prefix}-{number:04d}" for number in range(count)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda name: self.create_node(name, **arguments), names))
        return names

    def node(self, name: str) -> dict[str, Any]:
        """One Node as it is now."""
        return dict(self.request("GET", f"/api/v1/nodes/{name}"))

    def nodes(self) -> list[dict[str, Any]]:
        """All Nodes."""
        return list(self.request("GET", "/api/v1/nodes")["items"])

    def taints(self, name: str) -> list[dict[str, Any]]:
        """The taints of a Node, foreign ones too."""
        return list(self.node(name)["spec"].get("taints", []))

    def events(self, node: str = "") -> list[dict[str, Any]]:
        """All Events, or those about one Node."""
        found = self.request("GET", "/api/v1/events")["items"]
        return [each for each in found if node in ("", each["involvedObject"].get("name"))]

    def patch_node(
        self, name: str, patch: Mapping[str, Any], subresource: str = ""
    ) -> dict[str, Any]:
        """Merge-patch a Node (``subresource="/status"`` for its status)."""
        path = f"/api/v1/nodes/{name}{subresource}"
        return dict(self.request("PATCH", path, dict(patch), content_type=MERGE_PATCH))

    def set_boot_id(self, name: str, boot_id: str) -> None:
        """What a reboot changes; kwok leaves the new value alone."""
        patch = {"status": {"nodeInfo": {"bootID": boot_id}}}
        self.patch_node(name, patch, subresource="/status")

    def predate_node(self, name: str, seconds: int) -> None:
        """Make the Node so much older, as none that a test creates can be: in etcd itself, for
        the API server sets creationTimestamp. The seconds are a varint of the same length."""
        stamp = self.node(name)["metadata"]["creationTimestamp"]
        created_s = int(datetime.fromisoformat(stamp).timestamp())
        key = base64.b64encode(f"/registry/minions/{name}".encode()).decode()
        found = self._etcd("range", {"key": key})["kvs"][0]
        value = base64.b64decode(found["value"])
        old, new = _varint(created_s), _varint(created_s - seconds)
        assert value.count(old) > 0
        assert len(old) == len(new)
        changed = base64.b64encode(value.replace(old, new)).decode()
        self._etcd("put", {"key": key, "value": changed})

    def _etcd(self, call: str, body: Mapping[str, str]) -> Any:
        answer = self._session.post(f"{self.etcd.url}/v3/kv/{call}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def wait_ready(self, names: Iterable[str], within_s: float = 30) -> None:
        """Wait until kwok has made the Nodes Ready. Raises ServerError after ``within_s``."""
        waiting = set(names)
        deadline = time.monotonic() + within_s
        while waiting:
            waiting -= {node["metadata"]["name"] for node in self.nodes() if is_ready(node)}
            if waiting and time.monotonic() > deadline:
                raise ServerError(f"not Ready: {sorted(waiting)[:5]}\n{self.kwok.log_tail()}")
            threading.Event().wait(0.05)

    def delete_all(self) -> None:
        """Delete every Node, Pod, DaemonSet, Event, Lease, ConfigMap and Secret, but for the API
        server's own."""
        now = {"gracePeriodSeconds": 0}
        self.request("DELETE", "/api/v1/nodes", now)
        for prefix, kind in (
            ("/api/v1", "pods"),
            ("/apis/coordination.k8s.io/v1", "leases"),
            ("/apis/apps/v1", "daemonsets"),
            ("/api/v1", "configmaps"),
            ("/api/v1", "secrets"),
            ("/api/v1", "events"),
        ):
            items = self.request("GET", f"{prefix}/{kind}")["items"]
            for namespace in sorted({item["metadata"]["namespace"] for item in items}):
                if namespace != _ALWAYS_THERE or kind in ("pods", "events"):
                    path = f"{prefix}/namespaces/{namespace}/{kind}"
                    self.request("DELETE", path, now)


def _varint(number: int) -> bytes:
    """As field 1 of a protobuf message: how the API server stores the seconds of a time."""
    parts = [0x08]
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether the Node's Ready condition is True."""
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _node(name: str, boot_id: str, ready: bool, gpus: int) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    capacity = {"cpu": "64", "memory": "512Gi", "pods": "110"}
    if gpus:
        capacity[GPU] = str(gpus)
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "KubeletReady",
        "message": "made by a test",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [condition],
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": {"bootID": boot_id} if boot_id else {},
        },
    }
