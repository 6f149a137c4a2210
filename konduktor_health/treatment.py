"""What does the policy do about a fault? Rules in order; the first that matches decides.

A rule names what it matches and the treatment: whether the fault acts, which taint effect it
asks for, how often it has to be seen, what clears it, and what repairs it. The policy file is
compiled into these (``konduktor_health.policy``); ``DEFAULT_RULES`` is the preset ``default``.

Invariants: a rule list always ends with a rule that matches everything, so that each record has a
treatment; nothing here reads a clock or a Node object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache

from konduktor_health.selector import Selector
from parsers.fault import Remedy, Severity, Trust


class Mode(Enum):
    """Whether a fault may be the reason of a taint."""

    OBSERVE = "observe"
    ACT = "act"


class Effect(Enum):
    """What an acting fault does to its node, weakest first."""

    LABEL = "label"  # the health label only
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_SCHEDULE = "NoSchedule"
    NO_EXECUTE = "NoExecute"

    @property
    def rank(self) -> int:
        """A total order; the worst is the highest."""
        return _RANKS[self]


_RANKS = {effect: rank for rank, effect in enumerate(Effect)}


class Repair(Enum):
    """What can be seen to have been done about a fault, after its last occurrence."""

    BOOT = "boot"  # the Node reports another boot id than the record's
    GPU_RESET = "gpu-reset"  # the kernel says that the GPU was reset, or the driver loaded anew
    DRIVER_NONE = "driver-none"  # Xid 154: the driver asks for nothing any more
    END = "end"  # the event that ends this state


class Asked(Enum):
    """Which repair a clear rule asks for."""

    NOTHING = "nothing"
    REMEDY = "remedy"  # what the fault's own remedy says (``repairs_for``)
    BOOT = "boot"
    ANY = "any"  # any repair


_RESETS = frozenset({Repair.GPU_RESET, Repair.BOOT, Repair.DRIVER_NONE, Repair.END})
_BOOTS = frozenset({Repair.BOOT, Repair.END})
_BY_REMEDY: Mapping[Remedy, frozenset[Repair] | None] = {
    Remedy.NONE: frozenset(),
    Remedy.RESTART_APP: frozenset(),
    Remedy.RESET_GPU: _RESETS,
    Remedy.DRAIN_RESET: _RESETS,
    Remedy.REBOOT: _BOOTS,
    Remedy.POWER_CYCLE: _BOOTS,
    Remedy.DRAIN_INSPECT: None,
    Remedy.INSPECT: None,
}


def repairs_for(asked: Asked, remedy: Remedy) -> frozenset[Repair] | None:
    """Repairs of which one must have been seen; empty: none is asked; None: only a person knows
    (inspection)."""
    if asked is Asked.NOTHING:
        return frozenset()
    if asked is Asked.BOOT:
        return frozenset({Repair.BOOT})
    if asked is Asked.ANY:
        return frozenset(Repair)
    return _BY_REMEDY[remedy]


#: Names of tiers: in a clear rule, in ``verify`` and in a request.
TIERS = frozenset({"boot", "light", "invasive"})
#: The tier that takes the GPUs away from everybody else,
INVASIVE = "invasive"
#: and shipped checks of it that need no partner (docs/reference/checks.md); those of a site come
#: from its settings.
INVASIVE_CHECKS = frozenset(
    {
        "gpu-arithmetic",
        "gpu-memory",
        "p2p-bandwidth",
        "nccl-node",
        "dcgm-2",
        "dcgm-3",
        "dcgm-4",
    }
)
#: Name of a probe in a clear rule: the check that found the fault (``probe/<check>``).
FOUND_BY = "found-by"
#: Faults that a check has found begin so.
PROBE_FAULT = "probe/"
#: The controller's own: a check that ends in an error or a time-out again and again,
UNRESPONSIVE = "probe/unresponsive"
#: and fewer GPUs that pods can have than the node should offer.
ALLOCATABLE = "probe/allocatable-gpus"


@dataclass(frozen=True, slots=True)
class ProbeNeed:
    """A probe that must have passed ``times`` times in a row since the last occurrence."""

    name: str  # a tier (boot, light, invasive), the name of a check, or ``FOUND_BY``
    times: int = 1
    under_load: bool = False


@dataclass(frozen=True, slots=True)
class ClearRule:
    """A conjunction: everything named here, after the last occurrence and in the current boot."""

    repair: Asked = Asked.REMEDY
    probes: tuple[ProbeNeed, ...] = ()
    quiet_s: float = 600.0  # observed without the fault
    operator: bool = False  # only a person clears it (``release``, ``reset``)
    log_only: bool = False  # where no agent runs, the probes are not asked for


@dataclass(frozen=True, slots=True)
class Repeat:
    """The fault acts once it was seen in so many episodes within the window. Lines of one owner
    (process, pod) within an episode count once."""

    count: int
    within_s: float
    other_owner: bool = False  # episodes of the same owner count once, however far apart


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done about one fault."""

    mode: Mode = Mode.ACT
    effect: Effect = Effect.NO_SCHEDULE
    repeat: Repeat | None = None
    clear: ClearRule = field(default_factory=ClearRule)
    decay_s: float | None = None  # a record that does not act goes after so long, observed
    verify: tuple[str, ...] = ()  # probes to ask for while the record is open
    ladder: tuple[Remedy, ...] = ()  # repairs in order; empty: the fault's own remedy


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """What a rule can look at."""

    fault_id: str
    severity: Severity
    remedy: Remedy
    device: str
    trust: Trust
    injected: bool
    labels: Mapping[str, str]  # of the Node


