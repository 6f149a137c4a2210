"""Which nodes do pods elsewhere name as the peer that failed them? Notes, in memory.

A pod's line proves nothing, about its own node or another: notes open no record and are no reason
of a taint. They support what the kernel or a probe has said of the accused node. Pods of one node
count once; a node is not accused by its own pods. Bounded, and forgotten after a while.
"""

from __future__ import annotations

from collections import OrderedDict

from konduktor_health.timestamps import NS

WINDOW_NS = 1800 * NS
MOST_ACCUSED = 1000
MOST_ACCUSERS = 64  # of one node


class PeerNotes:
    """Who was accused by whom lately. Used by one thread."""

    def __init__(self) -> None:
        self._accused: OrderedDict[str, dict[str, int]] = OrderedDict()

    def note(self, accused: str, accuser: str, time_ns: int) -> None:
        """A pod on ``accuser`` names ``accused`` (log time, Unix ns)."""
        if accused == accuser:
            return
        accusers = self._accused.setdefault(accused, {})
        self._accused.move_to_end(accused)
        accusers[accuser] = max(time_ns, accusers.get(accuser, 0))
        if len(accusers) > MOST_ACCUSERS:
            del accusers[min(accusers, key=lambda each: accusers[each])]
        if len(self._accused) > MOST_ACCUSED:
            self._accused.popitem(last=False)

    def accusers(self, node: str, now_ns: int) -> int:
        """How many other nodes' pods have named this one lately."""
        times = self._accused.get(node, {}).values()
        return sum(1 for time_ns in times if now_ns - time_ns <= WINDOW_NS)

    def remarks(self, node: str, now_ns: int) -> tuple[str, ...]:
        """The notes about a node as a sentence."""
        count = self.accusers(node, now_ns)
        if not count:
            return ()
        where = "1 other node" if count == 1 else f"{count} other nodes"
        return (f"pods on {where} name this node as the peer that failed (supports, never acts)",)

    def forget(self, node: str) -> None:
        """The node is gone, is another one, or somebody has vouched for it."""
        self._accused.pop(node, None)
