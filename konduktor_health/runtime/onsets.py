"""On which nodes has which fault begun lately, so that it may be a mass event?

What may act counts, and what would write a record on each of many nodes: fatal and degraded faults
that the node did not have. It counts from when we heard of it: after an outage a mass event arrives
late, and at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from konduktor_health.timestamps import NS


class Onsets:
    """Per fault id the nodes on which it began within the window. Used by one thread."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = int(window_s * NS)
        self._began: dict[str, dict[str, int]] = {}  # fault id -> node -> when, Unix ns

    def use(self, window_s: float) -> None:
        """Look back so far from now on. What a shorter window has forgotten does not come back."""
        self._window_ns = int(window_s * NS)

    def note(self, fault_id: str, node: str, now_ns: int) -> None:
        """It begins now, unless it has begun before."""
        self._began.setdefault(fault_id, {}).setdefault(node, now_ns)

    def now(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Those within the window."""
        oldest = now_ns - self._window_ns
        for fault_id, nodes in list(self._began.items()):
            for name in [name for name, began_ns in nodes.items() if began_ns < oldest]:
                del nodes[name]
            if not nodes:
                del self._began[fault_id]
        return self._began