@lru_cache(maxsize=4096)  # a few fault ids and patterns, asked at each decision
def _like(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Match:
    """All that is named must hold; what is left out matches everything."""

    faults: tuple[str, ...] = ()  # fault ids, * and ? as wildcards
    severities: frozenset[Severity] = frozenset()
    remedies: frozenset[Remedy] = frozenset()
    devices: tuple[str, ...] = ()  # device addresses, wildcards; "" is the node itself
    trusts: frozenset[Trust] = frozenset()
    nodes: Selector | None = None
    condition: Callable[[FaultFacts], bool] | None = None  # compiled CEL; never raises

    def matches(self, facts: FaultFacts) -> bool:
        """Whether the rule is about this fault."""
        return (
            (not self.faults or _like(facts.fault_id, self.faults))
            and (not self.severities or facts.severity in self.severities)
            and (not self.remedies or facts.remedy in self.remedies)
            and (not self.devices or _like(facts.device, self.devices))
            and (not self.trusts or facts.trust in self.trusts)
            and (self.nodes is None or self.nodes.matches(facts.labels))
            and (self.condition is None or self.condition(facts))
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A named treatment. The name appears in evidence, ``explain`` and ``replay``."""

    name: str
    match: Match = field(default_factory=Match)
    treatment: Treatment = field(default_factory=Treatment)


HOUR_S = 3600.0
DAY_S = 86_400.0

_PROVEN = (ProbeNeed("boot"), ProbeNeed("light", 3), ProbeNeed("invasive"))
_LAST = Rule(
    "observe-rest", treatment=Treatment(Mode.OBSERVE, clear=ClearRule(operator=True), decay_s=DAY_S)
)

#: The preset ``default`` (docs/reference/policy.md).
DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        "operator",
        Match(faults=("operator/*",)),
        Treatment(clear=ClearRule(Asked.NOTHING, operator=True)),
    ),
    Rule(
        "unexpected-reboots",
        Match(faults=("node/unexpected-reboot",)),
        Treatment(
            repeat=Repeat(3, DAY_S),
            clear=ClearRule(Asked.NOTHING, _PROVEN, DAY_S),
            decay_s=DAY_S,
        ),
    ),
    Rule(
        "pods-never-act",
        Match(trusts=frozenset({Trust.POD})),
        Treatment(Mode.OBSERVE, decay_s=DAY_S),
    ),
    Rule(
        "probes-unresponsive",
        Match(faults=(UNRESPONSIVE,)),
        Treatment(Mode.OBSERVE, decay_s=3 * HOUR_S),
    ),
    Rule(
        "allocatable-gpus",  # its end is seen on the Node, and is what mends it
        Match(faults=(ALLOCATABLE,)),
        Treatment(
            effect=Effect.PREFER_NO_SCHEDULE,
            clear=ClearRule(Asked.REMEDY, quiet_s=600.0),
        ),
    ),
    Rule(
        "probes-fatal",
        Match(faults=("probe/*",), severities=frozenset({Severity.FATAL})),
        Treatment(
            clear=ClearRule(Asked.NOTHING, (ProbeNeed(FOUND_BY, 3), ProbeNeed("light", 3)), 600.0)
        ),
    ),
    Rule(
        "probes-degraded",
        Match(faults=("probe/*",), severities=frozenset({Severity.DEGRADED})),
        Treatment(
            effect=Effect.PREFER_NO_SCHEDULE,
            clear=ClearRule(Asked.NOTHING, (ProbeNeed(FOUND_BY, 3),), 600.0),
        ),
    ),
    Rule(
        "fatal",
        Match(severities=frozenset({Severity.FATAL})),
        Treatment(clear=ClearRule(Asked.REMEDY, _PROVEN, 600.0)),
    ),
    Rule(
        "degraded",
        Match(severities=frozenset({Severity.DEGRADED})),
        Treatment(
            effect=Effect.PREFER_NO_SCHEDULE,
            clear=ClearRule(Asked.REMEDY, (ProbeNeed("light", 3),), HOUR_S, log_only=True),
        ),
    ),
    Rule(
        "application-is-verified",
        Match(severities=frozenset({Severity.APPLICATION})),
        Treatment(Mode.OBSERVE, decay_s=DAY_S, verify=("light",)),
    ),
    Rule(
        "unknown-is-shown",
        Match(severities=frozenset({Severity.UNKNOWN})),
        Treatment(Mode.OBSERVE, decay_s=7 * DAY_S),
    ),
    _LAST,
)


def choose(rules: tuple[Rule, ...], facts: FaultFacts) -> Rule:
    """The first rule that matches; one that only observes where none does."""
    return next((rule for rule in rules if rule.match.matches(facts)), _LAST)
