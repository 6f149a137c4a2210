"""Which words do all layers share? Frozen dataclasses and enums; no behaviour beyond reading.

The vocabulary is that of docs/concepts/vocabulary.md. Fault, Severity, Remedy and Trust come
from ``parsers.fault`` (the parsers must not know this package) and are re-exported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from konduktor_health.selector import Selector
from konduktor_health.treatment import DEFAULT_RULES, Effect, Repair, Rule
from parsers.fault import Fault, Remedy, Severity, Trust

__all__ = [
    "DEFAULT_POOL",
    "Action",
    "Condition",
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


class Verdict(Enum):
    """What a node is, as far as we know. Unobserved is not healthy."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    FAULTY = "faulty"
    RECOVERING = "recovering"
    UNOBSERVED = "unobserved"


class HoldReason(Enum):
    """Why something was not done. Values are metric labels and Event reasons: an interface."""

    BUDGET = "BudgetExhausted"
    RATE = "RateLimited"
    SURGE = "Surge"
    OPTED_OUT = "OptedOut"
    TAINT_REMOVED = "TaintRemovedByOperator"
    INJECTED = "InjectedNotActing"
    BOOT_UNKNOWN = "BootUnknown"
    BEFORE_RESET = "BeforeReset"
    BEFORE_NODE = "OlderThanNode"  # long before the Node object was made: a predecessor's
    NO_IDENTITY = "NoUptimeAfterReboot"
    OBSERVED = "InObservation"  # a fault that is recorded and shown, by policy.observe
    NEVER_ACTS = "EvidenceNeverActs"  # pod lines, observe-only sources
    LEDGER_CORRUPT = "LedgerCorrupt"  # nothing clears until a person has looked
    REPEAT = "RepeatDeferred"  # a known record's repeat waits for its write interval
    BELOW_REPEAT = "BelowRepeatThreshold"  # not seen often enough yet to act
    BY_POLICY = "ObservedByPolicy"  # a rule of the policy file observes it
    OPERATOR = "HeldByOperator"  # `hold NODE`
    MAINTENANCE = "Maintenance"  # `maintenance start`, or a declared window
    START_UP = "StartUpGrace"  # a new node, or one that has just booted
    DRIVER_UPGRADE = "DriverUpgrade"  # the GPU operator is at it
    SCALE_DOWN = "ScaleDown"  # an autoscaler is removing the node
    CORDONED = "CordonedByOthers"
    UNOBSERVED = "Unobserved"  # no data: nothing heals, nothing is accused
    RETURNED = "ReturnedNode"  # this machine was deleted with open records and came back
    SECONDARY = "FollowsAnotherFault"  # sympathetic: attached to its root
    CLEARED = "BeforeRepair"  # older than a repair that mends it, or cleared before
    PROOF = "AwaitingProof"  # our taint stays: something is missing for clearing


class InjectionMode(Enum):
    """What a Fault does that a program wrote into the kernel log (facility other than 0)."""

    ACT = "act"
    REPORT = "report"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Taint:
    """A node taint. Two taints are the same slot when key and effect are equal (Kubernetes)."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Our names on the cluster, all under one domain."""

    prefix: str = "trainy.konduktor.ai"
    condition: str = "KonduktorHealthy"

    @property
    def taint(self) -> str:
        """Taint key; its value is always "true"."""
        return f"{self.prefix}/faulty"

    @property
    def ledger(self) -> str:
        """Annotation that holds the ledger."""
        return f"{self.prefix}/ledger"

    @property
    def ledger_corrupt(self) -> str:
        """Annotation that keeps a ledger which could not be read, until the next reset."""
        return f"{self.ledger}-corrupt"

    @property
    def health(self) -> str:
        """Label with the verdict; absent when healthy."""
        return f"{self.prefix}/health"

    @property
    def shard(self) -> str:
        """Label on the Lease and the state of a shard: its value."""
        return f"{self.prefix}/shard"

    @property
    def reset_at(self) -> str:
        """Annotation: faults older than this never act again."""
        return f"{self.prefix}/reset-at"

    @property
    def managed(self) -> str:
        """Label; "false" opts the node out."""
        return f"{self.prefix}/managed"

    @property
    def hold(self) -> str:
        """Annotation: an operator wants nothing to change until then (``core.declared``)."""
        return f"{self.prefix}/hold"

    @property
    def maintenance(self) -> str:
        """Annotation: maintenance was declared (``core.declared``)."""
        return f"{self.prefix}/maintenance"

    @property
    def resume(self) -> str:
        """Annotation of our ConfigMap: the surges that an operator lets act (``core.resumed``)."""
        return f"{self.prefix}/resume"


