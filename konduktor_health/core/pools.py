"""Which pool does a node belong to? The first that takes it; a pool is what a budget is for.

A pool is named by a selector or by a label. A label makes one pool of each of its values, so that
its name ends with the value: ``zone/eu-1``. These pools have a share of their own each, and have
in common what else bounds them (``family``): otherwise a label that every node has a value of its
own for would be no bound at all.
"""

from __future__ import annotations

import math

from konduktor_health.frozen import replace
from konduktor_health.model import NodeView, Policy, Pool


def pool_of(view: NodeView, policy: Policy) -> Pool:
    """The node's pool; ``default`` where no other takes it."""
    labels = dict(view.labels) if policy.pools else {}
    for pool in policy.pools:
        if pool.nodes is not None and not pool.nodes.matches(labels):
            continue
        if not pool.label:
            return pool
        if pool.label in labels:
            return replace(pool, name=f"{pool.name}/{labels[pool.label]}")
    return policy.default_pool()


def family(pool: Pool) -> str:
    """What the pools of one label have in common: the name that the policy gives them."""
    return pool.name.rpartition("/")[0] if pool.label else pool.name


def driver_of(view: NodeView, policy: Policy) -> str:
    """The version of the node's driver, as its labels say; "" where none does."""
    return next((value for each in policy.driver_labels if (value := view.label(each))), "")


def share(nodes: int, percent: float) -> int:
    """Rounded up, but not because 1.1 * 1000 is a little more than 1100."""
    return math.ceil(round(nodes * percent / 100, 6))
