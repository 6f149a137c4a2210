"""What should be done about these nodes now? Snapshot and policy in, Plan out; pure.

The answer is level-triggered: everything needed is in the Node objects and what was heard that is
not on them yet, so deciding again after an interrupted Plan converges on the same state (tests
replay every interrupted prefix).

Per node: fold what was heard into the ledger (``core.assess``), see which effect its records ask
for, walk the holds if that is more than what stands (taint removed by hand, pauses, surge, budget,
rate), take away what nothing asks for any more, and say what condition and Event should be
(docs/design/decide.md has the table and worked examples).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from konduktor_health.core.assess import Assessment, assess
from konduktor_health.core.budget import Budgets, Refusal, held_effect_of
from konduktor_health.core.declared import parse_declared
from konduktor_health.core.displace import RETRY_S, Displacing, displacement
from konduktor_health.core.effects import (
    Standing,
    TaintChange,
    change_to,
    effect_of,
    standing,
    worst_effect,
)
from konduktor_health.core.ledger import render
from konduktor_health.core.managed import opted_out
from konduktor_health.core.pauses import pause_of
from konduktor_health.core.pools import pool_of
from konduktor_health.core.record import Ledger, Record
from konduktor_health.core.reset import damaged_ledger
from konduktor_health.core.standing import standing_of
from konduktor_health.core.surge import Surging, only_in_surge, surging
from konduktor_health.core.verdict import publish, verdict_of
from konduktor_health.core.wording import describe
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
    Severity,
    Snapshot,
    Trust,
    Verdict,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect

_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}


@dataclass(slots=True)
class _Cycle:
    """What all nodes of one decision share."""

    snapshot: Snapshot
    policy: Policy
    now_ns: int
    surging: Surging
    budgets: Budgets
    displacing: Displacing


@dataclass(slots=True)
class _Decision:
    """What is decided about a node's taint."""

    after: Ledger
    change: TaintChange
    hold: Hold | None = None
    unwritten: bool = False  # a common cause: nothing of this node is written
    displaced: EditNode | None = None  # another node makes room for this one


def decide(snapshot: Snapshot, policy: Policy, now_ns: int) -> Plan:
    """The Plan for the nodes in the snapshot, best-proven fatal first."""
    cycle = _Cycle(
        snapshot,
        policy,
        now_ns,
        surging(snapshot.fleet, policy, now_ns),
        Budgets(snapshot.fleet, policy, now_ns),
        Displacing(snapshot, policy),
    )
    actions: list[Action] = []
    settled: set[str] = set()
    wakes: dict[str, int] = {}
    assessed: list[Assessment] = []
    for view in snapshot.nodes.values():
        if opted_out(view):
            settled.add(view.name)
            if snapshot.sightings.get(view.name):
                actions.append(Hold(view.name, HoldReason.OPTED_OUT, "opted out by label"))
        else:
            clears = not _is_held(view, now_ns)
            assessed.append(assess(view, snapshot, policy, now_ns, clears=clears))
    for node in sorted(assessed, key=_urgency):
        if node.view.name in cycle.displacing.given:
            continue  # it has just made room for another one: decided again once that is written
        planned, done = _plan_node(node, cycle)
        actions.extend(planned)
        if done:
            settled.add(node.view.name)
        if node.again_ns is not None:
            wakes[node.view.name] = node.again_ns
    held = frozenset(each.fault_id for each in cycle.surging.holding)
    return Plan(tuple(actions), frozenset(settled), held, wakes)


def _is_held(view: NodeView, now_ns: int) -> bool:
    """An operator wants nothing to change: neither for the worse nor for the better."""
    declared = parse_declared(view.hold)
    return declared is not None and declared.holds(now_ns)


def _urgency(node: Assessment) -> tuple[bool, int, int, int, str]:
    """Fatal before degraded, then by proof, then the oldest."""
    wanting = node.wanting
    severity = min((record.severity.rank for record in wanting), default=0)
    trust = min((_TRUST_RANK[record.trust] for record in wanting), default=len(_TRUST_RANK))
    first = min((record.first_ns for record in wanting), default=0)
    return (not wanting, severity, trust, first, node.view.name)


