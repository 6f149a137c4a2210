"""Which nodes are ours to manage?

A node matches the selector or has GPU capacity, or did so earlier under this Node UID, or
carries our taint or ledger. Only the opt-out label or deletion ends it: a node whose GPUs
vanish is not thereby unmanaged. Budgets count this set.
"""

from __future__ import annotations

from collections.abc import Container

from konduktor_health.core.reset import needs_reset
from konduktor_health.model import Keys, NodeView


def opted_out(view: NodeView) -> bool:
    """The opt-out label says so. Any other value of it means nothing (and is warned about)."""
    return view.managed_label == "false"


def odd_label(view: NodeView) -> bool:
    """The opt-out label has a value that means nothing."""
    return view.managed_label not in (None, "false", "true")


def is_managed(view: NodeView, keys: Keys, remembered: Container[str] = ()) -> bool:
    """``remembered`` holds UIDs of nodes that were managed before."""
    if opted_out(view):
        return False
    return (
        view.selected or view.gpu_capacity > 0 or view.uid in remembered or needs_reset(view, keys)
    )
