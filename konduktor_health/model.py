"""Which words do all layers share? Frozen dataclasses and enums; no behaviour beyond reading.

The vocabulary is that of docs/concepts/vocabulary.md. Fault, Severity, Remedy and Trust come
from ``parsers.fault`` (the parsers must not know this package) and are re-exported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from konduktor_health.evidence import (
    Attestation,
    Diagnosis,
    ProbeResult,
    ProbeStatus,
    RepairSeen,
    Sighting,
    Tombstone,
)
from konduktor_health.limits import (
    DEFAULT_POOL,
    Pauses,
    Policy,
    Pool,
    PoolCounts,
    Window,
)
from konduktor_health.words import (
    Action,
    Condition,
    Corroborate,
    EditKind,
    EditNode,
    Hold,
    HoldReason,
    InjectionMode,
    Keys,
    NodeEdit,
    NodeView,
    Plan,
    PublishEvent,
    SetCondition,
    Taint,
    Turn,
    Verdict,
)
from parsers.fault import Fault, Remedy, Severity, Trust

__all__ = [
    "DEFAULT_POOL",
    "Action",
    "Attestation",
    "Condition",
    "Corroborate",
    "Diagnosis",
    "EditKind",
    "EditNode",
    "Fault",
    "FleetView",
    "Hold",
    "HoldReason",
    "InjectionMode",
    "Keys",
    "NodeEdit",
    "NodeView",
    "Pauses",
    "Plan",
    "Policy",
    "Pool",
    "PoolCounts",
    "ProbeResult",
    "ProbeStatus",
    "PublishEvent",
    "Remedy",
    "RepairSeen",
    "Scope",
    "SetCondition",
    "Severity",
    "Sighting",
    "Snapshot",
    "Surge",
    "Taint",
    "Tombstone",
    "Trust",
    "Turn",
    "Verdict",
    "Window",
]


class Scope(Enum):
    """Among which nodes a fault is a mass event. Values are metric labels; the widest first."""

    FLEET = "fleet"
    POOL = "pool"
    DRIVER = "driver"


@dataclass(frozen=True, slots=True)
class Surge:
    """A fault id on so many nodes at once that a common cause is likely. Times are Unix ns."""

    fault_id: str
    scope: Scope
    name: str  # of the pool, or the driver's version; "" for the fleet
    since_ns: int
    last_ns: int  # when its newest node was heard of
    nodes: int = 0  # the most that have shown it within the window
    released_ns: int = 0  # when an operator let it act (`resume`); 0: it holds

    @property
    def key(self) -> tuple[str, Scope, str]:
        """One surge at a time has it."""
        return (self.fault_id, self.scope, self.name)


@dataclass(frozen=True, slots=True)
class FleetView:
    """Counts over the managed nodes that a decision about one node needs."""

    managed: int = 0
    tainted: int = 0  # with our key, adopted ones included
    taint_times_ns: tuple[int, ...] = ()  # when we tainted, within the last minute
    # per fault id that may act: node -> when it was first heard of, within the surge window
    fatal_sightings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # per pool name; empty: there is one pool, and the counts above are its own
    pools: Mapping[str, PoolCounts] = field(default_factory=dict)
    surges: tuple[Surge, ...] = ()  # that were found before and are not over
    # of the nodes in ``fatal_sightings``: name of the pool, version of the driver ("": not known)
    groups: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    drivers: Mapping[str, int] = field(default_factory=dict)  # managed nodes per driver version

    def pool(self, name: str) -> PoolCounts:
        """The counts of a pool."""
        if not self.pools:
            return PoolCounts(self.managed, self.tainted, self.taint_times_ns)
        return self.pools.get(name, PoolCounts())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that decide() looks at. ``nodes`` holds only those to be decided now."""

    nodes: Mapping[str, NodeView]
    sightings: Mapping[str, tuple[Sighting, ...]]
    fleet: FleetView
    # per node whose boot id changed under our eyes, Unix ns: when the previous boot was last seen,
    boot_changed_ns: Mapping[str, int] = field(default_factory=dict)
    # and when the new one was noticed; the reboot lies between the two
    boot_noticed_ns: Mapping[str, int] = field(default_factory=dict)
    repairs: Mapping[str, tuple[RepairSeen, ...]] = field(default_factory=dict)
    # what others say about a node (its domain, its peers): evidence beside records, never a reason
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probes: Mapping[str, tuple[ProbeResult, ...]] = field(default_factory=dict)
    # what the node's agent says of kernel lines, per node and (device, fault id, boot id)
    attestations: Mapping[str, Mapping[tuple[str, str, str], Attestation]] = field(
        default_factory=dict
    )
    # nodes on which a probe agent answers; None: not known yet
    agents: frozenset[str] | None = frozenset()
    # what DCGM's levels came to, for Autopilot's labels; nothing rests on it
    diagnoses: Mapping[str, tuple[Diagnosis, ...]] = field(default_factory=dict)
    # since when a node's log has been read without a gap and has said anything at all; a node
    # that is not here is not observed now
    observed_from_ns: Mapping[str, int] = field(default_factory=dict)
    # not observed for long, and few enough of their pool to say so on the Node
    unobserved: frozenset[str] = frozenset()
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)  # by system UUID
    # tainted degraded nodes that may be displaced, by pool: weakest proof first
    displaceable: Mapping[str, tuple[NodeView, ...]] = field(default_factory=dict)
