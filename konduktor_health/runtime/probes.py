"""Of which nodes have the probes something new to tell, and what do they tell of a node?

Invariants:
- Nothing here is remembered but names: a result that was counted is in the node's ledger, and any
  other is asked for again (``ports.Probes.results``). A restart loses nothing that counts.
- Until it is known which nodes have agents, each of them counts as one that has: what asks for
  probes is not cleared without them because somebody has just been started.

The adapter tells from its threads; all else is called on the loop's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping

from konduktor_health.model import Fault, ProbeResult
from konduktor_health.ports import Probes


class ProbeWatch:
    """Nodes with news until they are taken. ``wake`` is called with each news."""

    def __init__(self, probes: Probes, *, wake: Callable[[], None] = lambda: None) -> None:
        self._probes = probes
        self._wake = wake
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._known = False
        probes.on_news(self._tell)

    def start(self, stop: threading.Event) -> None:
        """Let the adapter begin to ask."""
        self._probes.start(stop)

    def due(self, nodes: Collection[str]) -> set[str]:
        """Those of these nodes of which something new was told since the last call: all, when it
        has become known which of them have agents."""
        with self._lock:
            told, self._told = self._told, set()
        known = self._probes.agents() is not None
        flipped, self._known = known is not self._known, known
        return set(nodes) if flipped else {name for name in told if name in nodes}

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """What is known of these nodes."""
        return self._probes.results(names)

    def agents(self, names: Collection[str]) -> frozenset[str]:
        """Those of these nodes that have an agent, as far as is known."""
        agents = self._probes.agents()
        return frozenset(name for name in names if agents is None or name in agents)

    def faults(self) -> tuple[Fault, ...]:
        """What checks have found since the last call."""
        return self._probes.faults()

    def _tell(self, names: Collection[str]) -> None:
        with self._lock:
            self._told.update(names)
        self._wake()
