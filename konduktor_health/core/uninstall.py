"""What of ours is on a Node, and which changes take all of it away?

Every taint with our key goes (adopted ones too), our annotations, the health label and the
condition. The label ``managed`` is the user's own and stays; Autopilot's labels and annotations
stay unless they are said to be ours. Nothing else is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from konduktor_health.core.labels import AUTOPILOT, is_diagnosis
from konduktor_health.core.reset import our_taints
from konduktor_health.model import Keys, NodeEdit, NodeView


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be taken off one Node. ``edit`` None: nothing but the condition."""

    node: str
    edit: NodeEdit | None
    condition: bool
    names: tuple[str, ...]  # in words, as it is found


def plan_removal(view: NodeView, keys: Keys, *, autopilot: bool = False) -> Removal | None:
    """What takes everything of ours off a Node; None when there is nothing. ``autopilot``:
    Autopilot's too, for a cluster in which they were ours (``policy.autopilot_labels``)."""
    taints = our_taints(view, keys)
    annotations = [
        key
        for key, there in (
            (keys.ledger, view.ledger is not None),
            (keys.ledger_corrupt, view.ledger_corrupt),
            (keys.reset_at, view.reset_at is not None),
            (keys.hold, view.hold is not None),
            (keys.maintenance, view.maintenance is not None),
            (keys.testing, view.testing is not None),
        )
        if there
    ]
    if autopilot:
        annotations += [key for key, _ in view.diagnosed]
    labels = [(keys.health, view.health_label)] if view.health_label is not None else []
    labels += [pair for pair in view.labels if pair[0] == keys.testing]
    if autopilot:
        labels += [pair for pair in view.labels if pair[0] == AUTOPILOT or is_diagnosis(pair[0])]
    condition = view.condition is not None
    names = [f"taint {taint.key}={taint.value}:{taint.effect}" for taint in taints]
    names += [f"annotation {key}" for key in annotations]
    names += [f"label {key}={value}" for key, value in labels]
    if condition:
        names.append(f"condition {keys.condition}")
    if not names:
        return None
    edit = NodeEdit(
        remove_taints=taints,
        annotations=dict.fromkeys(annotations),
        labels={key: None for key, _ in labels},
    )
    changes = taints or annotations or labels
    return Removal(view.name, edit if changes else None, condition, tuple(names))


def opted(views: Iterable[NodeView]) -> tuple[str, ...]:
    """Nodes with the label ``managed``: whoever set it takes it away."""
    return tuple(view.name for view in views if view.managed_label is not None)


def other_prefixes(views: Iterable[NodeView], keys: Keys) -> tuple[str, ...]:
    """Domains other than ours of taints that look like ours: another ``cluster.key_prefix``?"""
    name = keys.taint.removeprefix(keys.prefix)
    found = {
        taint.key.removesuffix(name)
        for view in views
        for taint in view.taints
        if taint.key.endswith(name) and taint.key != keys.taint and taint.value == "true"
    }
    return tuple(sorted(found))