@dataclass(frozen=True, slots=True)
class Condition:
    """A Node condition of ours: status is "True", "False" or "Unknown"."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """What we keep of a Node object (small: thousands are held in memory)."""

    name: str
    uid: str
    resource_version: str
    created_ns: int = 0
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    boot_id: str = ""  # lower-case hex without dashes
    system_uuid: str = ""
    aliases: tuple[str, ...] = ()  # other names and addresses of the node (status.addresses)
    gpu_capacity: int = 0
    selected: bool = False  # the managed-node label selector matches
    managed_label: str | None = None
    health_label: str | None = None
    ledger: str | None = None  # raw annotation
    ledger_corrupt: bool = False  # a damaged ledger is kept in an annotation of its own
    reset_at: str | None = None  # raw annotation
    condition: Condition | None = None
    labels: tuple[tuple[str, str], ...] = ()  # sorted; the pairs are shared between nodes
    hold: str | None = None  # raw annotation
    maintenance: str | None = None  # raw annotation
    ready: bool = True  # the kubelet's Ready condition is True, or not there

    def label(self, key: str) -> str | None:
        """The value of one label; None where the node has none of that name."""
        for name, value in self.labels:
            if name == key:
                return value
        return None


@dataclass(frozen=True, slots=True)
class NodeEdit:
    """One compare-and-swap change of a Node. None as a value removes the key.

    Taints are matched by (key, effect); only taints with our key may appear here.
    """

    add_taints: tuple[Taint, ...] = ()
    remove_taints: tuple[Taint, ...] = ()
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str | None] = field(default_factory=dict)


class EditKind(Enum):
    """What an edit of a Node is for. Values are metric labels."""

    TAINT = "taint"  # taint, ledger and label in one patch
    RECORD = "record"  # ledger and label only
    CLEAR = "clear"  # our taint goes: proven well, or the effect became weaker
    DISPLACE = "displace"  # a degraded node's taint makes room for a fatal one
    RESET = "reset"  # operator's reset
    DECLARE = "declare"  # operator's hold or maintenance


@dataclass(frozen=True, slots=True)
class EditNode:
    """Change a Node, if what the decision rests on is still so (``basis``)."""

    node: str
    basis: NodeView
    edit: NodeEdit
    kind: EditKind
    message: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetCondition:
    """Write our condition on a Node's status."""

    node: str
    basis: NodeView
    condition: Condition


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """An Event on a Node; with ``node`` empty on the namespace that the controller's state is in,
    for what concerns no single Node. ``dedupe`` names the transition: the same one is published
    once."""

    node: str
    node_uid: str
    type: str  # "Normal" or "Warning"
    reason: str
    message: str
    dedupe: str


@dataclass(frozen=True, slots=True)
class Hold:
    """What was not done and why. ``until_ns``: when to look again; None: at the next change."""

    node: str
    reason: HoldReason
    message: str
    until_ns: int | None = None
    evidence: tuple[str, ...] = ()


Action = EditNode | SetCondition | PublishEvent | Hold


