"""What do real agents with fake GPUs change on the Nodes, and what do they not?"""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import requests
from rich.console import Console

from konduktor_health.adapters.kube import build_cluster
from konduktor_health.agents import AgentState
from konduktor_health.cli.agent_told import AgentTold
from konduktor_health.cli.node_explained import explain_node
from konduktor_health.cli.stored_state import StoredState
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.record import Record
from konduktor_health.model import NodeView
from konduktor_health.runtime.controller import Controller
from konduktor_health.sandbox.agents import Cadences, LocalAgent, LocalAgents
from konduktor_health.sandbox.cluster import Sandbox
from konduktor_health.sandbox.nodes import stable_uuid
from konduktor_health.sandbox.probe_scenes import GPUS
from parsers import catalog
from probes.report import Report, Result
from tests.support.agents import AgentServer, report, result, run
from tests.support.controller import eventually, steadily

HOT = {"temperature_c": 99}
LONG_S = 40.0
ROUNDS_S = 6.0  # in which each agent is asked several times


class World:
    """A sandbox whose controller asks real agents."""

    def __init__(self, sandbox: Sandbox, running: Controller, agents: LocalAgents) -> None:
        self.sandbox, self.running, self.agents = sandbox, running, agents
        self.stored = StoredState(build_cluster(sandbox.settings(), sandbox.clock)[1])

    def agent(self, node: str) -> LocalAgent:
        return self.agents.of[node]

    def view(self, node: str) -> NodeView:
        view = self.running.feed.nodes().get(node)
        assert view is not None
        return view

    def records(self, node: str) -> dict[tuple[str, str], Record]:
        return {record.key: record for record in read_ledger(self.view(node))[0].records}

    def effects(self, node: str) -> list[str]:
        return [taint.effect for taint in self.view(node).taints]

    def trouble(self, node: str) -> AgentTold | None:
        """What the controller's stored state says of an agent that is not well."""
        return self.stored.look().agents.get(node)

    def becomes(self, node: str, state: AgentState) -> AgentTold:
        def so() -> AgentTold | None:
            told = self.trouble(node)
            return told if told is not None and told.state is state else None

        found = eventually(so, lambda: f"{state}: {self.trouble(node)}", LONG_S)
        assert found is not None
        return found

    def is_well(self, node: str) -> bool:
        return self.trouble(node) is None

    def untouched(self, node: str) -> bool:
        view = self.view(node)
        return not (view.taints or view.ledger or view.health_label)

    def has_failed(self, node: str) -> bool:
        """The agent tells a failure."""
        runs = told(self.agent(node)).runs
        return any(each.outcome == "fail" for one in runs for each in one.results)

    def explained(self, node: str) -> str:
        out = io.StringIO()
        console = Console(file=out, width=100)
        explain_node(node, self.sandbox.settings(), catalog.entry, console, as_objects=False)
        return out.getvalue()

    def metrics(self) -> str:
        assert self.running.status is not None
        return requests.get(f"http://127.0.0.1:{self.running.status.port}/metrics", timeout=5).text


def told(agent: LocalAgent) -> Report:
    """What the agent tells; it refuses whoever asks too often, so once a second is enough."""
    threading.Event().wait(0.5)
    return agent.report()


@contextmanager
def sandbox_with(agents: int, nodes: int, *, accept_fake: bool = True) -> Iterator[World]:
    measured = {f"gpu-node-{number}": Cadences() for number in range(1, agents + 1)}
    sandbox = Sandbox(nodes=nodes, measured=measured, accept_fake_backend=accept_fake)
    assert sandbox.local is not None
    assert sandbox.kubelets is not None
    try:
        sandbox.start()
        running = sandbox.start_controller()
        assert sandbox.kubelets.await_ready(threading.Event())
        eventually(lambda: len(running.feed.nodes()) == nodes, "all nodes are known", LONG_S)
        yield World(sandbox, running, sandbox.local)
    finally:
        sandbox.stop()


@pytest.fixture
def world() -> Iterator[World]:
    with sandbox_with(agents=2, nodes=3) as made:
        yield made


def test_a_fault_is_recorded_with_value_threshold_and_source(world: World) -> None:
    node, gpu = "gpu-node-1", GPUS[2]
    world.agents.inject(node, {gpu: HOT})
    key = (gpu, "probe/gpu-temperature")
    eventually(lambda: world.records(node).get(key), "a record", LONG_S)
    record = world.records(node)[key]
    assert "[gpu 99 °C, wanted <= 88 °C (slow-down of the device)]" in record.text
    assert (record.trust.value, record.source) == ("probe", "probes")
    assert record.boot_id == world.view(node).boot_id
    eventually(lambda: world.effects(node) == ["PreferNoSchedule"], "a taint", LONG_S)
    assert f"evidence        {record.text}" in world.explained(node)
    assert world.untouched("gpu-node-2")
    assert world.untouched("gpu-node-3")  # without an agent


