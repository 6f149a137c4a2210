"""Autopilot's ring of iperf3: each ordered pair once, nobody in two tests at once, and its grid."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.autopilot.choice import Chosen
from konduktor_health.adapters.autopilot.query import parsed
from konduktor_health.adapters.autopilot.throughput import MOST_NODES, Throughput, facing
from konduktor_health.adapters.probes.client import Answer
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.core.throughput_ring import steps, waves
from konduktor_health.errors import AgentRefused
from probes.checks.iperf3_client import Iperf3Client
from probes.checks.iperf3_server import Iperf3Server
from probes.report import Measured, Result, Run, RunAccepted
from tests.support.agents import report
from tests.support.memory_loki import FakeClock

GOLDEN = Path(__file__).parent / "golden"


@given(st.integers(0, 24))
def test_each_ordered_pair_comes_once_and_in_a_wave_each_node_once(many: int) -> None:
    nodes = [f"n{number}" for number in range(many)]
    seen: list[tuple[str, str]] = []
    for step in steps(nodes):
        parts = list(waves(step))
        assert len(parts) <= 3
        for wave in parts:
            names = [name for pair in wave for name in pair]
            assert len(set(names)) == len(names)
            seen += wave
    assert sorted(seen) == sorted((a, b) for a in nodes for b in nodes if a != b)


@pytest.mark.parametrize(
    ("there", "here", "found"),
    [
        (("10.0.0.7",), ("10.0.0.8",), ("10.0.0.7", "10.0.0.8")),
        (("fd00::7", "10.0.0.7"), ("10.0.0.8",), ("10.0.0.7", "10.0.0.8")),
        (("fd00::7",), ("10.0.0.8",), ("fd00::7", "")),
        (("odd",), ("10.0.0.8",), ("odd", "")),
    ],
)
def test_addresses_are_of_one_family(
    there: Sequence[str], here: Sequence[str], found: tuple[str, str]
) -> None:
    assert facing(there, here) == found


class Agents:
    """Agents whose clients measure ten times the sender and the receiver."""

    def __init__(self, many: int, *names: str) -> None:
        self.clock = FakeClock(1)
        interfaces = names or ("eth0", "net1")
        self.pods = {
            f"gpu-{n}": AgentPod(
                f"gpu-{n}", f"probe-{chr(96 + n)}", f"u{n}", f"10.0.0.{n}", 9410,
                interfaces=tuple(
                    (name, (f"10.{number}.0.{n}",)) for number, name in enumerate(interfaces)
                ),
            )
            for n in range(1, many + 1)
        }  # fmt: skip
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self.runs: dict[str, Run] = {}  # by node: its newest
        self.dead: set[tuple[str, str]] = set()
        self.refuses = ""
        self.servers: dict[str, list[Run]] = {}  # by node: those that have ended
        self.servers_end = True
        self._lock = threading.Lock()

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> RunAccepted:
        options = options or {}
        if node == self.refuses:
            raise AgentRefused("the agent refused (422): no such check", status=422)
        with self._lock:
            self.asked.append((node, checks[0], dict(options)))
        if checks[0] == "iperf3-server" and self.servers_end:
            ended = Run(run_id=request_id, cadence="requested", began_ns=1, ended_ns=1)
            self.servers.setdefault(node, []).append(ended)
        if checks[0] == "iperf3-client":
            self.runs[node] = self._measured(node, options, request_id)
        return RunAccepted(run_id=request_id)

    def _measured(self, node: str, options: Mapping[str, str], request_id: str) -> Run:
        peer = options["iperf3-client.peer"]
        fields: dict[str, Any] = {"tier": "light", "ended_ns": 1, "check": "iperf3-client"}
        if (node, peer) in self.dead:
            address = options["iperf3-client.address"]
            result = Result(outcome="warn", message=f"{address}: no connection", **fields)
        else:
            value = 10.0 * int(node[-1]) + int(peer[-1])
            rate = Measured(name="send", value=value, unit="Gb/s")
            result = Result(outcome="pass", measurements=(rate,), **fields)
        return Run(
            run_id=request_id, cadence="requested", began_ns=1, ended_ns=1, results=(result,)
        )

    def get(self, address: str, *_: Any, **__: Any) -> Answer:
        name = next(each.node for each in self.pods.values() if each.address == address)
        runs = self.servers.get(name, []) + ([self.runs[name]] if name in self.runs else [])
        return Answer(200, report(name, *runs).model_dump_json().encode())

    def ring(self, **parameters: str) -> str:
        http: Any = self
        throughput = Throughput(self, http, self.clock, timeout_s=5.0, wait=self.clock.advance)
        return "".join(throughput(parsed(parameters), Chosen(tuple(self.pods.items()))))


def test_the_grid_is_autopilots() -> None:
    agents = Agents(3)
    agents.dead = {("gpu-2", "gpu-3")}
    assert agents.ring() == (GOLDEN / "2.7-ring-of-three.txt").read_text()


def test_each_receiver_serves_before_its_sender_sends() -> None:
    agents = Agents(2)
    agents.ring(pclients="4", startport="5300")
    assert [(node, check) for node, check, _ in agents.asked] == [
        ("gpu-2", "iperf3-server"),
        ("gpu-1", "iperf3-client"),
        ("gpu-1", "iperf3-server"),
        ("gpu-2", "iperf3-client"),
    ]
    sent = agents.asked[1][2]
    assert sent["iperf3-client.address"] == "10.1.0.2"
    assert sent["iperf3-client.bind"] == "10.1.0.1"
    assert sent["iperf3-client.parallel"] == "4"
    assert sent["iperf3-client.port"] == "5300" == agents.asked[0][2]["iperf3-server.port"]


def test_the_pod_network_is_measured_where_there_is_no_other() -> None:
    text = Agents(2, "eth0").ring()
    assert "Network Throughput eth0:" in text
    assert "eth0 Average Bandwidth Gb/s: 16.50" in text
    both = Agents(2, "eth0", "net1-0", "net1-1").ring()
    assert "eth0" not in both
    assert "net1-1 Average Bandwidth Gb/s: 16.50" in both


def test_an_agent_that_refuses_is_not_measured_and_says_why() -> None:
    agents = Agents(3)
    agents.refuses = "gpu-3"
    text = agents.ring()
    assert "gpu-1 to gpu-3: the agent refused (422): no such check" in text
    assert "net1 Average Bandwidth Gb/s: 16.50" in text  # of the two others


def test_without_a_measured_pair_there_is_no_mean() -> None:
    agents = Agents(2)
    agents.dead = {("gpu-1", "gpu-2"), ("gpu-2", "gpu-1")}
    text = agents.ring()
    assert "Average" not in text
    assert text.endswith("no pair could be measured. ABORT\n")


def test_a_result_that_never_comes_ends_the_wait() -> None:
    agents = Agents(2)
    agents.get = lambda *_a, **_k: Answer(304)  # type: ignore[method-assign]
    assert "gpu-1 to gpu-2: not measured within 120 s" in agents.ring()


@pytest.mark.parametrize(
    ("many", "said"), [(1, "needs two nodes"), (MOST_NODES + 1, "4160 pairs: at most 64")]
)
def test_what_makes_no_ring_is_refused(many: int, said: str) -> None:
    agents = Agents(many)
    text = agents.ring()
    assert said in text
    assert "ABORT" in text
    assert agents.asked == []


def test_one_ring_runs_at_a_time() -> None:
    agents = Agents(2)
    http: Any = agents
    throughput = Throughput(agents, http, agents.clock, timeout_s=5.0, wait=agents.clock.advance)
    chosen = Chosen(tuple(agents.pods.items()))
    first = throughput(parsed({}), chosen)
    next(first)
    assert "another ring runs. ABORT" in "".join(throughput(parsed({}), chosen))
    assert "Average" in "".join(first)
    assert "Average" in "".join(throughput(parsed({}), chosen))


def test_it_asks_for_checks_that_there_are() -> None:
    assert {Iperf3Client().spec.name, Iperf3Server().spec.name} == {
        "iperf3-client",
        "iperf3-server",
    }


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (True, "[INFO] : no iperf3 servers are left"),
        (False, "[ERROR] : a server may be left on gpu-3: not measured within 120 s"),
    ],
)
def test_cleanup_waits_for_servers_whose_clients_did_not_come(end: bool, said: str) -> None:
    agents = Agents(3)
    agents.dead, agents.servers_end = {("gpu-2", "gpu-3")}, end
    assert agents.ring(cleanup="").endswith(f"[NETWORK] - [IPERF] - {said}\n")


def test_after_a_ring_that_was_measured_whole_nothing_is_waited_for() -> None:
    agents = Agents(2)
    agents.servers_end = False
    before_s = agents.clock.monotonic()
    assert agents.ring(cleanup="").endswith("no iperf3 servers are left\n")
    assert agents.clock.monotonic() - before_s < 60
    assert "servers" not in agents.ring()
