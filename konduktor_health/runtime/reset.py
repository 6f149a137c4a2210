"""How is one node reset? The operator's word, carried out with compare-and-swap."""

from __future__ import annotations

from konduktor_health.clock import Clock, rfc3339_micro
from konduktor_health.core.reset import condition_after_reset, declared_left, plan_reset
from konduktor_health.errors import Conflict, HealthError
from konduktor_health.model import EditNode, Keys, NodeView, PublishEvent
from konduktor_health.ports import Cluster
from konduktor_health.runtime.insist import insist


def reset(cluster: Cluster, view: NodeView, keys: Keys, clock: Clock, dry_run: bool) -> str:
    """Reset one node; returns what was (or would be) removed, and what of an operator's is left.
    Conflicts are read again."""

    def plan_at(view: NodeView, now_ns: int) -> EditNode | None:
        return plan_reset(view, keys, now_ns)

    if dry_run:
        plan = plan_at(view, clock.now_ns())
        said = plan.message.replace("removed", "would remove", 1) if plan else None
    else:
        written = insist(cluster, view, plan_at, clock)
        said = None
        if written is not None:
            view = written.view
            said = written.plan.message
            said += _announced(cluster, view, written.plan, written.now_ns)
    return (said or "nothing of ours on it") + "".join(
        f"; left: {it}" for it in declared_left(view)
    )


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
