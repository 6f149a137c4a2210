"""How is an operator's order carried out on one node, and how is it told?

Works with or without a controller: the Node is written with compare-and-swap, an Event says so,
and the condition is left to the controller, which reads the same Node.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.clock import Clock, rfc3339_micro
from konduktor_health.core.operator import OperatorEvent
from konduktor_health.errors import HealthError
from konduktor_health.model import NodeView, PublishEvent
from konduktor_health.ports import Cluster
from konduktor_health.runtime.insist import Planner, insist


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done to each node."""

    event: OperatorEvent
    planner: Planner
    nothing: str  # what is said of a node that is that way already
    failed: str  # what a node is not when it went wrong: "not held"
    follows: str = ""  # what a controller will add


def carry_out(cluster: Cluster, view: NodeView, order: Order, clock: Clock, dry_run: bool) -> str:
    """Carry an order out on one node; returns what was (or would be) done.

    Conflicts are read again. Raises HealthError when the Node could not be written; an Event that
    could not be published is told and undoes nothing.
    """
    if dry_run:
        plan = order.planner(view, clock.now_ns())
        return f"would have {plan.message}" if plan else order.nothing
    written = insist(cluster, view, order.planner, clock)
    if written is None:
        return order.nothing
    node, message = written.view, written.plan.message
    dedupe = f"{order.event.value}-{rfc3339_micro(written.now_ns)}"
    event = PublishEvent(node.name, node.uid, "Normal", order.event.value, message, dedupe)
    more = f"; {order.follows}" if order.follows else ""
    try:
        cluster.publish_event(event, written.now_ns)
    except HealthError as error:
        more += f"; Event not published: {error}"
    return message + more
