"""What should be done about these nodes now? Snapshot and policy in, Plan out; pure.

The answer is level-triggered: everything needed is in the Node objects and the sightings
that are not on them yet, so deciding again after an interrupted Plan converges on the same
state (tests replay every interrupted prefix).

Per node: fold the sightings into the ledger (each judged by ``core.guards``), see whether an
acting fatal record asks for the taint, walk the holds (taint removed by hand, surge, budget,
rate), and say what the condition and the Event should be. Fatal taints; every other severity
is recorded and visible (docs/design/decide.md has the table and worked examples).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from konduktor_health.core.assess import Assessment, acting_fatal, assess
from konduktor_health.core.budget import Allowance, allowance, surges
from konduktor_health.core.ledger import Ledger, Record, render
from konduktor_health.core.managed import opted_out
from konduktor_health.core.reset import damaged_ledger, our_taints
from konduktor_health.core.wording import condition_of, describe
from konduktor_health.model import (
    Action,
    EditKind,
    EditNode,
    Hold,
    HoldReason,
    NodeEdit,
    NodeView,
    Plan,
    Policy,
    PublishEvent,
    SetCondition,
    Severity,
    Snapshot,
    Taint,
    Trust,
    Verdict,
)
from konduktor_health.timestamps import NS

EFFECT = "NoSchedule"  # the effect of a fatal fault (docs/reference/keys.md)
_KEEPS_PODS_OUT = frozenset({"NoSchedule", "NoExecute"})
_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}


def decide(snapshot: Snapshot, policy: Policy, now_ns: int) -> Plan:
    """The Plan for the nodes in the snapshot, best-proven fatal first."""
    surging = surges(snapshot.fleet, policy, now_ns)
    budget = allowance(snapshot.fleet, policy, now_ns)
    actions: list[Action] = []
    settled: set[str] = set()
    assessed = [
        assess(view, snapshot, policy, now_ns)
        for view in snapshot.nodes.values()
        if not opted_out(view)
    ]
    for view in snapshot.nodes.values():
        if opted_out(view):
            settled.add(view.name)
            if snapshot.sightings.get(view.name):
                actions.append(Hold(view.name, HoldReason.OPTED_OUT, "opted out by label"))
    for node in sorted(assessed, key=_urgency):
        planned, done = _plan_node(node, surging, budget, policy, now_ns)
        actions.extend(planned)
        if done:
            settled.add(node.view.name)
    return Plan(tuple(actions), frozenset(settled), surging)


def _urgency(node: Assessment) -> tuple[bool, int, int, str]:
    wanting = node.wanting
    trust = min((_TRUST_RANK[record.trust] for record in wanting), default=len(_TRUST_RANK))
    first = min((record.first_ns for record in wanting), default=0)
    return (not wanting, trust, first, node.view.name)


def _plan_node(
    node: Assessment, surging: frozenset[str], budget: Allowance, policy: Policy, now_ns: int
) -> tuple[list[Action], bool]:
    """The node's actions, and whether its sightings are settled once they are applied."""
    view, keys = node.view, policy.keys
    present = {taint.effect for taint in our_taints(view, keys)}
    holds: list[Hold] = list(node.holds)
    after = node.after
    hold: Hold | None = None
    add: tuple[Taint, ...] = ()
    if set(node.before.owned) - present:
        after = replace(after, owned=(), removed_ns=now_ns, since_ns=now_ns)
    elif present:
        after = replace(after, owned=tuple(sorted(set(after.owned) & present)))
    node = replace(node, after=after)
    wanting = node.wanting
    if wanting and not present & _KEEPS_PODS_OUT:
        if all(record.fault_id in surging for record in wanting):
            return [*holds, _surge_hold(node)], False
        if refusal := budget.refusal():
            reason, message, until_ns = refusal
            hold = Hold(view.name, reason, message, until_ns, _evidence(wanting))
        else:
            budget.spend(now_ns)
            add = (Taint(keys.taint, "true", EFFECT),)
            after = replace(
                after, owned=(EFFECT,), tainted_ns=now_ns, since_ns=now_ns, removed_ns=0
            )
    elif any(acting_fatal(after)) and not present:
        hold = Hold(
            view.name,
            HoldReason.TAINT_REMOVED,
            "the taint was removed by somebody else; waiting for newer evidence",
            evidence=_evidence(acting_fatal(after)),
        )
    if node.corrupt and hold is None and not after.records:
        hold = Hold(view.name, HoldReason.LEDGER_CORRUPT, "the ledger annotation cannot be read")
    if hold:
        holds.append(hold)
    tainted = bool(add or present)
    verdict = verdict_of(after, tainted, hold.reason if hold else None)
    changed = _write_due(node, after, bool(add), verdict, policy, now_ns)
    actions: list[Action] = [*holds]
    done = True
    if changed is _Due.NOW:
        after = replace(
            after,
            uid=view.uid,
            boot_id=view.boot_id,
            written_ns=now_ns,
            since_ns=now_ns if node.news else (after.since_ns or now_ns),
        )
        actions.append(_edit(node, after, add, verdict, policy, wanting))
    elif changed is _Due.LATER:
        until_ns = node.before.written_ns + int(policy.repeat_write_interval_s * NS)
        actions.append(Hold(view.name, HoldReason.REPEAT, "counts only", until_ns))
        done = False
    if view.ledger is not None or changed is _Due.NOW or _left_over(view, present):
        actions.extend(_publish(view, after, tainted, hold, verdict))
    return actions, done


