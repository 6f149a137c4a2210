"""The controller's rounds on a network in memory (``pair_world``), with a clock that is moved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.core.pair_tests import Kind, PairResult, PairTest
from konduktor_health.core.rounds import RoundOptions
from konduktor_health.model import NodeView, Policy
from konduktor_health.runtime.pair_course import Course
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.pair_members import Takers
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.timestamps import NS
from tests.support.agents import MemoryNodes, MemoryPods
from tests.support.builders import NOW, node
from tests.support.memory_loki import FakeClock
from tests.support.pair_world import LEAF, PairWorld

HOUR_S = 3600.0


def policy_with_leaves() -> Policy:
    """Leaves are what nodes share."""
    return Policy(domains=(LEAF,))


def pod_of(name: str, number: int, **fields: Any) -> AgentPod:
    """An agent's pod with an address of its own."""
    address = f"10.0.{number // 250}.{number % 250 + 1}"
    values: dict[str, Any] = {"interfaces": (("eth0", (address,)),)}
    return AgentPod(name, f"probe-{name}", f"pod-{name}", address, 9410, **(values | fields))


class WorldMeasures:
    """Measures on the network in memory. ``meanwhile``: happens while it is measured."""

    def __init__(self, world: PairWorld) -> None:
        self.world = world
        self.asked: list[tuple[Kind, tuple[PairTest, ...]]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def measure(
        self, kind: Kind, tests: Sequence[PairTest], *, at_once: int, stop: threading.Event
    ) -> list[PairResult]:
        self.asked.append((kind, tuple(tests)))
        self.meanwhile()
        return self.world.run(tests)

    def counted(self) -> Mapping[str, int]:
        return {"accepted": sum(len(tests) for _, tests in self.asked)}

    @property
    def pairs(self) -> list[PairTest]:
        """All tests that were asked for."""
        return [test for _, tests in self.asked for test in tests]


class RoundScene:
    """Nodes, their agents and the rounds of one controller."""

    def __init__(
        self, world: PairWorld, *kinds: Kind, confirm_s: float = 90.0, seed: int = 7
    ) -> None:
        self.world, self.seed = world, seed
        self.clock = FakeClock(NOW)
        views = [node(name, labels=((LEAF, leaf),)) for name, leaf in world.leaf_of.items()]
        self.nodes = MemoryNodes(*views)
        self.pods = MemoryPods({name: pod_of(name, n) for n, name in enumerate(world.leaf_of)})
        self.kinds = kinds or (Kind.PING,)
        self.confirm_s = confirm_s
        self.stop = threading.Event()
        self.told: list[set[str]] = []
        self.start()

    def start(self) -> None:
        """A controller begins, or begins again."""
        self.measures = WorldMeasures(self.world)
        takers = Takers(self.nodes.nodes, self.pods.of, policy_with_leaves(), self.clock)
        options = RoundOptions(
            seed=self.seed, interval_ns=int(HOUR_S * NS), window_ns=int(1.5 * HOUR_S * NS)
        )
        courses = [
            Course(kind, options, self.clock, at_once=64, confirm_s=self.confirm_s)
            for kind in self.kinds
        ]
        self.findings = PairFindings(self.clock)
        self.findings.on_news(lambda names: self.told.append(set(names)))
        self.rounds = Rounds(self.measures, takers, courses, self.findings, self.clock)

    def settle(self) -> int:
        """Turns until nothing is due; how many pairs were measured."""
        count = 0
        for _ in range(100):
            measured = self.rounds.turn(self.stop)
            if not measured:
                return count
            count += measured
            self.clock.advance(6.0)
        raise AssertionError("it goes on for ever")

    def settle_for(self, seconds: float) -> int:
        """So long, looking every 5 s."""
        count, end_s = 0, self.clock.monotonic() + seconds
        while self.clock.monotonic() < end_s:
            count += self.settle()
            self.clock.advance(5.0)
        return count

    def change(self, name: str, **fields: Any) -> None:
        """The Node is so now."""
        self.nodes.put(replace(self.nodes.views[name], **fields))

    def view(self, name: str) -> NodeView:
        return self.nodes.views[name]
