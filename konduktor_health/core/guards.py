"""May this sighting be the reason of an action, or is it history, or only worth showing?

Each guard looks at one reason against acting and returns a Judgement or None (go on). The
first that answers wins; the order is the ladder below. Event time orders and guards, it
never identifies (DESIGN 2 and 3).

``DROP`` means: known history, its remedy has already happened; nothing is written.
``SHOW`` means: a record that is visible and never acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from konduktor_health.core.ledger import Ledger
from konduktor_health.core.reset import ResetAt
from konduktor_health.model import (
    HoldReason,
    InjectionMode,
    NodeView,
    Policy,
    Sighting,
    Trust,
)
from konduktor_health.timestamps import NS


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
    """What is known of a node's past when its sightings are judged."""

    view: NodeView
    ledger: Ledger
    reset_at: ResetAt | None
    boot_changed_ns: int = 0  # latest time at which the previous boot was seen; 0: no change seen


def judge(sighting: Sighting, history: NodeHistory, policy: Policy, now_ns: int) -> Judgement:
    """Walk the ladder for one sighting."""
    return (
        _injected(sighting, policy)
        or _other_boot(sighting, history)
        or _before_reset(sighting, history)
        or _no_identity(sighting, history, policy, now_ns)
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
    fault, view, ledger = sighting.fault, history.view, history.ledger
    if fault.boot_id and view.boot_id:
        if fault.boot_id == view.boot_id:
            return None
        known = {record.boot_id for record in ledger.records} | {ledger.boot_id}
        if fault.boot_id in known or sighting.last_ns <= history.boot_changed_ns:
            return Judgement(Outcome.DROP, HoldReason.BEFORE_RESET, "from an earlier boot")
        return Judgement(
            Outcome.SHOW, HoldReason.BOOT_UNKNOWN, "from a boot that the Node does not report"
        )
    if fault.uptime_us is not None and history.boot_changed_ns:
        started_ns = fault.time_ns - fault.uptime_us * 1000
        if started_ns < history.boot_changed_ns:
            return Judgement(Outcome.DROP, HoldReason.BEFORE_RESET, "from an earlier boot")
    return None


def _before_reset(sighting: Sighting, history: NodeHistory) -> Judgement | None:
    reset, fault = history.reset_at, sighting.fault
    if reset is None:
        return None
    boot_id = fault.boot_id or history.view.boot_id
    same_boot = bool(reset.boot_id) and boot_id == reset.boot_id
    uptimes_known = fault.uptime_us is not None and reset.uptime_us is not None
    if same_boot and uptimes_known and (fault.uptime_us or 0) <= (reset.uptime_us or 0):
        return Judgement(Outcome.DROP, HoldReason.BEFORE_RESET, "seen before the reset")
    if sighting.last_ns <= reset.time_ns:
        return Judgement(
            Outcome.SHOW, HoldReason.BEFORE_RESET, "older than the reset, first seen after it"
        )
    return None


def _no_identity(
    sighting: Sighting, history: NodeHistory, policy: Policy, now_ns: int
) -> Judgement | None:
    """Neither uptime nor boot id: after a reboot or reset nobody can tell which side it is on."""
    fault = sighting.fault
    if fault.uptime_us is not None or fault.boot_id:
        return None
    last_change = max(history.boot_changed_ns, history.reset_at.time_ns if history.reset_at else 0)
    if last_change and now_ns - last_change < policy.reboot_doubt_s * NS:
        return Judgement(
            Outcome.SHOW, HoldReason.NO_IDENTITY, "no uptime and no boot id, soon after a reboot"
        )
    return None


def _never_acts(sighting: Sighting) -> Judgement | None:
    if sighting.fault.trust is Trust.POD:
        return Judgement(Outcome.SHOW, HoldReason.NEVER_ACTS, "pod logs never act alone")
    if not sighting.acting:
        return Judgement(Outcome.SHOW, HoldReason.NEVER_ACTS, "older than the first look-back")
    return None