def _plan_node(node: Assessment, cycle: _Cycle) -> tuple[list[Action], bool]:
    """The node's actions, and whether its sightings are settled once they are applied."""
    view, policy, now_ns = node.view, cycle.policy, cycle.now_ns
    now = standing(view, node.before, policy.keys)
    after = node.after
    if set(node.before.owned) - now.present:
        after = replace(after, owned=(), removed_ns=now_ns, since_ns=now_ns, soft=False)
    else:
        after = replace(after, owned=now.owned)
    node = replace(node, after=after)
    decision = _effect(node, now, cycle)
    holds: list[Hold] = list(node.holds)
    if decision.hold:
        holds.append(decision.hold)
    if decision.unwritten:
        return [*holds], False
    displaced = [decision.displaced] if decision.displaced else []
    after, change = decision.after, decision.change
    tainted = bool((now.present - {taint.effect for taint in change.remove}) or change.add)
    held = decision.hold.reason if decision.hold else None
    unobserved = view.name in cycle.snapshot.unobserved
    verdict = verdict_of(after, tainted, held, view.boot_id, unobserved=unobserved)
    if awaited := _awaited(after, view.boot_id):
        holds.append(Hold(view.name, HoldReason.PROOF, awaited, evidence=_evidence(after.records)))
    actions: list[Action] = [*holds, *displaced]
    due = _write_due(node, after, change, verdict, policy, now_ns)
    done = True
    if due is _Due.NOW:
        after = replace(
            after,
            uid=view.uid,
            boot_id=view.boot_id,
            written_ns=now_ns,
            since_ns=now_ns if node.news else (after.since_ns or now_ns),
        )
        actions.append(_edit(node, after, change, verdict, policy))
    elif due is _Due.LATER:
        until_ns = node.before.written_ns + int(policy.repeat_write_interval_s * NS)
        actions.append(Hold(view.name, HoldReason.REPEAT, "counts only", until_ns))
        done = False
    if view.ledger is not None or due is _Due.NOW or _left_over(view, now) or unobserved:
        actions.extend(publish(view, after, tainted, decision.hold, verdict))
    return actions, done


def _effect(node: Assessment, now: Standing, cycle: _Cycle) -> _Decision:
    """Which effect our taint gets. More than what stands has to pass the holds."""
    view, policy, after = node.view, cycle.policy, node.after
    keep = TaintChange(owned=now.owned)
    wanting = node.wanting
    wanted = worst_effect(wanting, view, policy) or Effect.LABEL
    if wanted.rank > now.strongest.rank or (after.soft and wanted.rank >= now.strongest.rank):
        return _worse(node, wanted, now, cycle)
    if _all_in_surge(node, cycle):
        return _Decision(after, keep, _surge_hold(node), unwritten=True)
    if any(record.asks for record in after.records) and not wanting and not now.present:
        return _Decision(
            after,
            keep,
            Hold(
                view.name,
                HoldReason.TAINT_REMOVED,
                "the taint was removed by somebody else; waiting for newer evidence",
                evidence=_evidence(record for record in after.records if record.asks),
            ),
        )
    if now.owned and _over(node, wanted):
        change = change_to(wanted, now, view, policy.keys)
        if change.add or change.remove:
            after = replace(after, since_ns=cycle.now_ns)
        after = replace(after, owned=change.owned, soft=False)
        return _Decision(_granted(after, view, policy), change, _corrupt_hold(node))
    return _Decision(after, keep, _corrupt_hold(node))


def _over(node: Assessment, wanted: Effect) -> bool:
    """Less than our taint is asked for, by what we know and not by what we lost: records that were
    cleared by their rules are proof, a ledger that lost its records is none."""
    if wanted is not Effect.LABEL:
        return True
    return bool(node.cleared) or any(past.times for past in node.after.history)


def _worse(node: Assessment, wanted: Effect, now: Standing, cycle: _Cycle) -> _Decision:
    """The node is to get more than it has: walk the holds."""
    view, policy, after = node.view, cycle.policy, node.after
    keep = TaintChange(owned=now.owned)
    hold = pause_of(view, policy, cycle.now_ns, node.noticed_ns)
    if hold is None and _wanted_in_surge(node, wanted, cycle):
        return _Decision(after, keep, _surge_hold(node), unwritten=not node.cleared)
    budget = cycle.budgets.of(view)
    placed = standing_of(view, pool_of(view, policy), policy).taken.a_taint
    refusal = budget.too_fast() if placed else budget.refusal()
    if hold is None and refusal is not None:
        return _refused(node, wanted, now, cycle, refusal)
    if hold is not None:
        return _Decision(after, keep, hold)
    if placed:
        budget.hasten(cycle.now_ns)
    else:
        budget.spend(cycle.now_ns)
    after = replace(after, tainted_ns=cycle.now_ns)
    change = change_to(wanted, now, view, policy.keys)
    after = replace(after, owned=change.owned, since_ns=cycle.now_ns, removed_ns=0, soft=False)
    return _Decision(_granted(after, view, policy), change)


def _refused(
    node: Assessment, wanted: Effect, now: Standing, cycle: _Cycle, refusal: Refusal
) -> _Decision:
    """No room, or too fast. A fatal node may get a degraded one's place, and until there is room
    a weaker effect (``held_effect``)."""
    view, policy, after = node.view, cycle.policy, node.after
    reason, message, until_ns = refusal
    fatal = any(record.severity is Severity.FATAL for record in node.wanting)
    displaced = None
    if reason is HoldReason.BUDGET and fatal and wanted.rank >= Effect.NO_SCHEDULE.rank:
        victim = cycle.displacing.for_(view, cycle.budgets.of(view))
        if victim is not None:
            displaced = displacement(victim, policy, cycle.now_ns, view.name)
            until_ns = cycle.now_ns + int(RETRY_S * NS)
    hold = Hold(view.name, reason, message, until_ns, _evidence(node.wanting))
    soft = held_effect_of(policy, fatal=fatal)
    change = TaintChange(owned=now.owned)
    if soft is not None and not now.present:
        change = change_to(soft, now, view, policy.keys)
        after = replace(after, owned=change.owned, soft=bool(change.owned))
    return _Decision(after, change, hold, displaced=displaced)


