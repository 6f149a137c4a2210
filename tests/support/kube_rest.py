"""How do contract tests speak to a Kubernetes API, real or embedded? Plain REST with requests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import requests

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
NODES = "/api/v1/nodes"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
TIMEOUT = (5.0, 20.0)


class KubeServer(NamedTuple):
    """Where an API server is and how to get in. ``kind`` is ``sandbox`` or ``real``."""

    base_url: str
    headers: dict[str, str]
    verify: bool | str
    kind: str


class KubeRest:
    """A client with no opinion: it sends what it is told and returns the answer."""

    def __init__(self, server: KubeServer) -> None:
        self.server = server
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers.update(server.headers)
        self._session.verify = server.verify

    def close(self) -> None:
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        **params: Any,
    ) -> requests.Response:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self._session.request(
            method,
            self.server.base_url + path,
            data=data,
            headers={"Content-Type": kind, "Accept": accept},
            params=params,
            timeout=TIMEOUT,
        )

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        answer = self.call(method, path, body, **more)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        result: Json = answer.json()
        return result

    def patch(self, path: str, body: Any, kind: str = MERGE, **params: Any) -> Json:
        return self.ok("PATCH", path, body, kind=kind, **params)

    def refused(self, code: int, method: str, path: str, body: Any = None, **more: Any) -> Json:
        """The Status of a request that must fail with this code."""
        answer = self.call(method, path, body, **more)
        assert answer.status_code == code, f"{method} {path}: {answer.status_code} {answer.text}"
        result: Json = answer.json()
        return result

    def watch(self, path: str, *, accept: str = "application/json", **params: Any) -> Watching:
        """Open a watch; it ends by itself after ``timeoutSeconds`` (default 8)."""
        params = {"watch": "true", "timeoutSeconds": 8, **params}
        answer = self._session.get(
            self.server.base_url + path,
            params=params,
            headers={"Accept": accept},
            stream=True,
            timeout=TIMEOUT,
        )
        return Watching(answer)

    def frames(self, path: str, count: int, **params: Any) -> list[Json]:
        """The first frames of a watch (fewer when it ends before)."""
        with closing(self.watch(path, **params)) as watching:
            return [frame for _, frame in zip(range(count), watching, strict=False)]

    def revision(self, path: str = NODES) -> str:
        """The revision of a list now."""
        found: str = self.ok("GET", path, limit=1)["metadata"]["resourceVersion"]
        return found


class Watching:
    """An open watch: iterate over its frames, close it."""

    def __init__(self, answer: requests.Response) -> None:
        self.answer = answer
        self._lines = answer.iter_lines(chunk_size=None)

    def __iter__(self) -> Iterator[Json]:
        return self

    def __next__(self) -> Json:
        for line in self._lines:
            if line:
                frame: Json = json.loads(line)
                return frame
        raise StopIteration

    def close(self) -> None:
        self.answer.close()


def nonce(prefix: str = "c") -> str:
    """A name that no other test uses: the real server is shared."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def a_node(name: str, **labels: str) -> Json:
    """A Node with a taint and two conditions."""
    conditions = [
        {"type": "Ready", "status": "True", "reason": "KubeletReady"},
        {"type": "DiskPressure", "status": "False", "reason": "Enough"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": "theirs", "value": "v", "effect": "NoSchedule"}]},
        "status": {
            "capacity": {"cpu": "8", "nvidia.com/gpu": "8"},
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "10.1.2.3"}],
        },
    }


def a_configmap(name: str, **data: str) -> Json:
    """A ConfigMap in ``default``."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def an_event(name: str, about: str, **more: Any) -> Json:
    """A core/v1 Event about a Node."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": about, "uid": about},
        "type": "Warning",
        "reason": "GpuFault",
        "message": "something is wrong",
        "source": {"component": "contract"},
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
        **more,
    }
