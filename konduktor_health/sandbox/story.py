"""The demo's story: a fault, the taint, a budget hold, proof that the node is well, reset.

A step does something, waits until the API server shows the effect, and says how long that
took. What is soon over (a node that recovers) is waited for as "so far or further". An effect
that does not show in time raises TransientError: the demo is a check too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from konduktor_health.adapters.kube import build_cluster
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.clearing import QUIET
from konduktor_health.core.record import Record
from konduktor_health.errors import TransientError
from konduktor_health.model import NodeView
from konduktor_health.runtime.reset import reset
from konduktor_health.sandbox.cluster import Sandbox

STEP_TIMEOUT_S = 20.0
MOST_BUDGET = 4  # one fault on more nodes at once would be a surge, which is held as such
LOST = (
    "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
)
ECC = (
    "NVRM: Xid (PCI:0000:86:00): 48, pid='<unknown>', name=<unknown>, "
    "An uncorrectable double bit error (DBE) has been detected on GPU."
)
RELOADED = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"


class Interrupted(Exception):
    """Somebody wants the demo to end."""


class Story:
    """Plays on a started sandbox with a running controller. ``say`` prints one line; once
    ``stop`` is set, the next wait raises Interrupted."""

    def __init__(self, sandbox: Sandbox, say: Callable[[str], None], stop: threading.Event) -> None:
        self._sandbox = sandbox
        self._say = say
        settings = sandbox.settings()
        _, self._cluster = build_cluster(settings, sandbox.clock)
        self._keys = settings.keys()
        self._stop = stop

    def play(self) -> None:
        """All steps. With fewer than two nodes there is nothing to hold."""
        names = self._sandbox.names()
        first, second = names[min(2, len(names) - 1)], names[4] if len(names) > 4 else names[0]
        self._fault(first, ECC)
        self._until(first, "tainted", self._tainted)
        self._show(first)
        budget = -(-len(names) // 10)
        if budget > MOST_BUDGET:
            self._say(f"{len(names)} nodes: a full budget is shown with 2 to {10 * MOST_BUDGET}")
        if second == first or budget > MOST_BUDGET:
            self._recover(first)
            return
        for extra in names[5 : 5 + budget - 1]:
            self._fault(extra, ECC)
            self._until(extra, "tainted", self._tainted)
        self._say(f"the budget is 10 % of {len(names)} nodes, rounded up: {budget}")
        self._fault(second, LOST)
        self._until(second, "held, not tainted", self._held)
        self._show(second)
        self._recover(first)
        self._until(second, "tainted now that the budget allows it", self._tainted)
        self._show(second)
        for name in names:
            if self._tainted(self._cluster.get_node(name)):
                self._reset(name)

    def _fault(self, node: str, text: str) -> None:
        self._sandbox.agents.breaks(node)
        self._say(f"{node} logs: {self._sandbox.log(node, text)}")

    def _recover(self, node: str) -> None:
        """The GPU is reset, and the node's agent proves that it is well: nobody says so."""
        self._say(f"{node}: somebody resets its GPUs, and loads the driver again")
        self._sandbox.agents.mends(node)
        self._say(f"{node} logs: {self._sandbox.log(node, RELOADED)}")
        self._until(node, "recovering", self._recovering)
        self._show(node)
        self._until(node, "measured by its agent and passes", self._proven)
        for record in self._records(self._cluster.get_node(node)):
            counts = ", ".join(f"{each.name} {each.count}" for each in record.passes)
            missing = ", ".join(each.what for each in record.missing)
            self._say(f"    passes     {counts}; missing: {missing or 'nothing'}")
        self._until(node, "schedulable again", lambda seen: not self._tainted(seen))
        self._show(node)

    def _reset(self, node: str) -> None:
        self._sandbox.agents.mends(node)
        view = self._cluster.get_node(node)
        done = reset(self._cluster, view, self._keys, self._sandbox.clock, dry_run=False)
        self._say(f"$ konduktor-health reset {node}")
        self._say(f"{node}: {done}")
        self._until(node, "schedulable again", lambda seen: not self._tainted(seen))

    def _until(self, node: str, what: str, seen: Callable[[NodeView], bool]) -> None:
        clock = self._sandbox.clock
        started = clock.monotonic()
        while not seen(self._cluster.get_node(node)):
            if clock.monotonic() - started > STEP_TIMEOUT_S:
                raise TransientError(
                    f"{node} was not {what} within {STEP_TIMEOUT_S:.0f} s",
                    hint="run the demo with --debug to see what the controller does",
                )
            self._pause()
        self._say(f"{node} is {what} ({clock.monotonic() - started:.2f} s)")

    def _show(self, node: str) -> None:
        view = self._cluster.get_node(node)
        for taint in view.taints:
            self._say(f"    taint      {taint.key}={taint.value}:{taint.effect}")
        if view.health_label:
            self._say(f"    label      {self._keys.health}={view.health_label}")
        self._until_condition(node)

    def _until_condition(self, node: str) -> None:
        """Conditions and Events follow the taint."""
        for _ in range(200):
            condition = self._cluster.get_node(node).condition
            if condition is not None and condition.reason != "Reset":
                self._say(
                    f"    condition  {self._keys.condition}={condition.status} "
                    f"({condition.reason}): {condition.message}"
                )
                return
            self._pause()

    def _pause(self) -> None:
        if self._sandbox.clock.wait(self._stop, 0.01):
            raise Interrupted

    def _tainted(self, view: NodeView) -> bool:
        return any(taint.key == self._keys.taint for taint in view.taints)

    def _records(self, view: NodeView) -> tuple[Record, ...]:
        return read_ledger(view)[0].records

    def _recovering(self, view: NodeView) -> bool:
        told = view.condition is not None and view.condition.reason == "Recovering"
        return (told and view.health_label == "recovering") or not self._tainted(view)

    def _proven(self, view: NodeView) -> bool:
        missing = {each.what for record in self._records(view) for each in record.missing}
        return missing <= {QUIET}

    def _held(self, view: NodeView) -> bool:
        condition: Any = view.condition
        held = condition is not None and condition.reason == "BudgetExhausted"
        return held and not self._tainted(view)
