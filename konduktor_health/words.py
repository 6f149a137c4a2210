"""What is kept of a Node, what may be done to it, and in which words? Frozen, without behaviour.

Part of the vocabulary (``konduktor_health.model`` has it all).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


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
    UNCORROBORATED = "Uncorroborated"  # the node's own agent denies that its kernel logged this
    PROOF = "AwaitingProof"  # our taint stays: something is missing for clearing


class InjectionMode(Enum):
    """What a Fault does that a program wrote into the kernel log (facility other than 0)."""

    ACT = "act"
    REPORT = "report"
    IGNORE = "ignore"


class Corroborate(Enum):
    """What a kernel line needs from the agent of its node, which has read the kernel's own log."""

    OFF = "off"  # nothing: agents are not asked
    PREFER = "prefer"  # that it does not deny the line
    REQUIRE = "require"  # that it confirms it


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
    def expected_gpus(self) -> str:
        """Label: how many GPUs the node should have, where the Node itself does not tell."""
        return f"{self.prefix}/expected-gpus"

    @property
    def threshold(self) -> str:
        """Labels that begin so override what a check is judged by: ``<this><check>.<value>``."""
        return f"{self.prefix}/threshold."

    @property
    def hold(self) -> str:
        """Annotation: an operator wants nothing to change until then (``core.declared``)."""
        return f"{self.prefix}/hold"

    @property
    def maintenance(self) -> str:
        """Annotation: maintenance was declared (``core.declared``)."""
        return f"{self.prefix}/maintenance"

    @property
    def testing(self) -> str:
        """Annotation: where the node is on its way to an invasive test (``core.invasive_note``);
        label of the same name, "true" while one may be running."""
        return f"{self.prefix}/testing"

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
    gpu_allocatable: int | None = None  # None: the Node does not tell
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
    testing: str | None = None  # raw annotation
    ready: bool = True  # the kubelet's Ready condition is True, or not there
    diagnosed: tuple[tuple[str, str], ...] = ()  # annotations ``dcgm.level.N.output``, sorted

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
    DIAGNOSIS = "diagnosis"  # Autopilot's labels of what DCGM found, and nothing else
    TESTING = "testing"  # an invasive test is about to begin, waits, or has ended


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
    wait for a place in the budget of their pool. ``at_rest``: nodes that need not be decided again
    for the sake of these actions: on what they make of the node, at the same time and with the same
    counts of the fleet, the decision would do nothing, and hold and wait as this one does.
    """

    actions: tuple[Action, ...] = ()
    settled: frozenset[str] = frozenset()
    surges: frozenset[str] = frozenset()
    wakes: Mapping[str, int] = field(default_factory=dict)  # node -> look again at, Unix ns
    waits: Mapping[str, Turn] = field(default_factory=dict)
    at_rest: frozenset[str] = frozenset()
