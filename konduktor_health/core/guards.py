"""May this sighting be the reason of an action, or is it history, or only worth showing?

Each guard looks at one reason against acting and returns a Judgement or None (go on). The
first that answers wins; the order is the ladder below. Event time orders and guards, it
never identifies (docs/concepts/safety.md 2 and 3).

``DROP`` means: known history, its remedy has already happened; nothing is written.
``SHOW`` means: a record that is visible and never acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from konduktor_health.core.corroboration import ATTESTED_SEVERITIES
from konduktor_health.core.record import REGISTRATION_NS, Ledger, Past
from konduktor_health.core.reset import ResetAt
from konduktor_health.evidence import Attested
from konduktor_health.model import (
    Attestation,
    Corroborate,
    Fault,
    HoldReason,
    InjectionMode,
    NodeView,
    Policy,
    Remedy,
    RepairSeen,
    Sighting,
    Trust,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Repair

#: Clocks differ; Loki takes lines this far ahead of its own.
AHEAD_NS = 600 * NS
_DENIED = "the node's agent denies that the kernel has logged it"
_MENDED_BY_REBOOT = frozenset(
    {Remedy.NONE, Remedy.RESTART_APP, Remedy.RESET_GPU, Remedy.DRAIN_RESET, Remedy.REBOOT}
)
_MENDED_BY_RESET = frozenset(
    {Remedy.NONE, Remedy.RESTART_APP, Remedy.RESET_GPU, Remedy.DRAIN_RESET}
)


class Outcome(Enum):
    """What a sighting may do."""

    ACT = "act"
    SHOW = "show"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome and, unless it is ACT, the reason in one word and one sentence."""

    outcome: Outcome
    reason: HoldReason | None = None
    why: str = ""


ACT = Judgement(Outcome.ACT)


@dataclass(frozen=True, slots=True)
class NodeHistory:
    """What is known of a node's past when its sightings are judged. Times are Unix ns."""

    view: NodeView
    ledger: Ledger
    reset_at: ResetAt | None
    boot_changed_ns: int = 0  # latest time at which the previous boot was seen; 0: no change known
    boot_noticed_ns: int = 0  # when we saw that it had changed
    repairs: tuple[RepairSeen, ...] = ()


def judge(
    sighting: Sighting,
    history: NodeHistory,
    policy: Policy,
    now_ns: int,
    told: Attestation | None = None,
) -> Judgement:
    """Walk the ladder for one sighting. ``told``: what the node's agent says of its lines."""
    return (
        _injected(sighting, policy)
        or _other_boot(sighting, history)
        or _before_reset(sighting, history, now_ns)
        or _before_repair(sighting, history)
        or _before_node(sighting, history)
        or _no_identity(sighting, history, policy)
        or _uncorroborated(sighting, policy, told)
        or _observed(sighting, policy)
        or _never_acts(sighting)
        or ACT
    )


def _injected(sighting: Sighting, policy: Policy) -> Judgement | None:
    if not sighting.fault.injected or policy.injection is InjectionMode.ACT:
        return None
    why = "written into the kernel log by a program"
    if policy.injection is InjectionMode.IGNORE:
        return Judgement(Outcome.DROP, HoldReason.INJECTED, why)
    return Judgement(Outcome.SHOW, HoldReason.INJECTED, why)


def _other_boot(sighting: Sighting, history: NodeHistory) -> Judgement | None:
    """Lines of an earlier boot are history; lines of a boot that the Node does not report yet wait.

    A boot id never comes back, so one that the ledger knows and the Node no longer has is old.
    A line without a boot id but with an uptime tells its boot's start: log time minus uptime is
    never before the true start, so a start before the previous boot was last seen is not this boot.
    """
    fault, view, changed_ns = sighting.fault, history.view, history.boot_changed_ns
    if fault.boot_id and view.boot_id:
        if fault.boot_id == view.boot_id:
            return None
        if fault.boot_id in _past_boots(history.ledger) or sighting.last_ns <= changed_ns:
            return _earlier_boot(sighting)
        return Judgement(
            Outcome.SHOW, HoldReason.BOOT_UNKNOWN, "from a boot that the Node does not report"
        )
    uptime_ns = (fault.uptime_us or 0) * 1000
    if changed_ns and fault.time_ns - uptime_ns < changed_ns:
        return _earlier_boot(sighting)
    return None


def _past_boots(ledger: Ledger) -> set[str]:
    """Boots that the Node has reported. Records of a boot that it has not yet are no proof."""
    waiting = HoldReason.BOOT_UNKNOWN.value
    return {ledger.boot_id} | {one.boot_id for one in ledger.records if one.why != waiting}


def _earlier_boot(sighting: Sighting) -> Judgement:
    """History where a reboot was the remedy; otherwise nobody has mended it yet, as far as we
    know, but what was done to the node since cannot be told either."""
    mended = sighting.fault.remedy in _MENDED_BY_REBOOT
    outcome = Outcome.DROP if mended else Outcome.SHOW
    return Judgement(outcome, HoldReason.BEFORE_RESET, "from an earlier boot")