def _left_over(view: NodeView, present: set[str]) -> bool:
    """A condition that speaks of a ledger which is gone: a reset was interrupted."""
    return bool(view.condition and view.condition.status != "True" and not present)


class _Due(Enum):
    """When the ledger has to be written."""

    NOW = "now"
    LATER = "later"
    NO = "no"


def _write_due(
    node: Assessment, after: Ledger, tainting: bool, verdict: Verdict, policy: Policy, now_ns: int
) -> _Due:
    if not after.records and (node.view.ledger is None or node.corrupt):
        return _Due.NO
    label = None if verdict is Verdict.HEALTHY else verdict.value
    if (
        tainting
        or node.news
        or after.owned != node.before.owned
        or after.removed_ns != node.before.removed_ns
        or label != node.view.health_label
        or (node.corrupt and bool(after.records))
    ):
        return _Due.NOW
    if after.records == node.before.records:
        return _Due.NO
    waited_ns = now_ns - node.before.written_ns
    waits = 0 <= waited_ns < policy.repeat_write_interval_s * NS  # the clock may have gone back
    return _Due.LATER if waits else _Due.NOW


def verdict_of(ledger: Ledger, tainted: bool, held: HoldReason | None) -> Verdict:
    """What a node is by its ledger, our taint, and why one was not set."""
    if held is HoldReason.TAINT_REMOVED:
        return Verdict.SUSPECT
    if any(acting_fatal(ledger)):
        return Verdict.FAULTY
    doubtful = (Severity.FATAL, Severity.DEGRADED, Severity.UNKNOWN)
    if tainted or any(record.severity in doubtful for record in ledger.records):
        return Verdict.SUSPECT
    return Verdict.HEALTHY


def _edit(
    node: Assessment,
    after: Ledger,
    add: tuple[Taint, ...],
    verdict: Verdict,
    policy: Policy,
    wanting: tuple[Record, ...],
) -> EditNode:
    keys = policy.keys
    annotations: dict[str, str | None] = {keys.ledger: render(after)}
    if node.corrupt:
        annotations[damaged_ledger(keys)] = (node.view.ledger or "")[:4096]
    label = None if verdict is Verdict.HEALTHY else verdict.value
    records = wanting or after.records
    what = describe(records[0].fault_id, records[0].device) if records else "no open fault"
    return EditNode(
        node=node.view.name,
        basis=node.view,
        edit=NodeEdit(add_taints=add, annotations=annotations, labels={keys.health: label}),
        kind=EditKind.TAINT if add else EditKind.RECORD,
        message=f"{'taint for' if add else 'record'} {what}",
        evidence=_evidence(records),
    )


def _publish(
    view: NodeView, after: Ledger, tainted: bool, hold: Hold | None, verdict: Verdict
) -> list[Action]:
    """Event and condition, if the Node does not show this state yet. The Event comes first:
    after a crash between the two it is published again under the same name."""
    condition = condition_of(after, tainted, hold, verdict)
    if condition == view.condition:
        return []
    parts = (view.uid, condition.status, condition.reason, condition.message, str(after.since_ns))
    dedupe = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    kind = "Normal" if condition.status == "True" else "Warning"
    return [
        PublishEvent(view.name, view.uid, kind, condition.reason, condition.message, dedupe),
        SetCondition(view.name, view, condition),
    ]


def _surge_hold(node: Assessment) -> Hold:
    ids = sorted({record.fault_id for record in node.wanting})
    return Hold(
        node.view.name,
        HoldReason.SURGE,
        f"{', '.join(ids)} on many nodes at once: a common cause is likely",
        evidence=_evidence(node.wanting),
    )


def _evidence(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(
        f"{describe(record.fault_id, record.device)}: {record.text}" for record in records
    )[:8]
