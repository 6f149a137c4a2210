"""What do hold reasons mean, and what ends them? The words of docs/reference/hold-reasons.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from konduktor_health.model import HoldReason


@dataclass(frozen=True, slots=True)
class Meaning:
    """Why something was not done, and when it is looked at again."""

    text: str
    ends: str


_LINE = "never for this line"

MEANINGS: Mapping[HoldReason, Meaning] = {
    HoldReason.BUDGET: Meaning(
        "as many nodes are tainted as may be", "when the fleet changes and there is room"
    ),
    HoldReason.RATE: Meaning(
        "as many nodes were tainted within a minute as may be",
        "when the oldest of them is a minute old",
    ),
    HoldReason.SURGE: Meaning(
        "many nodes show this fault at once: a common cause is likely",
        "when no further node has shown it for policy.surge_quiet_s, or by resume",
    ),
    HoldReason.OPTED_OUT: Meaning(
        "the label managed=false, set while the fault came in", "with the label"
    ),
    HoldReason.TAINT_REMOVED: Meaning(
        "somebody removed our taint", "with evidence newer than the removal, or reset"
    ),
    HoldReason.INJECTED: Meaning(
        "a program wrote the line, and policy.injection is not act", _LINE
    ),
    HoldReason.BOOT_UNKNOWN: Meaning(
        "the line is from a boot that the Node does not report yet", "when the Node reports it"
    ),
    HoldReason.BEFORE_RESET: Meaning("from an earlier boot, or from before the reset", _LINE),
    HoldReason.BEFORE_NODE: Meaning(
        "older than the Node object by more than 15 minutes: its predecessor's", _LINE
    ),
    HoldReason.NO_IDENTITY: Meaning(
        "neither uptime nor boot id, from within an hour of a reboot or reset", _LINE
    ),
    HoldReason.OBSERVED: Meaning(
        "the fault is in observation (policy.observe)",
        f"{_LINE}; once the fault is no longer observed, with newer evidence",
    ),
    HoldReason.NEVER_ACTS: Meaning("a pod's line, or older than the first look-back", _LINE),
    HoldReason.LEDGER_CORRUPT: Meaning(
        "the ledger annotation cannot be read", "with a new record, or reset"
    ),
    HoldReason.REPEAT: Meaning(
        "only counts have changed; they wait for their interval",
        "after policy.repeat_write_interval_s",
    ),
    HoldReason.BELOW_REPEAT: Meaning(
        "the policy wants the fault to be seen more often before it acts",
        "with another episode within the rule's window",
    ),
    HoldReason.BY_POLICY: Meaning(
        "a rule of the policy observes this fault", "never for this rule"
    ),
    HoldReason.OPERATOR: Meaning(
        "an operator holds the node (hold NODE)", "at the time given, or release NODE"
    ),
    HoldReason.MAINTENANCE: Meaning(
        "maintenance was declared for the node", "at its end, or maintenance end NODE"
    ),
    HoldReason.START_UP: Meaning("the node is new, or has just booted", "when the grace is over"),
    HoldReason.DRIVER_UPGRADE: Meaning(
        "the GPU operator upgrades the driver of the node", "when its label says that it is done"
    ),
    HoldReason.SCALE_DOWN: Meaning("an autoscaler removes the node", "when its taint goes"),
    HoldReason.CORDONED: Meaning(
        "somebody else has cordoned the node, and the policy leaves such nodes alone",
        "when it is uncordoned",
    ),
    HoldReason.UNOBSERVED: Meaning(
        "nothing was heard of the node: no data heals nothing and accuses nobody",
        "when its log is read again",
    ),
    HoldReason.RETURNED: Meaning(
        "this machine was deleted with open records and came back", "with newer evidence, or reset"
    ),
    HoldReason.SECONDARY: Meaning(
        "the fault follows another one of the node, which decides", "with the other fault"
    ),
    HoldReason.CLEARED: Meaning(
        "older than a repair that mends it, or part of what was cleared before", _LINE
    ),
    HoldReason.UNCORROBORATED: Meaning(
        "the node's own agent denies that its kernel has logged this line, or (corroborate:"
        " require) does not confirm it",
        "with a line that it confirms",
    ),
    HoldReason.PROOF: Meaning(
        "our taint stays until everything that clearing asks for has been seen",
        "when nothing is missing any more",
    ),
}


def named(reason: str) -> HoldReason | None:
    """The hold reason of this name, or None."""
    return next((each for each in HoldReason if each.value == reason), None)