def test_an_agent_that_was_killed_accuses_nobody_proves_nothing_and_remembers(
    world: World,
) -> None:
    ill, well = "gpu-node-1", "gpu-node-2"
    world.agents.inject(ill, {GPUS[0]: {"ecc_volatile_sram_uncorrected": 1}})
    eventually(lambda: world.effects(ill) == ["NoSchedule"], "a taint", LONG_S)
    before = [one.run_id for one in told(world.agent(ill)).runs]
    for node in (ill, well):
        world.agent(node).end(signal.SIGKILL)
    world.agents.clear(ill)
    for node in (ill, well):
        world.becomes(node, AgentState.SILENT)
    steadily(lambda: world.untouched(well), "nobody accuses the node", ROUNDS_S)
    assert world.effects(ill) == ["NoSchedule"]  # silence is no proof

    world.agent(ill).start()
    eventually(world.agent(ill).answers, "the agent answers", LONG_S)
    history = world.agent(ill).ask("/v1/history?check=gpu-ecc&limit=100").decode()
    assert "sram_uncorrected 1" in history
    assert {one.run_id for one in world.agent(ill).report().runs} & set(before)
    eventually(lambda: world.is_well(ill), "it is believed again", LONG_S)
    eventually(lambda: not world.effects(ill), "clean rounds clear it", LONG_S)
    assert not world.records(ill)


def test_a_reading_that_fails_is_no_fault_of_the_node(world: World) -> None:
    node = "gpu-node-1"
    world.agents.inject(node, {GPUS[1]: {"error": "unknown error"}})

    def errors() -> list[Result]:
        runs = told(world.agent(node)).runs
        return [each for one in runs for each in one.results if each.outcome == "error"]

    eventually(errors, "errors are told", LONG_S)
    assert {each.device for each in errors()} == {GPUS[1]}
    steadily(lambda: world.untouched(node), "nobody is accused", ROUNDS_S)
    assert world.is_well(node)


def test_a_fake_backend_counts_for_nothing_unless_it_is_accepted() -> None:
    with sandbox_with(agents=1, nodes=2, accept_fake=False) as world:
        node = "gpu-node-1"
        world.agents.inject(node, {GPUS[0]: {"lost": True}})
        eventually(lambda: world.has_failed(node), "the agent tells a failure", LONG_S)
        told_of = world.becomes(node, AgentState.FAKE)
        assert told_of.message == "its backend is fake: nothing was measured"
        assert "agent           fake: not believed" in world.explained(node)
        steadily(lambda: world.untouched(node), "nothing counts", ROUNDS_S)
        eventually(
            lambda: 'konduktor_health_agents{state="fake"} 1.0' in world.metrics(), "told", LONG_S
        )
        assert 'konduktor_health_agents{state="ok"} 0.0' in world.metrics()
        answers = [
            line
            for line in world.metrics().splitlines()
            if line.startswith('konduktor_health_agent_answers_total{answer="fake"}')
        ]
        assert float(answers[0].split()[-1]) > 0


def test_a_report_with_the_name_of_another_node_changes_nothing(world: World) -> None:
    """The agent of one node is hostile: it speaks for another, which is ill, and for a third."""
    hostile, ill, third = "gpu-node-2", "gpu-node-1", "gpu-node-3"
    world.agents.inject(ill, {GPUS[0]: HOT})
    eventually(lambda: world.effects(ill) == ["PreferNoSchedule"], "a taint", LONG_S)
    agent = world.agent(hostile)
    agent.end(signal.SIGKILL)
    with AgentServer(agent.address, agent.port) as server:
        for named in (ill, third):
            server.serve(forged(named, world.sandbox.clock.now_ns()), etag=f'"{named}"')
            asked = len(server.requests)
            told_of = world.becomes(hostile, AgentState.WRONG_NODE)
            eventually(partial(asked_since, server, asked), "asked again", LONG_S)
            assert told_of.message.startswith("it names node 'gpu-node-")
            assert world.effects(ill) == ["PreferNoSchedule"]  # passes of a stranger clear nothing
            assert (GPUS[0], "probe/gpu-temperature") in world.records(ill)
            assert not [key for key in world.records(ill) if key[1] == "probe/gpu-count"]
            assert world.untouched(hostile)
            assert world.untouched(third)
        assert world.is_well(ill)


def asked_since(server: AgentServer, known: int) -> bool:
    return len(server.requests) > known + 3


def forged(node: str, now_ns: int) -> Report:
    """What a hostile agent says of a node: passes of what is ill there, and a GPU that is lost."""
    runs = [
        run(
            f"light-{number}",
            result("gpu-temperature", "pass", device=GPUS[0], ended_ns=now_ns + number),
            result("gpu-count", "fail", device=GPUS[5], severity="fatal", ended_ns=now_ns + number),
        )
        for number in range(1, 6)
    ]
    boot_id = stable_uuid(node, "boot").replace("-", "")
    return report(node, *runs, boot_id=boot_id, backend="nvml")
