"""How is one node reset? The operator's word, carried out with compare-and-swap."""

from __future__ import annotations

from konduktor_health.clock import Clock, rfc3339_micro
from konduktor_health.core.reset import condition_after_reset, plan_reset
from konduktor_health.errors import Conflict, HealthError
from konduktor_health.model import EditNode, Keys, NodeView, PublishEvent
from konduktor_health.ports import Cluster

ATTEMPTS = 5


def reset(cluster: Cluster, view: NodeView, keys: Keys, clock: Clock, dry_run: bool) -> str:
    """Reset one node; returns what was (or would be) removed. Conflicts are read again."""
    for attempt in range(ATTEMPTS):
        now_ns = clock.now_ns()
        plan = plan_reset(view, keys, now_ns)
        if plan is None:
            return "nothing of ours on it"
        if dry_run:
            return plan.message.replace("removed", "would remove", 1)
        try:
            written = cluster.edit_node(view, plan.edit)
        except Conflict:
            if attempt == ATTEMPTS - 1:
                raise
            view = cluster.get_node(view.name)
            continue
        return plan.message + _announced(cluster, written, plan, now_ns)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _announced(cluster: Cluster, view: NodeView, plan: EditNode, now_ns: int) -> str:
    """Write condition and Event; what could not be written, as the end of a sentence.

    The reset itself stands whatever becomes of them: the controller mends the condition.
    """
    condition = condition_after_reset(now_ns)
    dedupe = f"reset-{rfc3339_micro(now_ns)}"
    event = PublishEvent(view.name, view.uid, "Normal", "Reset", plan.message, dedupe)
    failed = []
    try:
        try:
            cluster.set_condition(view, condition, now_ns)
        except Conflict:
            cluster.set_condition(cluster.get_node(view.name), condition, now_ns)
    except HealthError as error:
        failed.append(f"condition not written: {error}")
    try:
        cluster.publish_event(event, now_ns)
    except HealthError as error:
        failed.append(f"Event not published: {error}")
    return "".join(f"; {each}" for each in failed)
