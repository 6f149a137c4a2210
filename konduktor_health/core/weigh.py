"""Which effect does a node's taint get, after the holds? Pure.

More than what stands walks the holds: pauses, surge, budget, rate. Less is given at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from konduktor_health.core.assess import Assessment
from konduktor_health.core.budget import Budgets, Refusal, held_effect_of
from konduktor_health.core.displace import RETRY_S, Displacing, displacement
from konduktor_health.core.effects import (
    Standing,
    TaintChange,
    change_to,
    effect_of,
    worst_effect,
)
from konduktor_health.core.ledger import Writes, written
from konduktor_health.core.pauses import held_by_operator, pause_of
from konduktor_health.core.pools import pool_of
from konduktor_health.core.record import Ledger
from konduktor_health.core.standing import standing_of
from konduktor_health.core.surge import Surging, only_in_surge
from konduktor_health.core.writing import evidence_of
from konduktor_health.frozen import replace
from konduktor_health.model import (
    EditNode,
    Hold,
    HoldReason,
    NodeView,
    Policy,
    Severity,
    Snapshot,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect


@dataclass(slots=True)
class Cycle:
    """What all nodes of one decision share."""

    snapshot: Snapshot
    policy: Policy
    now_ns: int
    surging: Surging
    budgets: Budgets
    displacing: Displacing
    writes: Writes = written


@dataclass(slots=True)
class Decision:
    """What is decided about a node's taint."""

    after: Ledger
    change: TaintChange
    hold: Hold | None = None
    unwritten: bool = False  # a common cause: nothing of this node is written
    displaced: EditNode | None = None  # another node makes room for this one


def weigh(node: Assessment, now: Standing, cycle: Cycle) -> Decision:
    """Which effect our taint gets. More than what stands has to pass the holds."""
    view, policy, after = node.view, cycle.policy, node.after
    keep = TaintChange(owned=now.owned)
    wanting = node.wanting
    wanted = worst_effect(wanting, view, policy) or Effect.LABEL
    if wanted.rank > now.strongest.rank or (after.soft and wanted.rank >= now.strongest.rank):
        return _worse(node, wanted, now, cycle)
    if _all_in_surge(node, cycle):
        return Decision(after, keep, _surge_hold(node), unwritten=True)
    if any(record.asks for record in after.records) and not wanting and not now.present:
        return Decision(
            after,
            keep,
            Hold(
                view.name,
                HoldReason.TAINT_REMOVED,
                "the taint was removed by somebody else; waiting for newer evidence",
                evidence=evidence_of(record for record in after.records if record.asks),
            ),
        )
    if now.owned and _over(node, wanted, policy) and not held_by_operator(view, cycle.now_ns):
        change = change_to(wanted, now, view, policy.keys)
        if change.add or change.remove:
            after = replace(after, since_ns=cycle.now_ns)
        after = replace(after, owned=change.owned, soft=False)
        return Decision(_granted(after, view, policy), change, _corrupt_hold(node))
    return Decision(after, keep, _corrupt_hold(node))


def _over(node: Assessment, wanted: Effect, policy: Policy) -> bool:
    """Less than our taint is asked for, by what we know and not by what we lost: records that were
    cleared by their rules are proof, a ledger that lost its records is none."""
    if wanted is not Effect.LABEL:
        return True
    asking = [record for record in node.after.records if record.asks]
    if asking:  # they say themselves that a label will do
        return worst_effect(asking, node.view, policy) is Effect.LABEL
    return bool(node.cleared) or any(past.times for past in node.after.history)


