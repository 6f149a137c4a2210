"""Do faults on several nodes point at what these nodes share? Pure.

Nodes that share a fabric, a rack or a switch carry the same value of a label (``policy.domains``).
Where enough nodes of one value show one kind of fault within the surge window, the domain is
suspected. That is told and acts on nothing: each node is decided by its own evidence, and a mass of
them is held by surge and budget.

A node counts once, however many of its devices show faults: those of one NVSwitch concern its own
node only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from konduktor_health.model import NodeView

MIN_NODES = 2
#: Share of the domain's managed nodes that show the faults, percent, rounded up: two nodes of a
#: rack of 18 are a sign, two of a zone of 500 are none.
MIN_PERCENT = 10.0
MOST_NAMED = 5  # nodes in a message

#: Kinds of fault, by fault id; the first that fits. What is left is of one node alone.
_KINDS = (
    ("NVLink", re.compile(r"xid/(74|14[4-9]|150|155)|sxid/.*|kernel/nvlink-.*|probe/.*nvlink.*")),
    ("network", re.compile(r"kernel/mlx5-.*|kernel/ib-.*|probe/(network-.*|ping|.*(rdma|ib).*)")),
    ("GPU", re.compile(r"xid/.*|kernel/gpu-.*|probe/.*")),
    ("hardware", re.compile(r"kernel/(pcie-|hardware-error|machine-check|edac).*")),
)


@dataclass(frozen=True, slots=True)
class DomainSuspect:
    """Nodes with one value of a label that show one kind of fault."""

    label: str
    value: str
    kind: str
    nodes: tuple[str, ...]  # that show it, by name
    size: int  # managed nodes of the domain
    since_ns: int  # event time of the oldest of the faults

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by while it lasts."""
        return (self.label, self.value, self.kind)

    @property
    def message(self) -> str:
        """One sentence for people."""
        shared = "the fabric" if self.kind == "NVLink" else f"what {self.label} stands for"
        return (
            f"{len(self.nodes)} of {self.size} nodes of {self.label}={self.value} show "
            f"{self.kind} faults: suspect {shared}"
        )

    @property
    def named(self) -> str:
        """The nodes, the first of them by name."""
        shown = ", ".join(self.nodes[:MOST_NAMED])
        return shown + (f" and {len(self.nodes) - MOST_NAMED} more" if self.nodes[5:] else "")


@lru_cache(maxsize=1024)  # ids are hostile: a cache without an end would grow
def kind_of(fault_id: str) -> str | None:
    """The kind of a fault that may come from what nodes share; None: of the node alone."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(fault_id)), None)


def suspects(
    seen: Mapping[str, Mapping[str, int]], views: Iterable[NodeView], labels: Iterable[str]
) -> tuple[DomainSuspect, ...]:
    """The suspected domains. ``seen``: per kind the nodes that show it within the window, with
    the event time (ns) of the first fault; ``views``: all managed nodes."""
    wanted = frozenset(labels)
    if not wanted or all(len(nodes) < MIN_NODES for nodes in seen.values()):
        return ()
    sizes: Counter[tuple[str, str]] = Counter()
    members: dict[tuple[str, str, str], list[str]] = {}
    for view in views:
        for pair in view.labels:
            if pair[0] not in wanted:
                continue
            sizes[pair] += 1
            for kind, nodes in seen.items():
                if view.name in nodes:
                    members.setdefault((*pair, kind), []).append(view.name)
    found = [
        DomainSuspect(
            label,
            value,
            kind,
            tuple(sorted(names)),
            sizes[label, value],
            _oldest(seen[kind], names),
        )
        for (label, value, kind), names in members.items()
        if len(names) >= _threshold(sizes[label, value])
    ]
    return tuple(sorted(found, key=lambda each: each.key))


def _threshold(size: int) -> int:
    return max(MIN_NODES, math.ceil(round(size * MIN_PERCENT / 100, 6)))


def _oldest(times: Mapping[str, int], names: Iterable[str]) -> int:
    return min(times[name] for name in names)
