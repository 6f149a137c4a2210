"""Was this reboot asked for, as far as the Node tells? If nobody asked, it is a fault.

A reboot is asked for while somebody is at the node: it is cordoned, held, in maintenance (declared
or in a window), being upgraded or scaled down, new, reset, or carries a fault or taint of ours that
a reboot would repair. What was so within ``policy.reboot_doubt_s`` before counts too. A doubt is
resolved in favour of the node: this fault accuses a machine of what a person may have done.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.core.declared import parse_declared
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.reset import our_taints, parse_reset_at
from konduktor_health.model import Fault, NodeView, Policy, Remedy, Severity, Trust
from konduktor_health.timestamps import NS

FAULT_ID = "node/unexpected-reboot"
SOURCE = "controller"
_OUT_OF_SERVICE = frozenset({
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/out-of-service",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class BootChange:
    """A Node reports another boot id than before. Times are Unix ns."""

    node: str
    uid: str
    boot_id: str  # the new one
    changed_ns: int  # the previous boot was last seen then
    noticed_ns: int  # the new one was seen then; the reboot lies between the two
    attended: str = ""  # who was at the node, as seen then; "" nobody


def attended(view: NodeView, policy: Policy, now_ns: int) -> str:
    """Who is at the node, in a few words; "" nobody. What has ended by itself, at its time, counts
    for ``policy.reboot_doubt_s`` more."""
    doubt_ns = int(policy.reboot_doubt_s * NS)
    if view.unschedulable:
        return "cordoned"
    for name, text in (("held", view.hold), ("in maintenance", view.maintenance)):
        declared = parse_declared(text)
        if declared is None or declared.since_ns > now_ns:
            continue
        if declared.until_ns is None or now_ns < declared.until_ns + doubt_ns:
            return name
    pauses, labels = policy.pauses, dict(view.labels)
    if labels.get(pauses.driver_upgrade_label, "") not in pauses.driver_idle:
        return "driver upgrade"
    leaving = _OUT_OF_SERVICE.union(pauses.deletion_taints)
    if any(taint.key in leaving for taint in view.taints):
        return "being removed"
    for window in pauses.windows:
        if window.start_ns <= now_ns < window.end_ns + doubt_ns and (
            window.nodes is None or window.nodes.matches(labels)
        ):
            return f"window {window.name}"
    return ""


def repaired(view: NodeView, ledger: Ledger, policy: Policy) -> str:
    """What of ours a reboot would repair, in a few words; "" nothing."""
    if our_taints(view, policy.keys):
        return "tainted"
    if any(record.acting and record.severity is Severity.FATAL for record in ledger.records):
        return "an open fault"
    return ""


def unexpected_reboot(
    view: NodeView, ledger: Ledger, change: BootChange, policy: Policy, now_ns: int
) -> Fault | None:
    """The fault of a reboot that nobody asked for; None where somebody may have.

    ``view`` and ``ledger``: the node as it is now, its ledger as it was read. The fault is of the
    boot that the Node reports now, also where it has booted again since: a node that boots over and
    over would otherwise never be told.
    """
    doubt_ns = int(policy.reboot_doubt_s * NS)
    if view.uid != change.uid or change.attended or attended(view, policy, now_ns):
        return None
    if repaired(view, ledger, policy):
        return None
    if view.created_ns and change.noticed_ns - view.created_ns < doubt_ns:
        return None  # a machine reboots while it is set up
    reset = parse_reset_at(view.reset_at)
    if reset is not None and reset.time_ns >= change.changed_ns - doubt_ns:
        return None
    return Fault(
        fault_id=FAULT_ID,
        severity=Severity.DEGRADED,
        remedy=Remedy.NONE,
        node=view.name,
        time_ns=change.noticed_ns,
        event_ns=change.noticed_ns,
        boot_id=view.boot_id,
        identity=f"boot:{change.boot_id}",
        source=SOURCE,
        trust=Trust.KERNEL,
        text="the node booted anew and nobody was seen to ask for it",
        detail={"boot": change.boot_id},
    )
