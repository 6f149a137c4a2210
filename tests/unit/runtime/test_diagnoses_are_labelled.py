"""What DCGM found reaches the labels: few nodes at a time, once, and only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from konduktor_health.core.labels import AUTOPILOT
from konduktor_health.model import Diagnosis
from konduktor_health.runtime.diagnoses import A_CYCLE
from tests.support.builders import NOW, policy
from tests.support.world import World

LEVEL_1 = "autopilot.ibm.com/dcgm.level.1"
GOOD = Diagnosis(1, passed=True, time_ns=NOW)


class MemoryDiagnoses:
    """What DCGM came to, as a test says."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Diagnosis, ...]] = {}
        self._tell: Callable[[str], None] = lambda _name: None

    def diagnoses(self, names: Iterable[str]) -> Mapping[str, tuple[Diagnosis, ...]]:
        return {name: self.known[name] for name in names if name in self.known}

    def on_diagnosis(self, callback: Callable[[str], None]) -> None:
        self._tell = callback

    def put(self, name: str, *found: Diagnosis) -> None:
        self.known[name] = found
        self._tell(name)


def labelled(world: World) -> set[str]:
    return {name for name, view in world.cluster.nodes.items() if view.label(LEVEL_1)}


def test_all_nodes_are_labelled_a_few_at_a_time_and_then_it_is_quiet() -> None:
    found = MemoryDiagnoses()
    world = World(nodes=3 * A_CYCLE, diagnoses=found, autopilot_labels=True)
    for name in world.names:
        found.put(name, GOOD)
    world.turn(1)
    assert len(labelled(world)) == A_CYCLE
    for _ in range(4):
        world.turn(1)
    assert labelled(world) == set(world.names)
    assert {view.label(AUTOPILOT) for view in world.cluster.nodes.values()} == {"PASS"}
    world.cluster.writes.clear()
    for name in world.names:  # an hour later: the same again
        found.put(name, replace(GOOD, time_ns=NOW + 3600 * 10**9))
    for _ in range(10):
        world.turn(10)
    assert [each for each in world.cluster.writes if each != "state"] == []


def test_no_node_that_is_only_labelled_gets_a_condition_or_an_event() -> None:
    found = MemoryDiagnoses()
    world = World(nodes=2, diagnoses=found, autopilot_labels=True)
    found.put("gpu-0", Diagnosis(1, passed=False, time_ns=NOW, failed="pcie.0"))
    world.turn(1)
    world.turn(1)
    assert [each for each in world.cluster.writes if each != "state"] == ["edit gpu-0"]
    assert world.cluster.nodes["gpu-0"].condition is None


def test_without_the_policy_nothing_is_written_and_with_it_all_of_it_is() -> None:
    found = MemoryDiagnoses()
    world = World(nodes=3, diagnoses=found)
    for name in world.names:
        found.put(name, GOOD)
    world.turn(1)
    assert labelled(world) == set()
    asks = policy(autopilot_labels=True)
    world.loop.situation = replace(world.loop.situation, policy=asks)
    for part in world.loop.followers:
        part.use(asks)
    world.turn(1)
    assert labelled(world) == set(world.names)


def test_a_write_that_fails_is_tried_again() -> None:
    found = MemoryDiagnoses()
    world = World(nodes=1, diagnoses=found, autopilot_labels=True)
    stands = [True]

    def interfere(what: str, name: str) -> None:
        if what == "edit" and stands.pop(0):
            stands.append(False)
            world.cluster.put(world.cluster.nodes[name])  # somebody else writes: conflict

    world.cluster.before = interfere
    found.put("gpu-0", GOOD)
    world.turn(1)
    assert labelled(world) == set()
    world.turn(1)
    assert labelled(world) == {"gpu-0"}
