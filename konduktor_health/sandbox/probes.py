"""What do the agents of the simulated nodes measure?

The nodes are simulated, and so is what is measured: an agent's checks fail while its node's GPU is
broken and pass once it is mended. In this world that is the truth, so its passes count (``fake`` is
False). They can prove nothing of a real node: only the sandbox hands this adapter to the controller
that it runs, no setting names it, and a fake backend of a real agent is told as fake.

Rounds go over all nodes of a small sandbox, and over those that were ever broken of a large one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import count

from konduktor_health.agents import AgentCensus, AgentStanding, AgentState
from konduktor_health.clock import Clock
from konduktor_health.model import Fault, ProbeResult, ProbeStatus
from konduktor_health.ports import MOST_PROBE_RESULTS
from konduktor_health.sandbox.nodes import stable_uuid

SMALL = 32  # nodes
#: Tier and check of each run of a round, in this order.
CHECKS = (("boot", "gpu-count"), ("light", "pcie-link"), ("invasive", "gpu-memory"))
#: The GPUs of each simulated node, by PCI address: a run is of all of them.
GPUS = (
    "0000:1b:00", "0000:3b:00", "0000:43:00", "0000:52:00",
    "0000:86:00", "0000:9d:00", "0000:c3:00", "0000:df:00",
)  # fmt: skip


class SimulatedAgents:
    """One agent on each of these nodes (``ports.Probes``)."""

    def __init__(self, names: Collection[str], clock: Clock, *, interval_s: float = 0.3) -> None:
        self._agents = frozenset(names)
        self._clock = clock
        self._interval_s = interval_s
        self._lock = threading.Lock()
        measured = names if len(names) <= SMALL else ()
        self._broken: dict[str, bool] = dict.fromkeys(measured, False)
        self._results: dict[str, deque[ProbeResult]] = {}
        self._runs = count(1)
        self._tell: Callable[[Collection[str]], None] = lambda _names: None

    def breaks(self, node: str) -> None:
        """A GPU of this node is broken from now on."""
        with self._lock:
            self._broken[node] = True

    def mends(self, node: str) -> None:
        """It is well again."""
        with self._lock:
            self._broken[node] = False

    def round(self) -> None:
        """One run of each tier on each node that is measured."""
        with self._lock:
            nodes = [name for name in self._broken if name in self._agents]
            for name in nodes:
                kept = self._results.setdefault(name, deque(maxlen=MOST_PROBE_RESULTS))
                for tier, check in CHECKS:
                    kept.extend(self._run(name, tier, check))
        if nodes:
            self._tell(nodes)

    def follow(self, stop: threading.Event) -> None:
        """All are known from the start."""

    def start(self, stop: threading.Event) -> None:
        """Make rounds until ``stop`` is set."""
        threading.Thread(
            target=self._follow, args=(stop,), name="simulated-agents", daemon=True
        ).start()

    def agents(self) -> frozenset[str]:
        """All of them, from the start."""
        return self._agents

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """What was measured on these nodes, oldest first."""
        with self._lock:
            return {name: tuple(self._results[name]) for name in names if name in self._results}

    def faults(self) -> tuple[Fault, ...]:
        """None: the log of a simulated node tells what breaks."""
        return ()

    def standing(self, names: Iterable[str]) -> Mapping[str, AgentStanding]:
        """All of them answer."""
        known = AgentStanding(AgentState.OK, 0)
        return {name: known for name in names if name in self._agents}

    def census(self) -> AgentCensus:
        """All of them answer."""
        return AgentCensus({AgentState.OK: len(self._agents)})

    def on_news(self, callback: Callable[[Collection[str]], None]) -> None:
        """Whom to tell after each round."""
        self._tell = callback

    def _follow(self, stop: threading.Event) -> None:
        while not self._clock.wait(stop, self._interval_s):
            self.round()

    def _run(self, node: str, tier: str, check: str) -> Iterator[ProbeResult]:
        status = ProbeStatus.FAIL if self._broken[node] else ProbeStatus.PASS
        time_ns, run_id = self._clock.now_ns(), f"{node}-{next(self._runs)}"
        boot_id = stable_uuid(node, "boot").replace("-", "")
        for gpu in GPUS:
            yield ProbeResult(
                check=check,
                tier=tier,
                status=status,
                time_ns=time_ns,
                device=gpu,
                under_load=tier == "invasive",
                boot_id=boot_id,
                run_id=run_id,
            )
