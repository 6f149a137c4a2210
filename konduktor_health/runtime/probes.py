"""Of which nodes have the probes something new to tell, and what do they tell of a node?

Invariants:
- Nothing here is remembered but names: a result that was counted is in the node's ledger, and any
  other is asked for again (``ports.Probes.results``). A restart loses nothing that counts.
- Until it is known which nodes have agents, nothing that asks for probes is cleared without them,
  and no Node is written to say so: somebody has just been started.
- What cannot be measured on many nodes at once is no news of any of them: it writes no Node.

Adapter and rounds tell from their threads; all else is called on the loop's thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping

from loguru import logger

from konduktor_health.agents import AgentCensus
from konduktor_health.clock import Clock, SystemClock
from konduktor_health.core.observation import may_be_shown
from konduktor_health.model import Fault, Policy, ProbeResult
from konduktor_health.ports import Probes
from konduktor_health.treatment import UNRESPONSIVE

ResultsOf = Callable[[Iterable[str]], Mapping[str, tuple[ProbeResult, ...]]]

CENSUS_S = 15.0  # a count over all nodes costs 20 ms where there are 10,000


class ProbeWatch:
    """Nodes with news until they are taken. ``wake`` is called with each news."""

    def __init__(
        self,
        probes: Probes,
        *,
        wake: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._probes = probes
        self._wake = wake
        self._clock = clock or SystemClock()
        self._policy = policy or Policy()
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._known = False
        self._mass = False
        self._counted: tuple[float, AgentCensus] = (-math.inf, AgentCensus())
        self._more: ResultsOf = lambda _names: {}
        probes.on_news(self.tell)

    def add(self, more: ResultsOf) -> None:
        """Take this for results too (before ``start``): what nodes have measured of each other."""
        self._more = more

    def follow(self, stop: threading.Event) -> None:
        """Let the adapter find out who has an agent."""
        self._probes.follow(stop)

    def known(self) -> bool:
        """Whether it is known who has an agent."""
        return self._probes.agents() is not None

    def start(self, stop: threading.Event) -> None:
        """Let the adapter begin to ask."""
        self._probes.start(stop)

    def use(self, policy: Policy) -> None:
        """Judge by this policy from now on."""
        self._policy = policy

    def due(self, nodes: Collection[str]) -> set[str]:
        """Those of these nodes of which something new was told since the last call: all, when it
        has become known which of them have agents."""
        with self._lock:
            told, self._told = self._told, set()
        known = self.known()
        flipped, self._known = known is not self._known, known
        return set(nodes) if flipped else {name for name in told if name in nodes}

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """What is known of these nodes."""
        names = list(names)
        found, more = self._probes.results(names), self._more(names)
        if not more:
            return found
        both = {name: (*found.get(name, ()), *more.get(name, ())) for name in {*found, *more}}
        return {
            name: tuple(sorted(results, key=lambda each: each.time_ns))
            for name, results in both.items()
        }

    def agents(self, names: Collection[str]) -> frozenset[str] | None:
        """Those of these nodes that have an agent; None: not known yet."""
        agents = self._probes.agents()
        return None if agents is None else frozenset(name for name in names if name in agents)

    def faults(self, managed: int) -> tuple[Fault, ...]:
        """What checks have found since the last call. ``managed``: how many nodes there are."""
        found = self._probes.faults()
        if not any(fault.fault_id == UNRESPONSIVE for fault in found) or not self._is_mass(managed):
            return found
        return tuple(fault for fault in found if fault.fault_id != UNRESPONSIVE)

    def census(self) -> AgentCensus:
        """Counts over all agents, of a moment ago."""
        counted_s, census = self._counted
        now_s = self._clock.monotonic()
        if now_s - counted_s >= CENSUS_S:
            census = self._probes.census()
            self._counted = (now_s, census)
        return census

    def _is_mass(self, managed: int) -> bool:
        """As many nodes cannot be measured as make a surge: a new image, a tool, a library."""
        policy, many = self._policy, self._probes.census().unmeasured_nodes
        most = max(policy.surge_min_nodes, may_be_shown(managed, policy.surge_percent))
        mass = policy.surge_enabled and many >= most
        if mass and not self._mass:
            logger.bind(nodes=many).warning(
                "checks cannot be measured on many nodes: a common cause is likely, no Node is"
                " written"
            )
        self._mass = mass
        return mass

    def tell(self, names: Collection[str]) -> None:
        """There is something new of these nodes. Any thread."""
        with self._lock:
            self._told.update(names)
        self._wake()
