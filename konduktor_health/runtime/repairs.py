"""Which repairs have the kernels of the nodes told of? Proofs in, the newest of each kind out.

Invariants:
- What the parsers take for no proof (a program's line, a pod's line) is no repair here.
- Of one kind, device and boot only the newest counts: a repair mends what happened before it.
- A repair outlives its settlement: the log is read again for hours (docs/concepts/log-reading.md),
  and a line of before the repair that is first read after it must find it.
- Bounded per node, and by time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from konduktor_health.model import Fault, RepairSeen
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Repair
from parsers.proofs import ProofKind, proof_of
from parsers.tables import Tables

#: How late a line may be found: the deep scan looks back 6 hours, and takes its time.
KEPT_NS = 7 * 3600 * NS
#: Most repairs of one node: 16 GPUs, each with several states that end.
MOST_PER_NODE = 64

_KINDS = {
    ProofKind.DRIVER_LOADED: Repair.GPU_RESET,
    ProofKind.GPU_RESET: Repair.GPU_RESET,
    ProofKind.RECOVERY_NONE: Repair.DRIVER_NONE,
    ProofKind.ENDED: Repair.END,
}

_What = tuple[Repair, str, str, tuple[str, ...], tuple[tuple[str, str], ...]]


def repair_of(fault: Fault, read: Tables) -> RepairSeen | None:
    """The repair that a decoded line proves, or None. Raises CatalogError for damaged data."""
    proof = proof_of(fault, read)
    if proof is None:
        return None
    return RepairSeen(
        kind=_KINDS[proof.kind],
        device=proof.device,
        event_ns=fault.event_ns or fault.time_ns,
        boot_id=fault.boot_id,
        ends=proof.ends,
        place=proof.place,
    )


@dataclass(frozen=True, slots=True)
class _Noted:
    repair: RepairSeen
    at_ns: int


class Repairs:
    """The newest repairs of each node. Used by one thread."""

    def __init__(self, *, most: int = MOST_PER_NODE) -> None:
        self._most = most
        self._nodes: dict[str, dict[_What, _Noted]] = {}

    def note(self, node: str, repair: RepairSeen, now_ns: int) -> bool:
        """Keep a repair; False when one as new is known."""
        known = self._nodes.setdefault(node, {})
        what = (repair.kind, repair.device, repair.boot_id, repair.ends, repair.place)
        before = known.get(what)
        if before is not None and before.repair.event_ns >= repair.event_ns:
            return False
        known[what] = _Noted(repair, now_ns)
        if len(known) > self._most:
            del known[min(known, key=lambda each: known[each].repair.event_ns)]
        return what in known

    def of(self, names: Iterable[str], now_ns: int) -> dict[str, tuple[RepairSeen, ...]]:
        """The repairs of these nodes, oldest first."""
        found = {name: self._current(name, now_ns) for name in names if name in self._nodes}
        return {name: repairs for name, repairs in found.items() if repairs}

    def forget(self, node: str) -> None:
        """The node is gone, or another one."""
        self._nodes.pop(node, None)

    def _current(self, node: str, now_ns: int) -> tuple[RepairSeen, ...]:
        known = self._nodes[node]
        for what in [what for what, each in known.items() if each.at_ns < now_ns - KEPT_NS]:
            del known[what]
        if not known:
            del self._nodes[node]
        return tuple(sorted((each.repair for each in known.values()), key=_when))


def _when(repair: RepairSeen) -> tuple[int, str, str]:
    return (repair.event_ns, repair.kind.value, repair.device)
