"""From an agent's report to the taint and back, through a whole controller, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.signing import CONFIG_MAP
from konduktor_health.clock import SystemClock
from konduktor_health.runtime.controller import Controller
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.cluster import NAMESPACE, Sandbox
from konduktor_health.settings import ProbeSettings
from probes.report import Report, Run, RunRequest
from tests.support.agents import AgentServer, answer, report, result, run, slow_link
from tests.support.controller import eventually

POLICY = """\
version: 1
rules:
  - name: by-checks
    match: {faults: ['probe/*'], severity: [degraded, fatal]}
    mode: act
    effect: PreferNoSchedule
    clear: {repair: nothing, probes: [{name: found-by, times: 3}], quiet: 1s}
surge: {enabled: false}
budget: {percent: 100, max_nodes: 10}
"""
OUR_TAINT = "trainy.konduktor.ai/faulty"
LABELS = {"app.kubernetes.io/component": "probe"}


class Scene:
    """A sandbox whose agents are servers on loopback, and its controller."""

    def __init__(self) -> None:
        self.sandbox = Sandbox(nodes=3, poll_interval_s=0.1)
        self.sandbox.start()
        self.sandbox.policy_file.write_text(POLICY, encoding="utf-8")
        store = self.sandbox.api.store
        daemonset = {"metadata": {"name": "konduktor-health-probe", "namespace": NAMESPACE}}
        self.owner = store.create("daemonsets", daemonset)["metadata"]["uid"]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.agents = {
            name: AgentServer(f"127.0.9.{number}", self.port)
            for number, name in enumerate(self.sandbox.names(), 1)
        }
        self.runs: dict[str, list[Run]] = {name: [] for name in self.agents}
        self.asked: list[RunRequest] = []
        for name, agent in self.agents.items():
            self._pod(name, agent.address)
            agent.behave = lambda c, request, name=name: self._behave(c, request, name)  # type: ignore[misc]
        self.controller: Controller | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        probes = ProbeSettings(
            namespace=NAMESPACE,
            port=self.port,
            interval_s=1,
            close_interval_s=1,
            timeout_s=1,
        )
        settings = self.sandbox.settings().model_copy(update={"probes": probes})
        http = AgentHttp(SystemClock(), may_ask=lambda _address: True)
        self.controller = build(settings, agent_http=http)
        self._thread = threading.Thread(target=self.controller.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self.controller is not None and self._thread is not None:
            self.controller.stop.set()
            self.controller.wake.set()
            self._thread.join(10)
            assert not self._thread.is_alive()
        for each in self.agents.values():
            each.close()
        self.sandbox.stop()

    def measures(self, name: str, outcome: str, **fields: Any) -> None:
        """One more run of its agent."""
        number = len(self.runs[name])
        now_ns = time.time_ns()
        found = result(outcome=outcome, ended_ns=now_ns, **fields)
        self.runs[name].append(run(f"r{number}", found, began_ns=now_ns))

    def said(self, name: str, **fields: Any) -> Report:
        boot_id = self.node(name)["status"]["nodeInfo"]["bootID"].replace("-", "")
        return report(name, *self.runs[name], **({"boot_id": boot_id} | fields))

    def node(self, name: str) -> dict[str, Any]:
        return dict(self.sandbox.api.store.get("nodes", name))

    def effects(self, name: str) -> list[str]:
        taints = self.node(name)["spec"].get("taints") or []
        return [taint["effect"] for taint in taints if taint["key"] == OUR_TAINT]

    def keys(self) -> bool:
        """Public keys are published."""
        found = self.sandbox.api.store.list("configmaps")
        return any(each["metadata"]["name"] == CONFIG_MAP for each in found)

    def message(self, name: str) -> str:
        conditions = self.node(name)["status"]["conditions"]
        return "".join(each["message"] for each in conditions if each["type"] == "KonduktorHealthy")

    def metric(self, name: str) -> str:
        assert self.controller is not None
        text = self.controller.report.metrics.render().decode()
        return "\n".join(line for line in text.split("\n") if line.startswith(name))

    def _behave(self, connection: socket.socket, request: str, name: str) -> None:
        head, _, body = request.partition("\r\n\r\n")
        if head.startswith("GET /v1/report"):
            said = self.said(name)
            etag = f'"{len(said.runs)}"'
            if f"if-none-match: {etag}" in head:
                connection.sendall(f"HTTP/1.1 304 Not Modified\r\netag: {etag}\r\n\r\n".encode())
            else:
                connection.sendall(answer(said.model_dump_json().encode(), etag=etag))
        elif head.startswith("POST /v1/run"):
            self.asked.append(RunRequest.model_validate_json(body))
            accepted = json.dumps({"run_id": self.asked[-1].request_id})
            connection.sendall(answer(accepted.encode(), "202 Accepted"))
        else:
            connection.sendall(answer(b"{}", "404 Not Found"))

    def _pod(self, node: str, address: str) -> None:
        owner = {
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "konduktor-health-probe",
            "uid": self.owner, "controller": True,
        }  # fmt: skip
        pod = {
            "metadata": {
                "name": f"probe-{node}", "namespace": NAMESPACE, "labels": LABELS,
                "ownerReferences": [owner],
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": "agent", "ports": [{"containerPort": self.port}]}],
            },
            "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
        }  # fmt: skip
        self.sandbox.api.store.create("pods", pod)


@pytest.fixture
def scene() -> Iterator[Scene]:
    found = Scene()
    yield found
    found.stop()


ILL, WELL, LIAR = "gpu-node-1", "gpu-node-2", "gpu-node-3"


def test_a_measurement_becomes_a_taint_and_clean_rounds_take_it_away(scene: Scene) -> None:
    for name in (ILL, WELL):
        scene.measures(name, "pass")
    scene.start()
    eventually(lambda: all(each.requests for each in scene.agents.values()), "all are asked")
    eventually(scene.keys, "requests can be signed")
    scene.measures(ILL, "fail", message="12 GB/s", measurements=(slow_link(),))
    eventually(lambda: scene.effects(ILL) == ["PreferNoSchedule"], "tainted")
    eventually(lambda: "wanted >= 20 GB/s" in scene.message(ILL), "the measurement is told")
    asked = "the check is asked for"
    eventually(lambda: ("pcie-bandwidth",) in [each.checks for each in scene.asked], asked, 20)
    for _ in range(3):
        scene.measures(ILL, "pass")
        threading.Event().wait(1.2)
        scene.sandbox.log(ILL, "a line, so that the node is observed")
    eventually(lambda: scene.effects(ILL) == [], "let back", 20)
    assert scene.effects(WELL) == []


def test_a_report_with_another_nodes_name_changes_nothing(scene: Scene) -> None:
    scene.measures(WELL, "fail", message="forged")
    forged = scene.said(WELL)
    scene.runs[WELL].clear()
    body = forged.model_dump_json().encode()
    scene.agents[LIAR].behave = lambda connection, _: connection.sendall(answer(body))
    scene.start()
    refused = 'konduktor_health_agents{state="wrong-node"} 1.0'
    eventually(lambda: refused in scene.metric("konduktor_health_agents"), "refused", 20)
    assert [scene.effects(name) for name in scene.agents] == [[], [], []]
    assert not [name for name in scene.agents if "annotations" in scene.node(name)["metadata"]]
