"""Which nodes say nothing, and which of them may be told so on the Node?

Silence accuses nobody and heals nothing. It is told on a Node only where it is that node's own:
while at most ``unobserved_percent`` of its pool is silent (rounded up, so that one node may always
be). More than that is a common cause, told once for all, and so is a source that cannot be read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.core.pools import pool_of
from konduktor_health.model import DEFAULT_POOL, NodeView, Policy
from konduktor_health.timestamps import NS


@dataclass(frozen=True, slots=True)
class Unobserved:
    """What is silent now."""

    silent: frozenset[str] = frozenset()  # every node not heard for ``unobserved_after_s``
    shown: frozenset[str] = frozenset()  # those that are told so on the Node
    crowded: frozenset[str] = frozenset()  # pools of which too many are silent


def unobserved_nodes(
    views: Iterable[NodeView],
    silent_since_ns: Mapping[str, int],
    policy: Policy,
    now_ns: int,
    *,
    excused: Container[str] = frozenset(),
) -> Unobserved:
    """The silent ones of these nodes.

    ``silent_since_ns``: when each was heard last, Unix ns, or when its time to be heard began; a
    node that is left out is not silent. ``excused``: silent for a reason that is not the node's
    (its source is not read); they count in their pool and are never shown.
    """
    after_ns = int(policy.unobserved_after_s * NS)
    sizes: Counter[str] = Counter()
    silent: dict[str, list[str]] = {}
    for view in views:
        pool = pool_of(view, policy).name if policy.pools else DEFAULT_POOL
        sizes[pool] += 1
        since_ns = silent_since_ns.get(view.name)
        if since_ns is not None and now_ns - since_ns >= after_ns:
            silent.setdefault(pool, []).append(view.name)
    crowded = {
        pool
        for pool, names in silent.items()
        if len(names) > may_be_shown(sizes[pool], policy.unobserved_percent)
    }
    return Unobserved(
        silent=frozenset(name for names in silent.values() for name in names),
        shown=frozenset(
            name
            for pool, names in silent.items()
            if pool not in crowded
            for name in names
            if name not in excused
        ),
        crowded=frozenset(crowded),
    )


def may_be_shown(nodes: int, percent: float) -> int:
    """So many silent nodes of a pool of this size are each node's own trouble."""
    return max(1, math.ceil(round(nodes * percent / 100, 6)))
