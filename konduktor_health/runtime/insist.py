"""How does a person's edit reach a Node that others write too? Planned again for what is there.

Every write is compare-and-swap. A Conflict means that somebody else was faster: the Node is read
again and the plan made anew, so that nothing is written for a Node as it no longer is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from konduktor_health.clock import Clock
from konduktor_health.errors import Conflict
from konduktor_health.model import EditNode, NodeView
from konduktor_health.ports import Cluster

ATTEMPTS = 5

#: The edit for a Node as it is at that time (Unix ns); None: nothing is to be done.
Planner = Callable[[NodeView, int], EditNode | None]


@dataclass(frozen=True, slots=True)
class Written:
    """An edit that is on the API server, the Node as it left it, and when it was planned."""

    plan: EditNode
    view: NodeView
    now_ns: int


def insist(cluster: Cluster, view: NodeView, planner: Planner, clock: Clock) -> Written | None:
    """Plan and write; None when nothing is to be done. Raises what Cluster and ``planner`` raise;
    Conflict after ATTEMPTS."""
    for attempt in range(ATTEMPTS):
        if attempt:
            view = cluster.get_node(view.name)
        now_ns = clock.now_ns()
        plan = planner(view, now_ns)
        if plan is None:
            return None
        try:
            return Written(plan, cluster.edit_node(view, plan.edit), now_ns)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")
