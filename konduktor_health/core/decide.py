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
from dataclasses import dataclass, replace
from enum import Enum

from konduktor_health.core.budget import Allowance, allowance, surges
from konduktor_health.core.fold import already_counted
from konduktor_health.core.guards import NodeHistory, Outcome, judge
from konduktor_health.core.ledger import (
    CorruptLedger,
    Ledger,
    Record,
    merge,
    open_record,
    parse,
    render,
)
from konduktor_health.core.managed import opted_out
from konduktor_health.core.reset import our_taints, parse_reset_at
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
    Sighting,
    Snapshot,
    Taint,
    Trust,
    Verdict,
)
from konduktor_health.timestamps import NS

EFFECT = "NoSchedule"  # the effect of a fatal fault (DESIGN, "Keys on the cluster")
_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}


@dataclass(frozen=True, slots=True)
class Assessment:
    """One node: what its ledger says once the sightings are folded in."""

    view: NodeView
    before: Ledger
    after: Ledger
    corrupt: bool
    holds: tuple[Hold, ...]  # sightings that may not act
    news: bool  # more than counts has changed

    @property
    def wanting(self) -> tuple[Record, ...]:
        """Acting fatal records with evidence newer than a removal of the taint by hand."""
        return tuple(
            record for record in _acting_fatal(self.after) if record.last_ns > self.after.removed_ns
        )


def decide(snapshot: Snapshot, policy: Policy, now_ns: int) -> Plan:
    """The Plan for the nodes in the snapshot, best-proven fatal first."""
    surging = surges(snapshot.fleet, policy, now_ns)
    budget = allowance(snapshot.fleet, policy, now_ns)
    actions: list[Action] = []
    settled: set[str] = set()
    assessed = [
        _assess(view, snapshot, policy, now_ns)
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


def read_ledger(view: NodeView) -> tuple[Ledger, bool]:
    """The node's ledger and whether its annotation is corrupt.

    A ledger of another Node UID (the node was deleted and came back) counts as none.
    """
    if view.ledger is None:
        return Ledger(), False
    try:
        ledger = parse(view.ledger)
    except CorruptLedger:
        return Ledger(), True
    return (ledger if ledger.uid in ("", view.uid) else Ledger()), False


def _assess(view: NodeView, snapshot: Snapshot, policy: Policy, now_ns: int) -> Assessment:
    before, corrupt = read_ledger(view)
    boot_changed_ns = snapshot.boot_changed_ns.get(view.name, 0)
    if before.boot_id and view.boot_id and before.boot_id != view.boot_id:
        boot_changed_ns = max(boot_changed_ns, before.written_ns)
    history = NodeHistory(view, before, parse_reset_at(view.reset_at), boot_changed_ns)
    after, holds = before, []
    for sighting in snapshot.sightings.get(view.name, ()):
        if already_counted(before, sighting.fault, view.boot_id):
            continue  # the write went through although its answer was lost
        judgement = judge(sighting, history, policy, now_ns)
        fatal = sighting.fault.severity is Severity.FATAL
        if judgement.reason and fatal:
            evidence = (describe(sighting.fault.fault_id, sighting.fault.device),)
            holds.append(Hold(view.name, judgement.reason, judgement.why, evidence=evidence))
        if judgement.outcome is Outcome.DROP:
            continue
        acting = judgement.outcome is Outcome.ACT
        why = judgement.reason.value if judgement.reason else ""
        after = _fold(after, sighting, view, acting, why)
    after = _boot_now_known(after, view)
    return Assessment(view, before, after, corrupt, tuple(holds), _is_news(before, after))


def _fold(ledger: Ledger, sighting: Sighting, view: NodeView, acting: bool, why: str) -> Ledger:
    record = open_record(sighting, view.boot_id, acting, why)
    known = ledger.record(record.key)
    return ledger.with_record(merge(known, record) if known else record)


def _boot_now_known(ledger: Ledger, view: NodeView) -> Ledger:
    """Records that waited for the Node to report their boot act as soon as it does."""
    for record in ledger.records:
        waited = record.why == HoldReason.BOOT_UNKNOWN.value and not record.acting
        if waited and record.boot_id == view.boot_id:
            ledger = ledger.with_record(replace(record, acting=True, why=""))
    return ledger


def _is_news(before: Ledger, after: Ledger) -> bool:
    def essence(ledger: Ledger) -> set[tuple[object, ...]]:
        return {(*r.key, r.severity, r.remedy, r.acting, r.boot_id) for r in ledger.records}

    return essence(before) != essence(after)


def _acting_fatal(ledger: Ledger) -> Iterable[Record]:
    return (r for r in ledger.records if r.acting and r.severity is Severity.FATAL)


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
    if set(node.before.owned) - present and not present:
        after = replace(after, owned=(), removed_ns=now_ns, since_ns=now_ns)
    elif present:
        after = replace(after, owned=tuple(sorted(set(after.owned) & present)))
    node = replace(node, after=after)
    wanting = node.wanting
    if wanting and not present:
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
    elif any(_acting_fatal(after)) and not present:
        hold = Hold(
            view.name,
            HoldReason.TAINT_REMOVED,
            "the taint was removed by somebody else; waiting for newer evidence",
            evidence=_evidence(_acting_fatal(after)),
        )
    if node.corrupt and hold is None and not after.records:
        hold = Hold(view.name, HoldReason.LEDGER_CORRUPT, "the ledger annotation cannot be read")
    if hold:
        holds.append(hold)
    tainted = bool(add or present)
    verdict = _verdict(after, tainted, hold)
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
    if view.ledger is not None or changed is _Due.NOW:
        actions.extend(_publish(view, after, tainted, hold, verdict))
    return actions, done


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
    return _Due.NOW if waited_ns >= policy.repeat_write_interval_s * NS else _Due.LATER


def _verdict(ledger: Ledger, tainted: bool, hold: Hold | None) -> Verdict:
    if hold and hold.reason is HoldReason.TAINT_REMOVED:
        return Verdict.SUSPECT
    if any(_acting_fatal(ledger)):
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
        annotations[f"{keys.ledger}-corrupt"] = (node.view.ledger or "")[:4096]
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
