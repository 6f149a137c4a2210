"""Which shard does a node belong to?

A shard is the nodes that have one value of one label. A node without the label belongs to the
shard with the empty value: each node belongs to exactly one, whatever its labels are. A shard has
a controller, a Lease and a state of its own, and knows nothing of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.model import NodeView


@dataclass(frozen=True, slots=True)
class Shard:
    """One controller's share of the nodes. Without a label: all of them."""

    label: str = ""
    value: str = ""

    def has(self, view: NodeView) -> bool:
        """The node belongs to this shard."""
        return not self.label or dict(view.labels).get(self.label, "") == self.value

    def name(self, name: str) -> str:
        """The name of the shard's own object: Lease or ConfigMap."""
        return f"{name}-{self.value}" if self.value else name
