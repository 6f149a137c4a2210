"""The controller's port for users of Autopilot, with agents that take its signatures, on
loopback."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.probes.client import AgentHttp
from konduktor_health.adapters.probes.orders import AgentOrders
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import SystemClock
from konduktor_health.errors import ConfigError
from konduktor_health.runtime.autopilot_http import CONNECTIONS, PATHS, AutopilotServer
from konduktor_health.runtime.metrics import Metrics
from probes.report import key_id, signed_bytes
from tests.support.autopilot import ONE, TWO, Asks, AutopilotNode, speed
from tests.support.builders import node

CLOCK = SystemClock()


class Cluster:
    """Two nodes, each with an agent, and the controller's port."""

    def __init__(self, path: Path) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._path = path
        self.nodes: dict[str, AutopilotNode] = {}
        self.pods: dict[str, AgentPod] = {}
        self.leads = True
        self.metrics = Metrics()
        self._stack = contextlib.ExitStack()
        self._port = 0
        for number in (1, 2):
            self._begin(f"gpu-{number}", f"127.0.0.{number}")

    def _begin(self, name: str, address: str) -> None:
        folder = self._path / name
        made = AutopilotNode(folder, name, host=address, autopilot_host=address)
        made.that(autopilot_port=self._port)
        keys = folder / "keys"
        keys.mkdir()
        public = self._key.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (keys / "controller.pem").write_bytes(pem)
        asks: Asks = self._stack.enter_context(made.running())
        self._port = asks.port
        self.nodes[name] = made
        self.pods[name] = AgentPod(name, f"pod-{name}", f"uid-{name}", address, asks.own)

    def _sign(self, endpoint: str, body: bytes) -> str:
        signature = base64.b64encode(self._key.sign(signed_bytes(endpoint, body))).decode()
        return f"{key_id(self._key.public_key().public_bytes_raw())}:{signature}"

    def server(self, *, starts: bool, at_once: int = 4, **more: Any) -> AutopilotServer:
        asks = AgentHttp(CLOCK, may_ask=lambda _address: True)
        orders = AgentOrders(self.pods.get, asks, self._sign, CLOCK)
        views = {name: node(name) for name in self.pods}
        api: Any = None  # nobody asks for a job
        choice = Choice(lambda: views, lambda: frozenset(self.pods), self.pods.get, api)
        asked = AskedAgents(
            orders if starts else None, asks, CLOCK, port=self._port, timeout_s=20.0,
            agent_of=self.pods.get,
        )  # fmt: skip
        return AutopilotServer(
            FanOut(choice, asked, CLOCK, **more), self.metrics, leads=lambda: self.leads,
            host="127.0.0.1", port=0, at_once=at_once,
        )  # fmt: skip

    @contextlib.contextmanager
    def serving(self, *, starts: bool = True, at_once: int = 4, **more: Any) -> Iterator[Asks]:
        server = self.server(starts=starts, at_once=at_once, **more)
        server.start()
        try:
            yield Asks(server.port, server.port)
        finally:
            server.stop()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_checks_run_on_all_nodes_and_each_is_told(cluster: Cluster) -> None:
    cluster.nodes["gpu-1"].runner.found["pcie-bandwidth"] = (
        speed("pass", ONE, 55.0), speed("fail", TWO, 3.3),
    )  # fmt: skip
    cluster.nodes["gpu-2"].runner.found["pcie-bandwidth"] = (speed("pass", ONE, 54.0),)
    with cluster.serving() as asks:
        answer = asks.get("/status?check=pciebw,remapped")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    blocks = answer.text.split("Autopilot Endpoint: ")[1:]
    assert [block.splitlines()[1] for block in blocks] == ["Node: gpu-1", "Node: gpu-2"]
    assert "[[ PCIEBW ]] FAIL\nHost  gpu-1\n55.0 3.3\n" in blocks[0]
    assert "Node Status: PCIE Failed\n" in blocks[0]
    assert "SUCCESS\nHost  gpu-2\n54.0\n" in blocks[1]
    assert "Node Status: OK\n" in blocks[1]
    assert "measured at" not in answer.text  # all of it just now
    assert "{'gpu-1': ['PCIE Failed'], 'gpu-2': ['OK']}" in answer.text
    for each in cluster.nodes.values():
        assert each.runner.asked_for() == [("gpu-remapped-rows", "pcie-bandwidth")]


def test_without_the_setting_nothing_runs(cluster: Cluster) -> None:
    with cluster.serving(starts=False) as asks:
        text = asks.get("/status").text
    assert "not measured in this boot yet" in text
    assert "SUCCESS" not in text
    assert [each.runner.orders for each in cluster.nodes.values()] == [[], []]


def test_asking_again_runs_nothing_again(cluster: Cluster) -> None:
    with cluster.serving() as asks:
        asks.get("/remapped?host=gpu-1")
        text = asks.get("/remapped?host=gpu-1").text
    assert text.startswith("Requesting Remapped Rows check on all GPUs\n")
    assert "measured at 20" in text
    assert "[[ REMAPPED ROWS ]] SUCCESS" in text
    assert len(cluster.nodes["gpu-1"].runner.orders) == 1
    assert cluster.nodes["gpu-2"].runner.orders == []


def test_an_agent_that_does_not_know_our_key_runs_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_key", Ed25519PrivateKey.generate())
    with cluster.serving() as asks:
        text = asks.get("/status?check=remapped").text
    assert text.count("not run now: the agent refused (403)") == 2
    assert "[[ REMAPPED ROWS ]] ABORT" in text
    assert [each.runner.orders for each in cluster.nodes.values()] == [[], []]