def _before_reset(sighting: Sighting, history: NodeHistory, now_ns: int) -> Judgement | None:
    reset, fault = history.reset_at, sighting.fault
    if reset is None or reset.time_ns > now_ns + AHEAD_NS:
        return None  # a reset that is still to come is a slip of the pen
    boot_id = fault.boot_id or history.view.boot_id
    if reset.knew(fault, boot_id):
        return Judgement(Outcome.DROP, HoldReason.BEFORE_RESET, "seen before the reset")
    seen = reset.covers(fault, boot_id)
    if seen or sighting.last_ns <= reset.time_ns:
        return Judgement(
            Outcome.SHOW, HoldReason.BEFORE_RESET, "older than the reset, first seen after it"
        )
    return None


def _before_repair(sighting: Sighting, history: NodeHistory) -> Judgement | None:
    """Its remedy has already happened: the GPU was reset since, or the record that it belongs to
    was cleared after a repair. A line of the boot that ended is ``_other_boot``'s."""
    fault = sighting.fault
    past = history.ledger.past(fault.key)
    if (
        past is not None
        and sighting.last_ns < past.repaired_ns
        and not _of_this_boot(fault, past, history)
    ):
        return Judgement(Outcome.DROP, HoldReason.CLEARED, "older than the repair that cleared it")
    if not fault.device or fault.remedy not in _MENDED_BY_RESET:
        return None
    for seen in history.repairs:
        mends = seen.kind is Repair.GPU_RESET and seen.device in ("", fault.device)
        if mends and sighting.last_ns < seen.event_ns:
            return Judgement(Outcome.DROP, HoldReason.CLEARED, "the GPU was reset since")
    return None


def _of_this_boot(fault: Fault, past: Past, history: NodeHistory) -> bool:
    """The repair was a reboot, and this line is from after it, though from before we noticed."""
    boot_id = history.view.boot_id
    reboot = past.repaired_ns == history.boot_noticed_ns and past.boot_id != boot_id
    return reboot and bool(boot_id) and fault.boot_id == boot_id


def _before_node(sighting: Sighting, history: NodeHistory) -> Judgement | None:
    """A machine logs for a while before it is a Node; what is older was its predecessor's."""
    view, fault = history.view, sighting.fault
    if not view.created_ns or (fault.boot_id and fault.boot_id == view.boot_id):
        return None
    if sighting.last_ns < view.created_ns - REGISTRATION_NS:
        return Judgement(Outcome.SHOW, HoldReason.BEFORE_NODE, "older than the Node object")
    return None


def _no_identity(sighting: Sighting, history: NodeHistory, policy: Policy) -> Judgement | None:
    """Neither uptime nor boot id: after a reboot or reset nobody can tell which side it is on.

    The line's own time counts: read hours later, it is as doubtful as it was."""
    fault, reset = sighting.fault, history.reset_at
    if fault.uptime_us is not None or fault.boot_id:
        return None
    last_change_ns = max(
        history.boot_changed_ns, history.boot_noticed_ns, reset.time_ns if reset else 0
    )
    if last_change_ns and sighting.last_ns - last_change_ns < policy.reboot_doubt_s * NS:
        return Judgement(
            Outcome.SHOW,
            HoldReason.NO_IDENTITY,
            "no uptime and no boot id, soon after a reboot or reset",
        )
    return None


def _uncorroborated(
    sighting: Sighting, policy: Policy, told: Attestation | None
) -> Judgement | None:
    """A line that reached the log store and not the kernel's log was written by somebody else. A
    confirmed one has become ATTESTED before it is judged (``core.corroboration``)."""
    fault = sighting.fault
    if policy.corroborate is Corroborate.OFF or fault.trust is not Trust.KERNEL:
        return None
    if fault.severity not in ATTESTED_SEVERITIES:
        return None
    if told is not None and told.said is Attested.DENIED:
        why = f"the node's agent denies it: {told.reason}" if told.reason else _DENIED
        return Judgement(Outcome.SHOW, HoldReason.UNCORROBORATED, why)
    if policy.corroborate is Corroborate.REQUIRE:
        return Judgement(Outcome.SHOW, HoldReason.UNCORROBORATED, "no agent has confirmed it")
    return None


def _observed(sighting: Sighting, policy: Policy) -> Judgement | None:
    """What else than a fault of this node may print such a line is the reason."""
    doubt = policy.observe.get(sighting.fault.fault_id)
    if doubt is None:
        return None
    return Judgement(Outcome.SHOW, HoldReason.OBSERVED, f"in observation: {doubt}")


def _never_acts(sighting: Sighting) -> Judgement | None:
    if sighting.fault.trust is Trust.POD:
        return Judgement(Outcome.SHOW, HoldReason.NEVER_ACTS, "pod logs never act alone")
    if not sighting.acting:
        return Judgement(Outcome.SHOW, HoldReason.NEVER_ACTS, "older than the first look-back")
    return None
