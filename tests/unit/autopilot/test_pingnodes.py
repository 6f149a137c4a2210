"""Nodes that somebody names are pinged by an agent; what was not pinged never answers."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice
from konduktor_health.adapters.autopilot.fan_out import FanOut
from konduktor_health.adapters.autopilot.pingnodes import AGAIN_S, PingNodes
from konduktor_health.adapters.autopilot.query import QueryError, parsed
from konduktor_health.adapters.probes.asked import Looked
from konduktor_health.adapters.probes.client import Answer
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.errors import AgentRefused, AgentUnavailable, HealthError, LeadershipLost
from probes.autopilot.texts import Told, text_of
from probes.report import Limit, Measured, OutcomeName, Result, RunAccepted
from tests.support.builders import node
from tests.support.memory_loki import FakeClock

GOLDEN = Path(__file__).parent / "golden"
LOSS = Measured(
    name="loss_worst", value=0, unit="%", threshold=Limit(value=5, bound="at_most", source="x")
)


class Agents:
    """Agents that ping: of (node, interface) the loss is told by ``losses``, else nothing is
    lost."""

    def __init__(self, many: int = 3) -> None:
        self.clock = FakeClock(1_800_000_000 * 10**9)
        self.pods = {
            f"gpu-{n}": AgentPod(
                f"gpu-{n}", f"probe-{n}", f"u{n}", f"10.0.0.{n}", 9410,
                interfaces=(("eth0", (f"10.0.0.{n}",)), ("net1", (f"10.1.0.{n}",))),
            )
            for n in range(1, many + 1)
        }  # fmt: skip
        self.losses: dict[tuple[str, str], str] = {}
        self.own_fails = False
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.found: dict[str, tuple[Result, ...]] = {}  # by run
        self.error: HealthError | None = None
        self._lock = threading.Lock()

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> RunAccepted:
        if self.error is not None:
            raise self.error
        assert checks == ("ping",)
        told = dict(options or {})
        with self._lock:
            self.asked.append((node, told))
        pairs = [pair.split("=") for pair in told["ping.addresses"].split()]
        self.found[request_id] = tuple(
            self._result(told["ping.peer"], interface, address) for interface, address in pairs
        )
        return RunAccepted(run_id=request_id, queued=0)

    def _result(self, peer: str, interface: str, address: str) -> Result:
        loss = self.losses.get((peer, interface), "loss=0 rtt_ms=0.2")
        outcome: OutcomeName = "fail" if self.own_fails else "pass"
        return Result(
            check="ping", tier="light", outcome=outcome, device=interface, ended_ns=1,
            message="the interface is down: FAIL" if self.own_fails else "",
            measurements=(LOSS,), detail={"peer.1": f"{peer} {address} {loss}"},
        )  # fmt: skip

    def look(self, node: str, run_id: str, etag: str = "") -> Looked:
        return Looked(self.found.get(run_id))

    def pings(self) -> PingNodes:
        return PingNodes(self, self, self.clock, agent_of=self.pods.get)

    def status(self, **parameters: str) -> str:
        api: Any = self
        views = {name: node(name) for name in self.pods}
        choice = Choice(lambda: views, lambda: frozenset(self.pods), self.pods.get, api)
        asked = AskedAgents(None, api, self.clock, port=3333, timeout_s=1.0, agent_of=self.pods.get)
        fan_out = FanOut(choice, asked, self.clock, pings=self.pings())
        return "".join(fan_out.status(parsed(parameters)))

    def get(self, *_: Any, **__: Any) -> Answer:
        return Answer(200, b"[[ DCGM ]] SUCCESS\n")


def test_the_answer_is_autopilots() -> None:
    agents = Agents()
    agents.losses["gpu-3", "eth0"] = "loss=100"
    text = agents.status(host="gpu-1", check="ping", pingnodes="gpu-2, gpu-3")
    assert text == (GOLDEN / "2.4-pingnodes.txt").read_text()
    assert [(name, told["ping.peer"]) for name, told in sorted(agents.asked, key=str)] == [
        ("gpu-1", "gpu-2"),
        ("gpu-1", "gpu-3"),
    ]


@pytest.mark.parametrize("loss", ["loss=0 rtt_ms=0.2", "loss=100", "loss=20", "error", "odd"])
def test_the_words_are_those_of_the_agents_own_text(loss: str) -> None:
    agents = Agents(2)
    agents.losses = {("gpu-2", "eth0"): loss, ("gpu-2", "net1"): "loss=0"}
    ours = agents.pings()("gpu-1", ["gpu-2"]).splitlines()
    [results] = agents.found.values()
    theirs = text_of("ping", Told(results), "gpu-1").splitlines()
    assert ours[0] == theirs[0]
    if loss != "odd":
        assert ours == [line for line in theirs if not line.startswith(("net1:", "eth0:"))]
    assert "success" in ours[-1] if loss.startswith("loss=0") else "success" not in ours[-1]


def test_what_else_was_asked_for_is_the_agents() -> None:
    agents = Agents(2)
    text = agents.status(host="gpu-1", check="dcgm,ping", pingnodes="gpu-2")
    assert "[[ DCGM ]] SUCCESS\n\n[PING] Running ping tests for every interface\n" in text
    assert "[PING] all nodes reachable. success\nNode Status: OK\n" in text


def test_a_node_without_an_agent_is_no_node_that_answers() -> None:
    text = Agents(2).pings()("gpu-1", ["gpu-2", "gpu-9"])
    assert "gpu-9: no agent runs there" in text
    assert text.endswith("[PING] Not all nodes could be pinged. ABORT")


def test_a_node_is_not_asked_to_ping_itself() -> None:
    agents = Agents(2)
    assert agents.pings()("gpu-1", ["gpu-1"]) == "[PING] No nodes found. ABORT"
    assert agents.asked == []


def test_an_interface_of_its_own_that_is_down_fails() -> None:
    agents = Agents(2)
    agents.own_fails = True
    text = agents.pings()("gpu-1", ["gpu-2"])
    assert "the interface is down: fail" in text
    assert text.endswith("[PING] Interfaces of this node are not as they should be. FAIL")


def test_a_pair_is_pinged_once_in_a_while_and_its_age_is_told() -> None:
    agents = Agents(2)
    pings = agents.pings()
    pings("gpu-1", ["gpu-2"])
    agents.clock.advance(60)
    text = pings("gpu-1", ["gpu-2"])
    assert "measured at 2027-01-15T08:00:04Z, 60 s ago" in text
    assert len(agents.asked) == 1
    agents.clock.advance(AGAIN_S)
    pings("gpu-1", ["gpu-2"])
    assert len(agents.asked) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AgentRefused("the agent refused (429): FAIL", status=429), "refused (429): fail"),
        (AgentUnavailable("no connection"), "no connection"),
        (LeadershipLost("somebody else leads"), "somebody else leads"),
    ],
)
def test_what_was_not_asked_says_why_and_may_be_asked_again(error: HealthError, said: str) -> None:
    agents = Agents(2)
    agents.error = error
    pings = agents.pings()
    text = pings("gpu-1", ["gpu-2"])
    assert said in text
    assert text.endswith("[PING] Not all nodes could be pinged. ABORT")
    agents.error = None
    assert pings("gpu-1", ["gpu-2"]).endswith("[PING] all nodes reachable. success")


def test_a_pod_that_was_replaced_meanwhile_was_not_pinged() -> None:
    agents = Agents(2)
    pods = iter([agents.pods["gpu-2"], None])
    pings = PingNodes(agents, agents, agents.clock, agent_of=lambda _name: next(pods))
    assert "its agent's pod was replaced meanwhile" in pings("gpu-1", ["gpu-2"])


def test_too_many_are_refused() -> None:
    with pytest.raises(QueryError, match="At most 8 pingnodes"):
        parsed({"pingnodes": ",".join(f"n{number}" for number in range(9))})
    agents = Agents(40)
    text = agents.status(check="ping", pingnodes="gpu-1,gpu-2")
    assert text.endswith("[PING] 80 pairs of host and pingnodes: at most 64. ABORT\n")
    assert agents.asked == []


def test_all_of_them_are_those_that_the_agents_know() -> None:
    assert parsed({"pingnodes": "all"}).pingnodes == ()
    assert parsed({"pingnodes": "gpu-1,all"}).pingnodes == ()
    assert "[[ DCGM ]] SUCCESS" in Agents(2).status(check="ping", pingnodes="all")
