"""What probes measure reaches the core, of the nodes concerned alone, and counts once."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import product

import pytest

from konduktor_health.agents import AgentCensus, AgentStanding
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.record import Record
from konduktor_health.model import Fault, ProbeResult, ProbeStatus
from konduktor_health.ports import MOST_PROBE_RESULTS
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.wiring import build
from konduktor_health.sandbox.probes import GPUS, SMALL, SimulatedAgents
from konduktor_health.settings import ProbeSettings
from konduktor_health.timestamps import NS
from konduktor_health.treatment import ClearRule, ProbeNeed, Rule, Treatment
from tests.support.builders import NOW, OTHER_BOOT
from tests.support.memory_loki import FakeClock
from tests.support.world import World

GPU = "0000:86:00"
ECC = "NVRM: Xid (PCI:0000:86:00): 48, pid=1, name=x, An uncorrectable double bit error (DBE)."
LOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"


class MemoryProbes:
    """Agents that measure when told. ``known`` None: nobody has looked yet."""

    def __init__(self, known: frozenset[str] | None) -> None:
        self.known = known
        self.kept: dict[str, tuple[ProbeResult, ...]] = {}
        self.asked: list[set[str]] = []
        self.found: list[Fault] = []
        self._tell: Callable[[Collection[str]], None] = lambda _names: None
        self._runs = 0

    def follow(self, stop: threading.Event) -> None:
        """Nothing runs by itself."""

    def start(self, stop: threading.Event) -> None:
        """Nothing runs by itself."""

    def agents(self) -> frozenset[str] | None:
        return self.known

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        self.asked.append(set(names))
        return {name: self.kept[name] for name in self.asked[-1] if name in self.kept}

    def faults(self) -> tuple[Fault, ...]:
        found, self.found = tuple(self.found), []
        return found

    def standing(self, names: Iterable[str]) -> Mapping[str, AgentStanding]:
        return {}

    def census(self) -> AgentCensus:
        return AgentCensus()

    def on_news(self, callback: Callable[[Collection[str]], None]) -> None:
        self._tell = callback

    def find(self, known: frozenset[str]) -> None:
        """It becomes known who has an agent."""
        changed = known ^ (self.known or frozenset())
        self.known = known
        self._tell(changed)

    def measure(
        self, world: World, *tiers: str, name: str = "gpu-1", status: ProbeStatus = ProbeStatus.PASS
    ) -> None:
        """One run of each of these tiers, a second apart."""
        for tier in tiers:
            world.clock.advance(1)
            self._runs += 1
            boot_id = world.cluster.nodes[name].boot_id
            time_ns = world.clock.now_ns()
            run_id = f"run-{self._runs}"
            run = ProbeResult(
                f"{tier}-check", tier, status, time_ns, GPU, boot_id=boot_id, run_id=run_id
            )
            self.kept[name] = (*self.kept.get(name, ()), run)
        self._tell([name])


def world_of(probes: MemoryProbes, quiet_s: float = 60.0) -> World:
    """All faults ask for three light passes and an invasive one."""
    need = (ProbeNeed("light", 3), ProbeNeed("invasive"))
    rule = Rule("test", treatment=Treatment(clear=ClearRule(probes=need, quiet_s=quiet_s)))
    return World(probes=probes, rules=(rule,), unobserved_after_s=1e6)


def sick(probes: MemoryProbes) -> World:
    """gpu-1 is tainted, and its GPUs were reset since."""
    world = world_of(probes)
    world.hear(world.line("gpu-1", ECC))
    world.clock.advance(10)
    world.hear(world.line("gpu-1", LOADED))
    world.settle()
    assert world.tainted() == ["gpu-1"]
    return world


def record(world: World, name: str = "gpu-1") -> Record:
    (found,) = read_ledger(world.cluster.nodes[name])[0].records
    return found


def missing(world: World) -> list[str]:
    return [each.what for each in record(world).missing]


def rows(world: World) -> dict[str, int]:
    return {each.name: each.count for each in record(world).passes}


def everybody() -> frozenset[str]:
    return frozenset(f"gpu-{n}" for n in range(20))


def test_a_node_is_cleared_once_its_probes_have_passed_and_it_was_quiet() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    assert missing(world) == ["probe:light", "probe:invasive", "quiet"]
    probes.measure(world, "light", "light", "light", "invasive")
    world.settle()
    assert missing(world) == ["quiet"]
    world.hear()
    world.turn(70)
    assert world.tainted() == []


def test_each_news_of_a_node_with_a_record_is_decided_at_once() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    for count in (1, 2, 3):
        probes.measure(world, "light")
        world.turn()
        assert rows(world)["light"] == count
    probes.measure(world, "light", status=ProbeStatus.FAIL)
    world.turn()
    assert rows(world)["light"] == 0


def test_rounds_on_healthy_nodes_cost_no_decision_and_no_write() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    before, writes = len(probes.asked), len(world.cluster.writes)
    for name in ("gpu-2", "gpu-3"):
        probes.measure(world, "light", "light", name=name)
    world.turn()
    assert probes.asked[before:] == []
    assert len(world.cluster.writes) == writes


def test_an_agent_that_goes_on_measuring_writes_no_node() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    probes.measure(world, "light", "light", "light")
    world.settle()
    writes = len(world.cluster.writes)
    for _ in range(5):
        probes.measure(world, "light")
        world.settle()
    assert len(world.cluster.writes) == writes


def test_what_was_counted_is_counted_once_across_a_restart() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    probes.measure(world, "light", "light")
    world.settle()
    world.restarted(rules=world.loop.situation.policy.rules)
    world.settle()
    assert rows(world)["light"] == 2
    probes.measure(world, "light")
    world.settle()
    assert rows(world)["light"] == 3


def test_results_that_a_restart_has_lost_still_count_where_they_were_counted() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    probes.measure(world, "light", "light")
    world.settle()
    probes.kept.clear()
    world.restarted(rules=world.loop.situation.policy.rules)
    probes.measure(world, "light")
    world.settle()
    assert rows(world)["light"] == 3


def test_until_the_agents_are_known_nothing_is_cleared_without_probes() -> None:
    probes = MemoryProbes(None)
    rule = ClearRule(probes=(ProbeNeed("light", 3),), quiet_s=60.0, log_only=True)
    world = World(probes=probes, rules=(Rule("soft", treatment=Treatment(clear=rule)),))
    world.hear(world.line("gpu-1", ECC))
    world.clock.advance(10)
    world.hear(world.line("gpu-1", LOADED))
    world.turn(70)
    assert world.tainted() == ["gpu-1"]
    assert missing(world) == ["probe:light"]
    probes.find(frozenset({"gpu-2"}))
    world.hear()
    assert world.tainted() == []


def test_an_agent_that_comes_or_goes_changes_what_is_missing() -> None:
    probes = MemoryProbes(frozenset())
    world = sick(probes)
    assert missing(world) == ["operator", "quiet"]
    probes.find(frozenset({"gpu-1"}))
    world.turn()
    assert missing(world) == ["probe:light", "probe:invasive", "quiet"]
    probes.find(frozenset())
    world.turn()
    assert missing(world) == ["operator", "quiet"]


def test_news_wakes_the_loop_and_is_told_once() -> None:
    probes, woken = MemoryProbes(everybody()), threading.Event()
    watch = ProbeWatch(probes, wake=woken.set)
    watch.due({"gpu-1"})
    probes._tell(["gpu-1", "gone"])
    assert woken.is_set()
    assert watch.due({"gpu-1"}) == {"gpu-1"}
    assert watch.due({"gpu-1"}) == set()


def test_no_setting_makes_a_controller_believe_simulated_agents() -> None:
    """They are an argument of ``build``, which only the sandbox gives; so is the word that a fake
    backend may be believed."""
    arguments = inspect.signature(build).parameters
    assert arguments["probes"].default is None
    assert arguments["accept_fake_backend"].default is False
    assert not [name for name in ProbeSettings.model_fields if "fake" in name or "accept" in name]


@pytest.mark.parametrize("broken", [True, False])
def test_simulated_agents_pass_where_the_node_is_well(broken: bool) -> None:
    agents = SimulatedAgents(["a", "b"], FakeClock(NOW))
    agents.breaks("a")
    if not broken:
        agents.mends("a")
    agents.round()
    results = agents.results(["a", "b"])
    tiers = ("boot", "light", "invasive")
    assert [(each.tier, each.device) for each in results["a"]] == list(product(tiers, GPUS))
    assert len({each.run_id for each in results["a"]}) == len(tiers)
    status = ProbeStatus.FAIL if broken else ProbeStatus.PASS
    assert {each.status for each in results["a"]} == {status}
    assert {each.status for each in results["b"]} == {ProbeStatus.PASS}
    assert not any(each.fake for each in results["a"])


def test_simulated_agents_of_many_nodes_measure_those_that_broke() -> None:
    names = [f"n{number}" for number in range(SMALL + 1)]
    agents, told = SimulatedAgents(names, FakeClock(NOW)), list[str]()
    agents.on_news(told.extend)
    agents.round()
    assert (told, agents.results(names)) == ([], {})
    agents.breaks("n7")
    agents.round()
    assert (told, list(agents.results(names))) == (["n7"], ["n7"])


def test_simulated_agents_keep_a_bounded_number_of_results() -> None:
    agents = SimulatedAgents(["a"], FakeClock(NOW))
    agents.breaks("a")
    for _ in range(MOST_PROBE_RESULTS):
        agents.round()
    assert len(agents.results(["a"])["a"]) == MOST_PROBE_RESULTS


def test_passes_of_before_a_reboot_are_gone_with_it() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    probes.measure(world, "light", "light", "light", "invasive")
    world.settle()
    world.change("gpu-1", boot_id=OTHER_BOOT)
    world.settle()
    assert rows(world) == {}
    assert "probe:light" in missing(world)


def test_a_fake_backend_proves_nothing() -> None:
    probes = MemoryProbes(everybody())
    world = sick(probes)
    probes.measure(world, "light", "light", "light", "invasive")
    probes.kept["gpu-1"] = tuple(replace(each, fake=True) for each in probes.kept["gpu-1"])
    world.settle()
    world.clock.wall_ns += 100 * NS
    world.hear()
    assert rows(world) == {}
    assert world.tainted() == ["gpu-1"]
