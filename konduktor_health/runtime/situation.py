"""What does the core get to see of these nodes, and what if it cannot decide about one?

A node that makes the decision fail (a bug) is left out and tried again later, so that it
costs its own node and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.decide import decide
from konduktor_health.model import NodeView, Plan, Policy, Snapshot
from konduktor_health.ports import NodeFeed
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer


def _as_it_is(snapshot: Snapshot) -> Snapshot:
    return snapshot


@dataclass(frozen=True, slots=True)
class Situation:
    """Node views, sightings and the fleet's counts, put together for a decision. ``complete`` adds
    what is known from elsewhere (where history is played: what is taken for granted)."""

    feed: NodeFeed
    fleet: Fleet
    observer: Observer
    policy: Policy
    clock: Clock
    complete: Callable[[Snapshot], Snapshot] = _as_it_is

    def decide(self, names: Iterable[str]) -> tuple[Plan, set[str]]:
        """The Plan for these nodes, and those that no decision could be made about."""
        known = self.feed.nodes()
        nodes = {name: known[name] for name in names if name in known}
        if not nodes:
            return Plan(), set()
        try:
            return self._decide(nodes), set()
        except Exception as error:
            failing = {name for name, view in nodes.items() if not self._can_decide(view)}
            if not failing:
                raise
            logger.bind(nodes=sorted(failing)[:10]).opt(exception=error).error(
                "bug: no decision about these nodes"
            )
            rest = {name: view for name, view in nodes.items() if name not in failing}
            return (self._decide(rest) if rest else Plan()), failing

    def _decide(self, nodes: dict[str, NodeView]) -> Plan:
        now_ns = self.clock.now_ns()
        boots = self.fleet.boots(nodes)
        snapshot = Snapshot(
            nodes=nodes,
            sightings=self.observer.sightings(nodes),
            fleet=self.fleet.view(now_ns, self.observer.fatal_sightings(now_ns)),
            boot_changed_ns={name: changed_ns for name, (changed_ns, _) in boots.items()},
            boot_noticed_ns={name: noticed_ns for name, (_, noticed_ns) in boots.items()},
        )
        return decide(self.complete(snapshot), self.policy, now_ns)

    def _can_decide(self, view: NodeView) -> bool:
        try:
            self._decide({view.name: view})
        except Exception:
            return False
        return True
