"""What tells of a node beside its log? Checks, other nodes, the agent's word, the Node itself.

What is found so is kept as what a line says (``Observer``), but for one thing: no log has to be
read for it again after a crash. Agents tell their results again, and the Node is as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from konduktor_health.core.corroboration import is_asked
from konduktor_health.core.fold import already_counted
from konduktor_health.core.ledger import Ledger
from konduktor_health.model import Fault, NodeView, RepairSeen
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.allocatable import AllocatableGpus
from konduktor_health.runtime.attesting import Attesting
from konduktor_health.runtime.diagnoses import DiagnosisWatch
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.probes import ProbeWatch

LedgerOf = Callable[[NodeView], Ledger]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found since the last look."""

    faults: tuple[Fault, ...] = ()
    repairs: tuple[tuple[str, RepairSeen], ...] = ()
    answered: frozenset[str] = frozenset()  # nodes whose agent has answered about lines
    measured: frozenset[str] = frozenset()  # nodes with new results, or an agent more or less
    unlabelled: frozenset[str] = frozenset()  # nodes whose labels say something else


@dataclass(frozen=True, slots=True)
class Beside:
    """The parts that are there. Used by one thread."""

    probes: ProbeWatch | None = None
    attesting: Attesting | None = None
    allocatable: AllocatableGpus | None = None
    diagnoses: DiagnosisWatch | None = None
    pairs: PairFindings | None = None

    def look(
        self,
        nodes: Mapping[str, NodeView],
        ledger_of: LedgerOf,
        is_pending: Callable[[Fault], bool],
    ) -> Found:
        """What is new. ``is_pending``: its lines wait for a decision anyway."""
        faults: list[Fault] = []
        repairs: tuple[tuple[str, RepairSeen], ...] = ()
        answered: set[str] = set()
        measured: set[str] = set()
        if self.probes is not None:
            faults += self.probes.faults(len(nodes))
            measured = self.probes.due(nodes.keys())
        if self.pairs is not None:
            faults += self.pairs.faults()
        if self.allocatable is not None:
            faults += self.allocatable.faults(nodes, ledger_of)
            repairs = tuple(self.allocatable.ended(nodes, ledger_of))
        if self.attesting is not None:
            answered, confirmed = self.attesting.take()
            faults += (fault for fault in confirmed if not is_pending(fault))
        here = tuple(fault for fault in faults if fault.node in nodes)
        unlabelled = self.diagnoses.due(nodes) if self.diagnoses is not None else ()
        return Found(here, repairs, frozenset(answered), frozenset(measured), frozenset(unlabelled))

    def ask(
        self, faults: Iterable[Fault], view: NodeView, entry: LogEntry, ledger_of: LedgerOf
    ) -> None:
        """Have the node's agent say whether its kernel has logged this line."""
        if self.attesting is None:
            return
        for fault in faults:
            if not already_counted(ledger_of(view), fault, view.boot_id):
                self.attesting.ask(view.name, view.boot_id, fault, entry.record)

    def asks(self, fault: Fault) -> bool:
        """Whether each line of this fault is handed to ``ask``'s agents, however often it comes: a
        forged one may come before the kernel's own."""
        return self.attesting is not None and is_asked(fault)

    def forget(self, name: str) -> None:
        """The node is gone, or another one."""
        if self.attesting is not None:
            self.attesting.forget(name)
