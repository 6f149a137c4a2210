"""Is this node to be left alone now, and why? Holds outside the budget.

A pause holds new effects, never the clearing of one and never the record of what is seen
(docs/concepts/safety.md 4). The first reason that applies is told.
"""

from __future__ import annotations

from konduktor_health.model import Hold, NodeView, Policy


def pause_of(view: NodeView, policy: Policy, now_ns: int, boot_noticed_ns: int = 0) -> Hold | None:
    """The hold that keeps effects from this node now; None: none does."""
    del view, policy, now_ns, boot_noticed_ns
    return None
