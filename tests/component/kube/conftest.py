"""Which clusters does the adapter run against? The sandbox, and a real API server."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.kube import (
    KubeCluster,
    KubeHttp,
    WatchFeed,
    build_cluster,
)
from konduktor_health.adapters.kube.feed import Callback
from konduktor_health.adapters.kube.nodes import NodeDecoder
from konduktor_health.adapters.lease import LeaseElector
from konduktor_health.clock import SystemClock
from konduktor_health.model import Keys, NodeView
from konduktor_health.ports import Cluster, Leadership, NodeFeed
from konduktor_health.sandbox.kubeapi import KubeApi
from konduktor_health.settings import Settings, load
from tests.support.kube_rest import MERGE, KubeRest, KubeServer
from tests.support.servers import RealKube

GPU = "nvidia.com/gpu"
_numbers = itertools.count()


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        threading.Event().wait(0.01)


@dataclass
class Side:
    """One API server: plain REST as somebody else (``rest``), and the adapter under test."""

    kind: str
    rest: KubeRest
    directory: Path
    kubeconfig: Callable[[str], str]  # user -> YAML
    cleanups: list[Callable[[], object]] = field(default_factory=list)
    keys: Keys = field(default_factory=Keys)

    def settings(self, user: str = "", **cluster: Any) -> Settings:
        path = self.directory / f"{user or 'default'}.kubeconfig"
        path.write_text(self.kubeconfig(user), encoding="utf-8")
        flags = {"kubeconfig": str(path), "namespace": "default", **cluster}
        return load(flags={"cluster": flags}, environ={})

    def adapter(self, user: str = "", **cluster: Any) -> tuple[KubeHttp, KubeCluster]:
        http, made = build_cluster(self.settings(user, **cluster), SystemClock())
        self.cleanups.append(http.close)
        return http, made

    def cluster(self, user: str = "", **cluster: Any) -> KubeCluster:
        return self.adapter(user, **cluster)[1]

    def feed(
        self,
        keep: Callable[[NodeView], bool],
        user: str = "",
        callback: Callback | None = None,
        **options: Any,
    ) -> tuple[WatchFeed, threading.Event]:
        """A running feed; ``options`` are those of WatchFeed."""
        http, _ = self.adapter(user)
        stop = threading.Event()
        decoder = NodeDecoder(self.keys, "", GPU)
        feed = WatchFeed(http, decoder, keep, SystemClock(), **options)
        if callback is not None:
            feed.on_change(callback)
        feed.start(stop)

        def end() -> None:
            stop.set()
            assert feed.join(5)

        self.cleanups.insert(0, end)
        return feed, stop

    def node(self, gpus: int = 8, **changes: Any) -> str:
        """Create a node with a name of its own."""
        name = f"n{next(_numbers)}"
        body = {"metadata": {"name": name, "labels": {"a": "b"}}, **changes}
        self.rest.ok("POST", "/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", **body})
        status = {
            "capacity": {GPU: str(gpus)},
            "addresses": [{"type": "InternalIP", "address": f"ip-{name}"}],
        }
        self.patch(name, {"status": status}, "/status")
        self.cleanups.append(lambda: self.rest.call("DELETE", f"/api/v1/nodes/{name}"))
        return name

    def get(self, name: str) -> dict[str, Any]:
        return self.rest.ok("GET", f"/api/v1/nodes/{name}")

    def patch(self, name: str, body: dict[str, Any], subresource: str = "") -> dict[str, Any]:
        return self.rest.patch(f"/api/v1/nodes/{name}{subresource}", body, MERGE)

    def delete(self, path: str) -> None:
        self.rest.ok("DELETE", path)


@pytest.fixture(scope="module")
def sandbox_api() -> Iterator[KubeApi]:
    api = KubeApi(tokens={"admin-token": "admin", "nobody-token": "nobody"})
    for verb in ("get", "list", "watch", "patch", "create", "update"):
        for resource in ("nodes", "nodes/status", "events", "leases", "configmaps", "pods"):
            api.deny.setdefault("nobody", set()).add((verb, resource))
    api.start()
    yield api
    api.stop()
    assert api.failures == []


@pytest.fixture(params=["sandbox", pytest.param("real", marks=pytest.mark.e2e)])
def side(request: pytest.FixtureRequest) -> Side:
    """Either server."""
    made: Side = request.getfixturevalue(f"{request.param}_side")
    return made


@pytest.fixture
def sandbox_side(sandbox_api: KubeApi, tmp_path: Path) -> Iterator[Side]:
    made = _sandbox(sandbox_api, tmp_path)
    yield made
    _end(made)


@pytest.fixture
def real_side(real_kube: RealKube, tmp_path: Path) -> Iterator[Side]:
    made = _real(real_kube, tmp_path)
    # a fresh API server makes its namespaces after it is ready
    eventually(lambda: made.rest.call("GET", "/api/v1/namespaces/default").status_code == 200, 20)
    yield made
    _end(made)


def _end(side: Side) -> None:
    for cleanup in side.cleanups:
        cleanup()
    side.rest.close()


def _sandbox(api: KubeApi, directory: Path) -> Side:
    server = KubeServer(api.url, {"Authorization": "Bearer admin-token"}, True, "sandbox")
    made = Side(
        "sandbox", KubeRest(server), directory, lambda user: api.kubeconfig(user or "admin")
    )
    made.cleanups.append(api.faults.clear)
    return made


def _real(real: RealKube, directory: Path) -> Side:
    rest = KubeRest(
        KubeServer(real.url, {"Authorization": f"Bearer {real.token}"}, str(real.ca), "real")
    )

    def kubeconfig(user: str) -> str:
        text = real.kubeconfig(directory / "source").read_text(encoding="utf-8")
        return text.replace(real.token, _powerless(rest)) if user == "nobody" else text

    return Side("real", rest, directory, kubeconfig)


def _powerless(rest: KubeRest) -> str:
    """Token of a service account without any role."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    rest.call("POST", accounts, {"metadata": {"name": "nobody"}})
    answer = rest.ok("POST", f"{accounts}/nobody/token", {"spec": {}})
    return str(answer["status"]["token"])


def conforms(
    cluster: KubeCluster, feed: WatchFeed, lease: LeaseElector
) -> tuple[Cluster, NodeFeed, Leadership]:
    """For mypy: the adapters are what the ports ask for."""
    return cluster, feed, lease
