"""Which nodes have to be labelled with what DCGM found? A few at a time.

All nodes of a cluster are to be labelled when the policy begins to ask for Autopilot's labels: that
is many writes of no hurry, and a fault must not wait for them.

Invariant: nothing here is remembered but names; what a node's labels say is compared with what is
known when a decision is made (``core.labels``). The adapter tells from its threads; all else is
called on the loop's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from konduktor_health.core.labels import diagnosed
from konduktor_health.model import Diagnosis, NodeView, Policy
from konduktor_health.ports import Diagnoses

A_CYCLE = 20  # nodes; about 0.2 s of writes


class DiagnosisWatch:
    """Nodes to label. ``wake`` is called with each news."""

    def __init__(
        self, source: Diagnoses, policy: Policy, *, wake: Callable[[], None] = lambda: None
    ) -> None:
        self._source, self._policy, self._wake = source, policy, wake
        self._lock = threading.Lock()
        self._told: dict[str, None] = {}  # in order
        self._all = False  # they are to be looked at
        source.on_diagnosis(self._tell)

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        self._all = policy.autopilot_labels and not self._policy.autopilot_labels
        self._policy = policy

    def due(self, nodes: Mapping[str, NodeView]) -> set[str]:
        """The next few of these nodes whose labels say something else."""
        if not self._policy.autopilot_labels:
            with self._lock:
                self._told.clear()
            return set()
        if self._all:
            self._all = False
            with self._lock:
                self._told.update(dict.fromkeys(nodes))
        found: set[str] = set()
        while len(found) < A_CYCLE and (name := self._next()) is not None:
            if name in nodes and diagnosed(nodes[name], self._of(name), self._policy):
                found.add(name)
        return found

    def of(self, names: Iterable[str]) -> Mapping[str, tuple[Diagnosis, ...]]:
        """What is known of these nodes; nothing where nobody asks for labels."""
        return self._source.diagnoses(names) if self._policy.autopilot_labels else {}

    def _of(self, name: str) -> tuple[Diagnosis, ...]:
        return self._source.diagnoses([name]).get(name, ())

    def _next(self) -> str | None:
        with self._lock:
            name = next(iter(self._told), None)
            if name is not None:
                del self._told[name]
            return name

    def _tell(self, name: str) -> None:
        with self._lock:
            self._told[name] = None
        self._wake()
