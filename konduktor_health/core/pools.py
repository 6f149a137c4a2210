"""Which pool does a node belong to? The first that takes it; a pool is what a budget is for.

A pool is named by a selector or by a label. A label makes one pool of each of its values, so that
its name ends with the value: ``zone/eu-1``.
"""

from __future__ import annotations

from dataclasses import replace

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