def _granted(after: Ledger, view: NodeView, policy: Policy) -> Ledger:
    """Records that ask remember what they were granted: it stays until they are cleared."""
    for record in after.records:
        if record.asks:
            effect = effect_of(record, view, policy).value
            if record.effect != effect:
                after = after.with_record(replace(record, effect=effect))
    return after


def _wanted_in_surge(node: Assessment, wanted: Effect, cycle: _Cycle) -> bool:
    """All that asks for this effect is on many nodes at once."""
    held = cycle.surging.of(node.view)
    return bool(held) and all(
        record.fault_id in held
        for record in node.wanting
        if effect_of(record, node.view, cycle.policy).rank >= wanted.rank
    )


def _all_in_surge(node: Assessment, cycle: _Cycle) -> bool:
    """Something is new, and all of it is on many nodes at once."""
    held = cycle.surging.of(node.view)
    return not node.cleared and only_in_surge(node.before, node.after, held)


def _surge_hold(node: Assessment) -> Hold:
    ids = sorted({record.fault_id for record in node.wanting or node.after.records})
    return Hold(
        node.view.name,
        HoldReason.SURGE,
        f"{', '.join(ids)} on many nodes at once: a common cause is likely",
        evidence=_evidence(node.wanting),
    )


def _corrupt_hold(node: Assessment) -> Hold | None:
    if node.corrupt and not node.after.records:
        return Hold(
            node.view.name, HoldReason.LEDGER_CORRUPT, "the ledger annotation cannot be read"
        )
    return None


def _awaited(after: Ledger, boot_id: str) -> str:
    """What clearing still waits for, once something has been seen to be done about a fault."""
    if not after.owned:
        return ""
    waits = [
        f"{describe(record.fault_id, record.device)}: "
        + ", ".join(each.what for each in record.missing)
        for record in after.records
        if record.missing and (record.repairs or record.boot_id != boot_id)
    ]
    return "; ".join(waits)[:500]


def _left_over(view: NodeView, now: Standing) -> bool:
    """A condition that speaks of a ledger which is gone: a reset was interrupted."""
    return bool(view.condition and view.condition.status != "True" and not now.present)


class _Due(Enum):
    """When the ledger has to be written."""

    NOW = "now"
    LATER = "later"
    NO = "no"


def _write_due(
    node: Assessment,
    after: Ledger,
    change: TaintChange,
    verdict: Verdict,
    policy: Policy,
    now_ns: int,
) -> _Due:
    label = None if verdict is Verdict.HEALTHY else verdict.value
    if not after.records and (node.view.ledger is None or node.corrupt):
        # of a node that never had a record, only that nothing is heard of it is told
        told = Verdict.UNOBSERVED.value in (label, node.view.health_label)
        return _Due.NOW if told and label != node.view.health_label else _Due.NO
    if (
        change.add
        or change.remove
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


def _edit(
    node: Assessment, after: Ledger, change: TaintChange, verdict: Verdict, policy: Policy
) -> EditNode:
    keys = policy.keys
    annotations: dict[str, str | None] = {}
    if after.records or after.history or after.owned:
        annotations[keys.ledger] = render(after)
    elif node.view.ledger is not None and not node.corrupt:
        annotations[keys.ledger] = None  # nothing is left to remember
    if node.corrupt and after.records:
        annotations[damaged_ledger(keys)] = (node.view.ledger or "")[:4096]
    label = None if verdict is Verdict.HEALTHY else verdict.value
    records = node.wanting or after.records or node.cleared
    what = describe(records[0].fault_id, records[0].device) if records else "no open fault"
    if change.add and not change.remove:
        kind, verb = EditKind.TAINT, "taint for"
    elif change.add or change.remove:
        worse = change.add and change.remove and _stronger(change)
        kind, verb = (EditKind.TAINT, "taint for") if worse else (EditKind.CLEAR, "cleared")
        records = records if worse else (node.cleared or records)
        what = describe(records[0].fault_id, records[0].device) if records else what
    else:
        kind, verb = EditKind.RECORD, "record"
    return EditNode(
        node=node.view.name,
        basis=node.view,
        edit=NodeEdit(
            add_taints=change.add,
            remove_taints=change.remove,
            annotations=annotations,
            labels={keys.health: label},
        ),
        kind=kind,
        message=f"{verb} {what}",
        evidence=_evidence(records),
    )


def _stronger(change: TaintChange) -> bool:
    rank = {effect.value: effect.rank for effect in Effect}
    added = max(rank.get(taint.effect, 0) for taint in change.add)
    return added > max(rank.get(taint.effect, 0) for taint in change.remove)


def _evidence(records: Iterable[Record]) -> tuple[str, ...]:
    return tuple(
        f"{describe(record.fault_id, record.device)}: {record.text}"
        + (f" (rule {record.rule})" if record.rule else "")
        for record in records
    )[:8]
