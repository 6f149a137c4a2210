"""The stage of the end-to-end tests: a real API server, a real Loki, the controller process."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import NAMESPACE, OUR_KEY, ControllerProcess, eventually
from tests.support.loglines import STREAM, Line
from tests.support.proxy import Proxy
from tests.support.servers import KubeRequestError, Loki, RealKube


class Replica:
    """A controller that reaches the API server through a proxy of its own."""

    def __init__(self, process: ControllerProcess, proxy: Proxy) -> None:
        self.process, self.proxy = process, proxy

    def leads(self) -> bool:
        return "konduktor_health_leader 1.0" in self.process.metrics()

    def standing_by(self) -> Replica:
        """Wait until it is ready and does not lead."""
        self.process.ready()
        assert not self.leads()
        return self

    def until_leading(self, timeout_s: float = 30.0) -> float:
        """Wait until it leads; how many seconds that took."""
        began = time.monotonic()
        eventually(self.leads, lambda: f"leads: {self.process.tail()}", timeout_s, 0.02)
        return time.monotonic() - began


class Stage:
    """What a test plays on. Streams carry the test's own cluster label, so tests share a Loki."""

    def __init__(self, kube: RealKube, loki: Loki, folder: Path, stack: ExitStack) -> None:
        self.kube, self.loki, self.folder = kube, loki, folder
        self.cluster = f"test-{folder.name}"
        self._stack = stack
        self.processes: list[ControllerProcess] = []
        with contextlib.suppress(KubeRequestError):  # there since an earlier test
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            kube.request("POST", "/api/v1/namespaces", body)

    def nodes(self, *names: str, **more: Any) -> None:
        for name in names:
            self.kube.create_node(name, **more)

    def push(self, *lines: Line, **labels: str) -> None:
        self.loki.push({**STREAM, "cluster": self.cluster, **labels}, list(lines))

    def controller(
        self,
        *args: str,
        loki: str = "",
        kubeconfig: Path | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> ControllerProcess:
        reading = {"cluster": self.cluster, "poll_interval_s": 0.3, **settings.pop("reading", {})}
        process = ControllerProcess(
            self.folder,
            kubeconfig=kubeconfig or self.kube.kubeconfig(self.folder / "kubeconfig"),
            loki=loki or self.loki.url,
            args=args,
            settings={"reading": reading, **settings},
            environ=environ,
        )
        self.processes.append(process)
        return self._stack.enter_context(process)

    def replica(self, environ: Mapping[str, str] | None = None, **settings: Any) -> Replica:
        """A controller behind a proxy that counts what changes Nodes, Events and the state."""
        proxy = self._stack.enter_context(Proxy(self.kube.url, _is_no_lease, self.kube.ca))
        self.kube.kubeconfig(own := self.folder / f"kubeconfig-{len(self.processes)}")
        own.write_text(own.read_text().replace(self.kube.url, proxy.url))
        return Replica(self.controller(kubeconfig=own, environ=environ, **settings), proxy)

    def lease(self, name: str = "konduktor-health") -> dict[str, Any]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}"
        return dict(self.kube.request("GET", path)["spec"])

    def records(self, node: str) -> list[tuple[str, int]]:
        """Fault id and count of each record on the Node."""
        ledger = json.loads(self.annotation(node, "ledger") or "{}")
        return [(record["fault"], record["count"]) for record in ledger.get("records", [])]

    def tainted(self) -> list[str]:
        return sorted(
            node["metadata"]["name"]
            for node in self.kube.nodes()
            if any(t["key"] == OUR_KEY for t in node["spec"].get("taints", []))
        )

    def until_tainted(self, *names: str, timeout_s: float = 20.0) -> None:
        wanted = sorted(names)
        eventually(lambda: self.tainted() == wanted, f"{wanted} tainted", timeout_s)

    def annotation(self, node: str, key: str) -> str | None:
        found = self.kube.node(node)["metadata"].get("annotations", {})
        value = found.get(f"trainy.konduktor.ai/{key}")
        return None if value is None else str(value)

    def condition(self, node: str) -> dict[str, Any]:
        conditions = self.kube.node(node)["status"].get("conditions", [])
        return next((dict(c) for c in conditions if c["type"] == "KonduktorHealthy"), {})


def _is_no_lease(_method: str, path: str) -> bool:
    return "/leases" not in path


@pytest.fixture
def stage(
    clean_kube: RealKube, real_loki: Loki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("stage")
        yield Stage(clean_kube, real_loki, folder, stack)


@pytest.fixture
def stage_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[RealKube, Loki], Stage]]:
    """A stage on private servers (for restarting them)."""
    with ExitStack() as stack:
        yield lambda kube, loki: Stage(kube, loki, tmp_path_factory.mktemp("stage"), stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the controllers logged."""
    report = yield
    found = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(found, Stage):
        for process in found.processes:
            report.sections.append((f"log of {process.log.name}", process.tail()))
    return report
