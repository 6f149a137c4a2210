"""Can pods have all the GPUs that a node should offer? Told by the watch, judged after a grace.

A device plugin that starts, a driver that is loaded or a GPU that is divided anew takes GPUs away
for minutes; what lasts for ``grace_s`` in one boot is a fault of the node: too few are allocatable.
Its end is seen on the Node, and is what mends it. Thread-safe: the watch tells, the loop asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.clock import Clock
from konduktor_health.core.gpus import expected_gpus, missing_gpus
from konduktor_health.core.ledger import Ledger
from konduktor_health.evidence import RepairSeen
from konduktor_health.model import Fault, Keys, NodeView, Remedy, Severity, Trust
from konduktor_health.treatment import ALLOCATABLE, Repair

GRACE_S = 600.0
SOURCE = "controller"
_KEY = ("", ALLOCATABLE)

LedgerOf = Callable[[NodeView], Ledger]


@dataclass(slots=True)
class _Short:
    """A node that offers too few GPUs. ``since_s``: monotonic."""

    boot_id: str
    since_s: float
    told: bool = False


class AllocatableGpus:
    """Nodes that offer fewer GPUs than they should."""

    def __init__(self, *, clock: Clock, keys: Keys, grace_s: float = GRACE_S) -> None:
        self._clock = clock
        self._keys = keys
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._short: dict[str, _Short] = {}
        self._well: set[str] = set()  # that carry a ledger, and offer all again

    def changed(self, _old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        with self._lock:
            if new is None:
                if _old is not None:
                    self._short.pop(_old.name, None)
                    self._well.discard(_old.name)
                return
            if missing_gpus(new, self._keys):
                self._well.discard(new.name)
                known = self._short.get(new.name)
                if known is None or known.boot_id != new.boot_id:
                    self._short[new.name] = _Short(new.boot_id, self._clock.monotonic())
                return
            self._short.pop(new.name, None)
            if new.ledger is not None and new.gpu_allocatable is not None:
                self._well.add(new.name)

    def faults(self, nodes: Mapping[str, NodeView], ledger_of: LedgerOf) -> list[Fault]:
        """Nodes whose grace is over, once each."""
        now_s = self._clock.monotonic()
        with self._lock:
            ripe = [
                (name, short)
                for name, short in self._short.items()
                if not short.told and now_s - short.since_s >= self._grace_s
            ]
            for _, short in ripe:
                short.told = True
        found = []
        for name, short in ripe:
            view = nodes.get(name)
            if view is not None and not _is_open(ledger_of(view), short.boot_id):
                found.append(self._fault(view, short))
        return found

    def ended(
        self, nodes: Mapping[str, NodeView], ledger_of: LedgerOf
    ) -> Iterable[tuple[str, RepairSeen]]:
        """Nodes that offer all their GPUs again while the fault is open."""
        with self._lock:
            well, self._well = self._well, set()
        now_ns = self._clock.now_ns()
        for name in well:
            view = nodes.get(name)
            record = ledger_of(view).record(_KEY) if view is not None else None
            if view is not None and record is not None and not record.repairs:
                yield name, RepairSeen(Repair.END, "", now_ns, view.boot_id, ends=(ALLOCATABLE,))

    def _fault(self, view: NodeView, short: _Short) -> Fault:
        now_ns, expected = self._clock.now_ns(), expected_gpus(view, self._keys)
        return Fault(
            fault_id=ALLOCATABLE,
            severity=Severity.DEGRADED,
            remedy=Remedy.INSPECT,
            node=view.name,
            time_ns=now_ns,
            event_ns=now_ns,
            boot_id=short.boot_id,
            identity=f"{view.uid}/{short.boot_id}/{now_ns}",
            source=SOURCE,
            trust=Trust.PROBE,
            text=f"pods can have {view.gpu_allocatable} of {expected} GPUs",
        )


def _is_open(ledger: Ledger, boot_id: str) -> bool:
    """It was told before, by this process or another one, and has not ended since."""
    record = ledger.record(_KEY)
    return record is not None and record.boot_id == boot_id and not record.repairs
