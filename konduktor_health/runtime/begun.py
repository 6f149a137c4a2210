"""On which nodes has which fault begun within the surge window? What mass events are found by.

Kept is what may act, and what would write a record on each of many nodes. What counts is when we
heard of it: after an outage a mass event arrives late, and at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from konduktor_health.core.fold import SightingKey
from konduktor_health.core.ledger import Ledger
from konduktor_health.model import Fault, Severity, Trust
from konduktor_health.timestamps import NS

_MASS = frozenset({Severity.FATAL, Severity.DEGRADED})  # severities that can be a mass event


class Begun:
    """When faults began, by fault id and node. Used by one thread."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = int(window_s * NS)
        self._since: dict[str, dict[str, int]] = {}  # fault id -> node -> when it began, ns

    def use(self, window_s: float) -> None:
        """Look so far back from now on. What a shorter window has forgotten does not come back."""
        self._window_ns = int(window_s * NS)

    def note(
        self, fault: Fault, name: str, pending: Iterable[SightingKey], ledger: Ledger, now_ns: int
    ) -> None:
        """A fault that may act was heard of. ``pending``: what the node shows already."""
        if fault.severity not in _MASS or fault.trust is Trust.POD:
            return
        known = any(key[1] == fault.fault_id for key in pending) or any(
            record.fault_id == fault.fault_id for record in ledger.records
        )
        if not known:
            self._since.setdefault(fault.fault_id, {}).setdefault(name, now_ns)

    def now(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Per fault id the nodes on which it began within the window, and when (Unix ns)."""
        oldest = now_ns - self._window_ns
        for fault_id, nodes in list(self._since.items()):
            for name in [name for name, began_ns in nodes.items() if began_ns < oldest]:
                del nodes[name]
            if not nodes:
                del self._since[fault_id]
        return self._since
