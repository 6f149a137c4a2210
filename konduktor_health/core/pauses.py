"""Is this node to be left alone now, and why? Holds outside the budget.

A pause holds new effects, never the clearing of one and never the record of what is seen
(docs/concepts/safety.md 4). The first reason that applies is told: what people said first, then
what others do with the node, then its age. When it ends, the node is decided on as it is then.
"""

from __future__ import annotations

from collections.abc import Iterable

from konduktor_health.core.declared import Declared, parse_declared
from konduktor_health.frozen import replace
from konduktor_health.model import Hold, HoldReason, NodeView, Policy
from konduktor_health.timestamps import NS, rfc3339
from parsers.printable import printable

#: The reasons of this module.
PAUSES = frozenset(
    {
        HoldReason.OPERATOR,
        HoldReason.MAINTENANCE,
        HoldReason.SCALE_DOWN,
        HoldReason.DRIVER_UPGRADE,
        HoldReason.START_UP,
        HoldReason.CORDONED,
    }
)
_SHOWN = 63  # characters of a label's value or a name


def held_by_operator(view: NodeView, now_ns: int) -> Declared | None:
    """An operator wants nothing to change, neither for the worse nor for the better; None: nobody
    holds the node now. A hold begins when it is written: a later ``since`` is of another clock."""
    declared = parse_declared(view.hold)
    if declared is None or not replace(declared, since_ns=0).holds(now_ns):
        return None
    return declared


def pause_of(view: NodeView, policy: Policy, now_ns: int, boot_noticed_ns: int = 0) -> Hold | None:
    """The hold that keeps effects from this node now; None: none does. ``boot_noticed_ns``: when
    its newest boot was noticed, 0: not known. ``until_ns`` of the Hold is the end, where there
    is one; without it the node is looked at again when it changes."""
    return (
        _told(view, HoldReason.OPERATOR, "held by an operator", held_by_operator(view, now_ns))
        or _told(view, HoldReason.MAINTENANCE, "maintenance", _maintenance(view, now_ns))
        or _window(view, policy, now_ns)
        or _scale_down(view, policy)
        or _driver_upgrade(view, policy)
        or _start_up(view, policy, now_ns, boot_noticed_ns)
        or _cordoned(view, policy)
    )


def _maintenance(view: NodeView, now_ns: int) -> Declared | None:
    declared = parse_declared(view.maintenance)
    return declared if declared is not None and declared.holds(now_ns) else None


def _told(view: NodeView, reason: HoldReason, what: str, declared: Declared | None) -> Hold | None:
    if declared is None:
        return None
    until = "" if declared.until_ns is None else f" until {rfc3339(declared.until_ns)}"
    why = f": {declared.reason}" if declared.reason else ""
    return Hold(view.name, reason, f"{what}{until}{why}", declared.until_ns)


def _window(view: NodeView, policy: Policy, now_ns: int) -> Hold | None:
    """The declared window that lasts longest of those that are open for this node."""
    if not policy.pauses.windows:
        return None
    labels = dict(view.labels)
    windows = [
        each
        for each in policy.pauses.windows
        if each.start_ns <= now_ns < each.end_ns
        and (each.nodes is None or each.nodes.matches(labels))
    ]
    if not windows:
        return None
    last = max(windows, key=lambda each: each.end_ns)
    name = printable(last.name, _SHOWN)
    message = f"maintenance window {name} until {rfc3339(last.end_ns)}"
    return Hold(view.name, HoldReason.MAINTENANCE, message, last.end_ns)


def _scale_down(view: NodeView, policy: Policy) -> Hold | None:
    for taint in view.taints:
        if taint.key in policy.pauses.deletion_taints:
            message = f"an autoscaler removes the node (taint {taint.key})"
            return Hold(view.name, HoldReason.SCALE_DOWN, message)
    return None


def _driver_upgrade(view: NodeView, policy: Policy) -> Hold | None:
    label = policy.pauses.driver_upgrade_label
    state = view.label(label)
    if not state or state in policy.pauses.driver_idle:
        return None
    message = f"the driver is being upgraded ({label}={printable(state, _SHOWN)})"
    return Hold(view.name, HoldReason.DRIVER_UPGRADE, message)


def _start_up(view: NodeView, policy: Policy, now_ns: int, boot_noticed_ns: int) -> Hold | None:
    graces: Iterable[tuple[str, int, float]] = (
        ("the Node is new", view.created_ns, policy.pauses.start_up_s),
        ("the node has just booted", boot_noticed_ns, policy.pauses.after_boot_s),
    )
    ends = [
        (began_ns + int(grace_s * NS), what)
        for what, began_ns, grace_s in graces
        # one that began in the future is of another clock; it lasts no longer for that
        if began_ns and abs(now_ns - began_ns) < int(grace_s * NS)
    ]
    if not ends:
        return None
    until_ns, what = max(ends)
    return Hold(
        view.name, HoldReason.START_UP, f"{what}; grace until {rfc3339(until_ns)}", until_ns
    )


def _cordoned(view: NodeView, policy: Policy) -> Hold | None:
    if not (policy.pauses.foreign_cordon and view.unschedulable):
        return None
    return Hold(view.name, HoldReason.CORDONED, "somebody else has cordoned the node")