@dataclass(frozen=True, slots=True)
class Turn:
    """A node's turn among those that the budget of a pool holds: the smallest order comes first."""

    pool: str
    order: tuple[bool, int, int, int, str]
    fatal: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order. ``settled``: nodes whose sightings are on the Node, or need not be,
    once the node's actions have been applied; other nodes' sightings are kept for the next cycle.
    ``surges``: fault ids that are held everywhere as a common cause. ``wakes``: when a node has to
    be decided again because time alone changes the answer (quiet windows). ``waits``: nodes that
    wait for a place in the budget of their pool.
    """

    actions: tuple[Action, ...] = ()
    settled: frozenset[str] = frozenset()
    surges: frozenset[str] = frozenset()
    wakes: Mapping[str, int] = field(default_factory=dict)  # node -> look again at, Unix ns
    waits: Mapping[str, Turn] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Faults of one (device, fault_id) on one node since they were last settled, folded."""

    fault: Fault  # the newest by event time
    first_ns: int  # event time of the oldest
    last_ns: int  # event time of the newest
    count: int  # distinct identities (N for "repeated N times")
    acting: bool = True  # False: too old to act (first look-back); visible only
    # event time of its newest line, owner, event time of its oldest line, of each episode, oldest
    # first (``core.record``)
    episodes: tuple[tuple[int, str, int], ...] = ()
    # where on the device it was seen: details as of ``parsers.places.place_of``, sorted
    places: tuple[tuple[tuple[str, str], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RepairSeen:
    """The kernel of a node said that something was repaired, or ended. Never from a program's or
    a pod's line (``parsers.proofs``). A boot is seen by the Node's boot id instead."""

    kind: Repair
    device: str  # "" is the whole node
    event_ns: int
    boot_id: str = ""  # of the line; "" when it does not tell
    ends: tuple[str, ...] = ()  # END: the fault ids of which this is the end
    place: tuple[tuple[str, str], ...] = ()  # details that the ended fault has to share


class ProbeStatus(Enum):
    """What a check on a node came to. Only PASS proves anything."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    ABORT = "abort"
    SKIP = "skip"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One result of one check, as the core takes it (``ports.Probes``)."""

    check: str  # "pcie-bandwidth"
    tier: str  # boot, light, invasive
    status: ProbeStatus
    time_ns: int  # when the check ended, Unix ns
    device: str = ""  # "" is the whole node
    under_load: bool = False
    boot_id: str = ""
    fake: bool = False  # of a fake backend: proves nothing
    run_id: str = ""  # names the run, so that it counts once


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A node that was deleted with open records, kept by its system UUID for 30 days."""

    node: str
    uid: str
    deleted_ns: int
    faults: tuple[str, ...]  # "fault id|device", worst first


DEFAULT_POOL = "default"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes that share a budget. The first pool that takes a node has it; what none takes is in
    the pool ``default``, whose numbers are those of the settings."""

    name: str
    nodes: Selector | None = None  # None with ``label``: every node that has the label
    label: str = ""  # each value of this label is a pool of its own: NAME/VALUE
    percent: float = 10.0  # rounded up: one node may always be tainted
    max_nodes: int = 20
    rate_per_minute: int = 10
    count_unready: bool = False  # nodes that are not Ready take from the budget too,
    count_cordoned: bool = False  # and those that others have cordoned


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """A pool as it is. A node counts in one pool, and there once: tainted or unavailable."""

    managed: int = 0
    # with our key, adopted ones included; not those that a budget holds with ``held_effect``
    tainted: int = 0
    taint_times_ns: tuple[int, ...] = ()  # when we tainted, within the last minute
    unavailable: int = 0  # not tainted by us: in repair, and unready or cordoned where counted


@dataclass(frozen=True, slots=True)
class Window:
    """A declared maintenance window of the policy file, [start, end), Unix ns."""

    name: str
    start_ns: int
    end_ns: int
    nodes: Selector | None = None


@dataclass(frozen=True, slots=True)
class Pauses:
    """When a node is left alone, outside the budget (docs/concepts/safety.md 4). Seconds."""

    start_up_s: float = 300.0  # after the Node object was made
    after_boot_s: float = 0.0  # after a new boot was noticed
    driver_upgrade_label: str = "nvidia.com/gpu-driver-upgrade-state"
    # its values that mean: nobody is at work (GPU operator, upgrade controller)
    driver_idle: tuple[str, ...] = ("", "upgrade-done", "upgrade-required", "upgrade-failed")
    deletion_taints: tuple[str, ...] = (
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
    )
    foreign_cordon: bool = False  # True: a node that somebody cordoned is left alone
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the core may do, with the defaults of the settings (docs/concepts/safety.md 4 and 7)."""

    keys: Keys = field(default_factory=Keys)
    budget_percent: float = 10.0  # of the managed nodes, rounded up
    budget_max_nodes: int = 20
    budget_enabled: bool = True
    rate_per_minute: int = 10  # new taints; 0 switches the limit off
    surge_enabled: bool = True
    surge_min_nodes: int = 5
    surge_percent: float = 3.0
    surge_window_s: float = 600.0
    injection: InjectionMode = InjectionMode.ACT
    # fault ids in observation, each with its reason; the settings add those that the rules doubt
    observe: Mapping[str, str] = field(default_factory=dict)
    repeat_write_interval_s: float = 300.0
    reboot_doubt_s: float = 3600.0  # lines without uptime and boot id after a reboot or reset
    rules: tuple[Rule, ...] = DEFAULT_RULES
    pools: tuple[Pool, ...] = ()  # before the pool ``default``
    pauses: Pauses = field(default_factory=Pauses)
    surge_quiet_s: float = 1800.0  # a surge is over after so long without another node
    # labels with the version of a node's driver; the first that a node has counts
    driver_labels: tuple[str, ...] = (
        "nvidia.com/cuda.driver-version.full",
        "nvidia.com/cuda.driver-version.major",
        "nvidia.com/cuda.driver.major",
    )
    held_effect: Effect | None = None  # what a fatal node gets that the budget holds
    domains: tuple[str, ...] = (  # labels whose nodes share a fabric, a rack or a switch
        "nvidia.com/gpu.clique",
        "topology.kubernetes.io/rack",
        "network.topology.nvidia.com/leaf",
    )
    autopilot_labels: bool = False  # autopilot.ibm.com/gpuhealth beside our own label
    history_s: float = 30 * 86_400.0  # what was cleared is remembered so long
    # a fault that returns has to be quiet for twice as long each time, at most this long
    hold_down_max_s: float = 86_400.0
    unobserved_after_s: float = 900.0  # no line and no heartbeat for so long
    unobserved_percent: float = 5.0  # told on the Nodes while it is at most this share of a pool

    def default_pool(self) -> Pool:
        """The pool of what no other pool takes."""
        return Pool(
            DEFAULT_POOL,
            percent=self.budget_percent,
            max_nodes=self.budget_max_nodes,
            rate_per_minute=self.rate_per_minute,
        )


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
    agents: frozenset[str] = frozenset()  # nodes on which a probe agent answers
    # since when a node's log has been read without a gap and has said anything at all; a node
    # that is not here is not observed now
    observed_from_ns: Mapping[str, int] = field(default_factory=dict)
    # not observed for long, and few enough of their pool to say so on the Node
    unobserved: frozenset[str] = frozenset()
    tombstones: Mapping[str, Tombstone] = field(default_factory=dict)  # by system UUID
    # tainted degraded nodes that may be displaced, by pool: weakest proof first
    displaceable: Mapping[str, tuple[NodeView, ...]] = field(default_factory=dict)
