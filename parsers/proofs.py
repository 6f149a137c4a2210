"""Which repair does this Fault prove? Markers and ends of states, told by the kernel itself.

A proof lets a layer above close what was open before it, so that only what the kernel states in its
own log is one. None for what a program wrote there, for pods' lines, for lines that only a program
prints, and for heads that cannot be read to the end (severity unknown). What was proven before the
fault happened proves nothing: comparing the times is the caller's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from parsers import catalog, tables
from parsers.fault import Fault, Severity, Trust
from parsers.places import place_of
from parsers.tables import Tables

_DIRECTIVE = "xid/154"
_NOTHING_TO_DO = "0"  # the new value of the directive that asks for nothing
_OF_THE_KERNEL = (Trust.KERNEL, Trust.ATTESTED)


class ProofKind(Enum):
    """What has been done, or has ended. The first two as a rule's ``proves`` says them."""

    DRIVER_LOADED = "driver-loaded"
    GPU_RESET = "gpu-reset"
    RECOVERY_NONE = "recovery-none"  # Xid 154: the driver asks for nothing any more
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Proof:
    """A repair, or the end of a state, on one node; ``device`` "" is the whole node."""

    kind: ProofKind
    node: str
    device: str
    time_ns: int  # log time, Unix nanoseconds
    ends: tuple[str, ...] = ()  # ENDED: the fault ids of which this is the end
    place: tuple[tuple[str, str], ...] = ()  # details that the ended fault has to share


def proof_of(fault: Fault, read: Tables | None = None) -> Proof | None:
    """The proof that this Fault carries, or None. ``read``: the tables that it was decoded with;
    default: the shipped ones. Raises CatalogError for damaged data files."""
    if fault.injected or fault.trust not in _OF_THE_KERNEL or fault.severity is Severity.UNKNOWN:
        return None
    if fault.fault_id == _DIRECTIVE:
        done = fault.detail.get("to") == _NOTHING_TO_DO
        return _proof(ProofKind.RECOVERY_NONE, fault) if done else None
    rule = (read or tables.shipped()).kernel.rule(fault.fault_id)
    if rule is not None and rule.printed_by != "kernel":
        return None
    if rule is not None and rule.proves:
        return _proof(ProofKind(rule.proves), fault)
    ends = _ended_by(fault.fault_id)
    return _proof(ProofKind.ENDED, fault, ends) if ends else None


@lru_cache(maxsize=1024)  # asked for each line; ids are hostile: a cache has to have an end
def _ended_by(fault_id: str) -> tuple[str, ...]:
    """The fault ids whose state such a line ends."""
    relations = catalog.relations(fault_id)
    return tuple(each.fault_id for each in relations if each.kind == "clears")


def ends(proof: Proof, fault: Fault) -> bool:
    """Whether this is the end of the state that the Fault began: same node, device and place."""
    same = (fault.node, fault.device) == (proof.node, proof.device)
    return same and fault.fault_id in proof.ends and proof.place == place_of(fault)


def _proof(kind: ProofKind, fault: Fault, ends: tuple[str, ...] = ()) -> Proof:
    return Proof(kind, fault.node, fault.device, fault.time_ns, ends, place_of(fault))
