"""Do the sandbox and the fake backend mean the same by a file of faults?"""

from __future__ import annotations

from pathlib import Path

import pytest

from konduktor_health.clock import NS
from konduktor_health.sandbox.agents import ALL, NODE, Cadences, LocalAgents
from konduktor_health.sandbox.cluster import is_loopback
from probes.backends import fake_state
from tests.support.builders import NOW
from tests.support.memory_loki import FakeClock

GPU = "0000:18:00"


@pytest.fixture
def agents(tmp_path: Path) -> LocalAgents:
    made = LocalAgents({"a": Cadences(), "b": Cadences()}, tmp_path, FakeClock(NOW))
    for agent in made.of.values():
        agent.folder.mkdir()
    return made


def test_faults_are_written_as_the_fake_backend_writes_them(
    agents: LocalAgents, tmp_path: Path
) -> None:
    agents.inject("a", {GPU: {"temperature_c": 99}, NODE: {"driver_missing": True}})
    agents.inject("a", {GPU: {"pcie_replays_per_s": 5}, ALL: {"busy": True}})
    now = NOW / NS
    same = str(tmp_path / "same.json")
    for gpu, faults in (
        (GPU, {"temperature_c": 99, "pcie_replays_per_s": 5}),
        (NODE, {"driver_missing": True}),
        (ALL, {"busy": True}),
    ):
        fake_state.inject(same, gpu, faults, now=now)
    assert fake_state.read(str(agents.of["a"].faults)) == fake_state.read(same)
    assert not agents.of["b"].faults.exists()


def test_cleared_faults_are_gone(agents: LocalAgents) -> None:
    agents.inject("a", {GPU: {"lost": True}})
    agents.clear("a")
    assert fake_state.read(str(agents.of["a"].faults)) == {}


def test_each_agent_has_an_address_of_this_machine_alone_and_all_have_one_port(
    agents: LocalAgents,
) -> None:
    addresses = {agent.address for agent in agents.of.values()}
    assert len(addresses) == 2
    assert all(is_loopback(address) for address in addresses)
    assert {agent.port for agent in agents.of.values()} == {agents.port}


@pytest.mark.parametrize("address", ["10.244.1.7", "169.254.169.254", "", "127.0.0.1.a", "::"])
def test_the_sandbox_asks_no_other_machine(address: str) -> None:
    assert not is_loopback(address)
