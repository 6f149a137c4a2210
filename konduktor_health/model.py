"""Which words do all layers share? Frozen dataclasses and enums; no behaviour beyond reading.

The vocabulary is that of docs/concepts/vocabulary.md. Fault, Severity, Remedy and Trust come
from ``parsers.fault`` (the parsers must not know this package) and are re-exported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from parsers.fault import Fault, Remedy, Severity, Trust

__all__ = [
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
    "Plan",
    "Policy",
    "PublishEvent",
    "Remedy",
    "SetCondition",
    "Severity",
    "Sighting",
    "Snapshot",
    "Taint",
    "Trust",
    "Verdict",
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
    def reset_at(self) -> str:
        """Annotation: faults older than this never act again."""
        return f"{self.prefix}/reset-at"

    @property
    def managed(self) -> str:
        """Label; "false" opts the node out."""
        return f"{self.prefix}/managed"


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
    RESET = "reset"  # operator's reset


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
    """An Event on a Node. ``dedupe`` names the transition: the same one is published once."""

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
class Plan:
    """What to do, in order. ``settled``: nodes whose sightings are on the Node, or need not be,
    once the node's actions have been applied; other nodes' sightings are kept for the next cycle.
    ``surges``: fault ids that are held everywhere as a common cause.
    """

    actions: tuple[Action, ...] = ()
    settled: frozenset[str] = frozenset()
    surges: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sighting:
    """Faults of one (device, fault_id) on one node since they were last settled, folded."""

    fault: Fault  # the newest by event time
    first_ns: int  # event time of the oldest
    last_ns: int  # event time of the newest
    count: int  # distinct identities (N for "repeated N times")
    acting: bool = True  # False: too old to act (first look-back); visible only


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


@dataclass(frozen=True, slots=True)
class FleetView:
    """Counts over the managed nodes that a decision about one node needs."""

    managed: int = 0
    tainted: int = 0  # with our key, adopted ones included
    taint_times_ns: tuple[int, ...] = ()  # when we tainted, within the last minute
    # per fault id: (node, event time) of fatal sightings within the surge window
    fatal_sightings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


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
