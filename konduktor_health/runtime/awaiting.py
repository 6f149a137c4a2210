"""How many tainted nodes wait for what, and since when? Kept by changes of their ledgers.

Invariants: a node counts once for each kind of thing that it waits for; what a node waits for has
been waited for since the earliest of its records; work per change does not depend on the number of
nodes. Not thread-safe: ``Fleet`` is.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.clearing import OBSERVATION, OPERATOR, QUIET, REPAIR
from konduktor_health.core.operators_record import is_operators
from konduktor_health.core.reset import our_taints
from konduktor_health.core.wording import PROBE
from konduktor_health.model import Keys, NodeView

#: Whatever a probe's name is: names come from the policy, and are no label of a metric.
ANY_PROBE = "probe"
KINDS = (OPERATOR, REPAIR, QUIET, OBSERVATION, ANY_PROBE)

_Waits = Mapping[str, int]  # kind -> since (Unix ns; 0: not known)


@dataclass(slots=True)
class _Line:
    """The nodes that wait for one kind of thing, the oldest at hand."""

    since_ns: dict[str, int] = field(default_factory=dict)
    heap: list[tuple[int, str]] = field(default_factory=list)  # may hold some that wait no longer

    def put(self, name: str, since_ns: int) -> None:
        """The node waits since then."""
        if self.since_ns.get(name) == since_ns:
            return
        self.since_ns[name] = since_ns
        if not since_ns:
            return
        heapq.heappush(self.heap, (since_ns, name))
        if len(self.heap) > 2 * len(self.since_ns) + 16:
            self.heap = [(time_ns, node) for node, time_ns in self.since_ns.items() if time_ns]
            heapq.heapify(self.heap)

    def oldest_ns(self) -> int:
        """Since when the one waits that waits longest; 0: none does, or none says since when."""
        while self.heap:
            since_ns, name = self.heap[0]
            if self.since_ns.get(name) == since_ns:
                return since_ns
            heapq.heappop(self.heap)
        return 0


class Awaiting:
    """What the tainted nodes wait for."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[str, str | None] = {}  # node with our taint -> its ledger
        self._lines = {kind: _Line() for kind in KINDS}

    def put(self, view: NodeView) -> None:
        """A managed node is new, or as it is now."""
        if not our_taints(view, self._keys):
            self.drop(view.name)
            return
        if view.name in self._known and self._known[view.name] == view.ledger:
            return
        self._known[view.name] = view.ledger
        waits = _waits_of(view)
        for kind, line in self._lines.items():
            if kind in waits:
                line.put(view.name, waits[kind])
            else:
                line.since_ns.pop(view.name, None)

    def drop(self, name: str) -> None:
        """A node is gone, no longer managed, or without our taint."""
        if name in self._known:
            del self._known[name]
            for line in self._lines.values():
                line.since_ns.pop(name, None)

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """Of each kind: how many nodes wait for it, and since when the first of them does (Unix
        ns; 0: not known)."""
        return {kind: (len(line.since_ns), line.oldest_ns()) for kind, line in self._lines.items()}


def _waits_of(view: NodeView) -> _Waits:
    """Of a node with our taint. What no ledger explains, and what an operator said, waits for a
    person."""
    ledger, corrupt = read_ledger(view)
    waits: dict[str, int] = {}
    for record in ledger.records:
        for each in record.missing:
            kind = ANY_PROBE if each.what.startswith(PROBE) else each.what
            if kind in KINDS:
                waits[kind] = min(waits.get(kind, each.since_ns), each.since_ns)
        if is_operators(record) and not record.missing:
            waits[OPERATOR] = min(waits.get(OPERATOR, record.first_ns), record.first_ns)
    if corrupt or not ledger.owned or not ledger.records:
        waits.setdefault(OPERATOR, ledger.tainted_ns)
    return waits