def test_a_node_that_is_gone_is_told_and_the_others_are_answered(cluster: Cluster) -> None:
    cluster.pods["gpu-3"] = AgentPod("gpu-3", "p", "u", "127.0.0.3", 9)
    with cluster.serving() as asks:
        text = asks.get("/status?check=remapped").text
    assert "'gpu-3': ['Connection to Server Failed']" in text
    assert text.count("Node Status: OK") == 2


def test_a_standby_says_that_it_does_not_lead(cluster: Cluster) -> None:
    cluster.leads = False
    with cluster.serving() as asks:
        for path in ("/status", "/pciebw", "/iperf"):
            answer = asks.get(path)
            assert answer.status == 503
            assert answer.text == "Another replica leads: ask it, or again. ABORT\n"
            assert answer.headers["retry-after"] == "5"
        assert asks.get("/readinessprobe").status == 201


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/invasive", 403, "'autopilot.ibm.com/dcgm.level.3' node labels"),
        ("/iperfservers", 403, "ABORT"),
        ("/iperfclients?dstip=10.0.0.7", 403, "ABORT"),
        ("/iperfstopservers", 200, "No iperf3 servers"),
        ("/iperf", 200, "[NETWORK] - [IPERF] - [ERROR] : It is not run from here. ABORT"),
        ("/pvc?host=gpu-1", 200, "Storage class not set. Cannot run. ABORT"),
        ("/readinessprobe", 201, '{"Name":"readinessProbe","Body":"ready"}'),
        ("/metrics", 200, "konduktor_health_autopilot_requests_total"),
        ("/status?batch=x", 422, "a number from 0"),
        ("/status?" + "a=b&" * 100, 422, "Too many parameters"),
        ("/nothing", 404, "404 page not found"),
    ],
)
def test_each_path_is_answered(cluster: Cluster, path: str, status: int, word: str) -> None:
    with cluster.serving(starts=False) as asks:
        answer = asks.get(path)
    assert answer.status == status
    assert word in answer.text


def test_too_many_at_once_are_refused_and_counted(cluster: Cluster) -> None:
    gate = cluster.nodes["gpu-1"].runner.gate
    gate.clear()
    with cluster.serving(at_once=1) as asks:
        thread = threading.Thread(target=asks.get, args=("/status?host=gpu-1&check=remapped",))
        thread.start()
        assert cluster.nodes["gpu-1"].runner.began.wait(10)
        answer = asks.get("/status?host=gpu-2")
        assert answer.status == 503
        assert "Too many questions" in answer.text
        gate.set()
        thread.join(20)
        assert asks.get("/remapped?host=gpu-1").status == 200  # the place is free again
        text = asks.get("/metrics").text
    assert 'autopilot_requests_total{outcome="busy",path="/status"} 1.0' in text
    assert 'autopilot_requests_total{outcome="ok",path="/status"} 1.0' in text


def test_an_answer_comes_as_it_is_made_and_ends_with_who_hangs_up(cluster: Cluster) -> None:
    gate = cluster.nodes["gpu-2"].runner.gate
    gate.clear()
    with cluster.serving(at_once=1) as asks:
        with socket.create_connection(("127.0.0.1", asks.port), 10) as connection:
            connection.sendall(b"GET /status?check=remapped HTTP/1.1\r\nhost: x\r\n\r\n")
            read = b""
            while b"Node Status: OK" not in read:
                read += connection.recv(4096)
            assert b"Node: gpu-1" in read  # while gpu-2 still measures
        gate.set()
        pause = threading.Event()
        for _ in range(100):
            if asks.get("/remapped?host=gpu-1").status == 200:
                break
            pause.wait(0.1)
        else:
            pytest.fail("the place was not given back")


def test_a_port_that_is_taken_is_a_mistake_of_the_settings(cluster: Cluster) -> None:
    server = cluster.server(starts=False)
    views: Any = None
    try:
        with pytest.raises(ConfigError) as raised:
            AutopilotServer(
                views, cluster.metrics, leads=lambda: True, host="127.0.0.1", port=server.port,
                at_once=1,
            )  # fmt: skip
    finally:
        server.stop()
    assert "autopilot.port" in raised.value.hint


def test_labels_of_the_metric_are_bounded() -> None:
    assert len(set(PATHS)) == len(PATHS) < 20


def test_so_many_connections_are_served_and_no_more(cluster: Cluster) -> None:
    with cluster.serving() as asks:
        held = [socket.create_connection(("127.0.0.1", asks.port), 10) for _ in range(CONNECTIONS)]
        try:
            pause = threading.Event()
            for _ in range(100):  # until each has its thread
                with socket.create_connection(("127.0.0.1", asks.port), 10) as refused:
                    refused.settimeout(5)
                    if refused.recv(1) == b"":
                        break
                pause.wait(0.05)
            else:
                pytest.fail("one more was served")
        finally:
            for each in held:
                each.close()
        for _ in range(100):
            try:
                assert asks.get("/readinessprobe").status == 201
                break
            except OSError:
                pause.wait(0.05)
        else:
            pytest.fail("the places were not given back")


def test_invasive_tests_are_wanted_of_nodes_that_are_named(cluster: Cluster) -> None:
    asked: list[str] = []

    def test(name: str) -> str:
        asked.append(name)
        return "" if name == "gpu-1" else "somebody has cordoned the node"

    with cluster.serving(test=test) as asks:
        nobody = asks.get("/invasive")
        answer = asks.get("/invasive?host=gpu-1,gpu-2")
    assert (nobody.status, nobody.text.partition(":")[0]) == (422, "Name the nodes")
    assert answer.status == 200
    assert answer.text.startswith("Launching invasive health checks. Results will be added to")
    assert answer.text.endswith(
        "gpu-1: once all of its GPUs are idle\n"
        "gpu-2: not launched: somebody has cordoned the node. ABORT\n"
    )
    assert asked == ["gpu-1", "gpu-2"]