def _worse(node: Assessment, wanted: Effect, now: Standing, cycle: Cycle) -> Decision:
    """The node is to get more than it has: walk the holds."""
    view, policy, after = node.view, cycle.policy, node.after
    keep = TaintChange(owned=now.owned)
    if _wanted_in_surge(node, wanted, cycle):  # before the pauses: it writes nothing
        return Decision(after, keep, _surge_hold(node), unwritten=_may_wait(node, cycle))
    hold = pause_of(view, policy, cycle.now_ns, node.noticed_ns)
    budget = cycle.budgets.of(view)
    placed = standing_of(view, pool_of(view, policy), policy).taken.a_taint
    refusal = budget.too_fast() if placed else budget.refusal()
    if hold is None and refusal is not None:
        return _refused(node, wanted, now, cycle, refusal)
    if hold is not None:
        return Decision(after, keep, hold)
    if placed:
        budget.hasten(cycle.now_ns)
    else:
        budget.spend(cycle.now_ns)
    after = replace(after, tainted_ns=cycle.now_ns)
    change = change_to(wanted, now, view, policy.keys)
    after = replace(after, owned=change.owned, since_ns=cycle.now_ns, removed_ns=0, soft=False)
    return Decision(_granted(after, view, policy), change)


def _refused(
    node: Assessment, wanted: Effect, now: Standing, cycle: Cycle, refusal: Refusal
) -> Decision:
    """No room, or too fast. A fatal node may get a degraded one's place, and until there is room
    a weaker effect (``held_effect``)."""
    view, policy, after = node.view, cycle.policy, node.after
    reason, message, until_ns = refusal
    fatal = any(record.severity is Severity.FATAL for record in node.wanting)
    displaced = None
    if reason is HoldReason.BUDGET and fatal and wanted.rank >= Effect.NO_SCHEDULE.rank:
        victim = cycle.displacing.for_(view, cycle.budgets.of(view))
        if victim is not None:
            displaced = displacement(victim, policy, cycle.now_ns, view.name, cycle.writes)
            until_ns = cycle.now_ns + int(RETRY_S * NS)
    hold = Hold(view.name, reason, message, until_ns, evidence_of(node.wanting))
    soft = held_effect_of(policy, fatal=fatal)
    change = TaintChange(owned=now.owned)
    if soft is not None and not now.present:
        change = change_to(soft, now, view, policy.keys)
        after = replace(after, owned=change.owned, soft=bool(change.owned))
        if after.soft:  # it stays until these are cleared, whatever becomes of the policy
            for record in node.wanting:
                granted = replace(record, effect=record.effect or soft.value)
                after = after.with_record(granted)
    return Decision(after, change, hold, displaced=displaced)


def _granted(after: Ledger, view: NodeView, policy: Policy) -> Ledger:
    """Records that ask remember what they were granted: it stays until they are cleared."""
    for record in after.records:
        if record.asks:
            effect = effect_of(record, view, policy).value
            if record.effect != effect:
                after = after.with_record(replace(record, effect=effect))
    return after


def _wanted_in_surge(node: Assessment, wanted: Effect, cycle: Cycle) -> bool:
    """All that asks for this effect is on many nodes at once."""
    held = cycle.surging.of(node.view)
    return bool(held) and all(
        record.fault_id in held
        for record in node.wanting
        if effect_of(record, node.view, cycle.policy).rank >= wanted.rank
    )


def _all_in_surge(node: Assessment, cycle: Cycle) -> bool:
    """Something is new, and all of it is on many nodes at once."""
    held = cycle.surging.of(node.view)
    return not _has_changed(node) and only_in_surge(node.before, node.after, held)


def _may_wait(node: Assessment, cycle: Cycle) -> bool:
    """Nothing but repeats, or faults that are on many nodes at once: no Node is written for it. A
    repair of a record that is on the Node already is another matter."""
    return not _has_changed(node) and (not node.news or _all_in_surge(node, cycle))


def _has_changed(node: Assessment) -> bool:
    """What has to be on the Node whatever else there is: proofs, and what people did."""
    return bool(node.cleared) or node.after.removed_ns != node.before.removed_ns


def _surge_hold(node: Assessment) -> Hold:
    ids = sorted({record.fault_id for record in node.wanting or node.after.records})
    return Hold(
        node.view.name,
        HoldReason.SURGE,
        f"{', '.join(ids)} on many nodes at once: a common cause is likely",
        evidence=evidence_of(node.wanting),
    )


def _corrupt_hold(node: Assessment) -> Hold | None:
    if node.corrupt and not node.after.records:
        return Hold(
            node.view.name, HoldReason.LEDGER_CORRUPT, "the ledger annotation cannot be read"
        )
    return None
