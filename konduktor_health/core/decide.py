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

from konduktor_health.core.assess import Assessment, assess
from konduktor_health.core.budget import Budgets
from konduktor_health.core.displace import Displacing
from konduktor_health.core.effects import (
    Standing,
    standing,
)
from konduktor_health.core.labels import diagnosed, edit_for
from konduktor_health.core.ledger import Writes, written
from konduktor_health.core.managed import opted_out
from konduktor_health.core.pauses import held_by_operator
from konduktor_health.core.pools import pool_of
from konduktor_health.core.record import Ledger, altered
from konduktor_health.core.surge import surging
from konduktor_health.core.verdict import publish, verdict_of
from konduktor_health.core.weigh import Cycle, Decision, weigh
from konduktor_health.core.wording import describe
from konduktor_health.core.writing import Due, edit_of, evidence_of, labels_of, write_due
from konduktor_health.frozen import replace
from konduktor_health.model import (
    Action,
    Hold,
    HoldReason,
    NodeView,
    Plan,
    Policy,
    Severity,
    Snapshot,
    Trust,
    Turn,
)
from konduktor_health.timestamps import NS

_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}


def decide(snapshot: Snapshot, policy: Policy, now_ns: int, *, writes: Writes = written) -> Plan:
    """The Plan for the nodes in the snapshot, best-proven fatal first. ``writes``: how a ledger
    becomes the text of an annotation, where that is for nobody but us."""
    cycle = Cycle(
        snapshot,
        policy,
        now_ns,
        surging(snapshot.fleet, policy, now_ns),
        Budgets(snapshot.fleet, policy, now_ns),
        Displacing(snapshot, policy, now_ns),
        writes,
    )
    actions: list[Action] = []
    settled: set[str] = set()
    wakes: dict[str, int] = {}
    waits: dict[str, Turn] = {}
    at_rest: set[str] = set()
    assessed: list[Assessment] = []
    for view in snapshot.nodes.values():
        if opted_out(view):
            settled.add(view.name)
            if snapshot.sightings.get(view.name):
                actions.append(Hold(view.name, HoldReason.OPTED_OUT, "opted out by label"))
        else:
            held = held_by_operator(view, now_ns)
            assessed.append(assess(view, snapshot, policy, now_ns, clears=held is None))
            if held is not None and held.until_ns is not None and view.ledger is not None:
                wakes[view.name] = held.until_ns
    for node in sorted(assessed, key=_urgency) if len(assessed) > 1 else assessed:
        if node.view.name in cycle.displacing.given:
            continue  # it has just made room for another one: decided again once that is written
        cycle.displacing.planned.add(node.view.name)
        planned, done, rests = _plan_node(node, cycle)
        actions.extend(planned)
        if done and not node.waits:
            settled.add(node.view.name)
            if rests:
                at_rest.add(node.view.name)
        if node.again_ns is not None:
            wakes[node.view.name] = min(node.again_ns, wakes.get(node.view.name, node.again_ns))
        if any(isinstance(one, Hold) and one.reason is HoldReason.BUDGET for one in planned):
            waits[node.view.name] = _turn(node, policy)
    in_surge = frozenset(each.fault_id for each in cycle.surging.holding)
    return Plan(tuple(actions), frozenset(settled), in_surge, wakes, waits, frozenset(at_rest))


def _urgency(node: Assessment) -> tuple[bool, int, int, int, str]:
    """Fatal before degraded, then by proof, then the oldest."""
    wanting = node.wanting
    severity = min((record.severity.rank for record in wanting), default=0)
    trust = min((_TRUST_RANK[record.trust] for record in wanting), default=len(_TRUST_RANK))
    first = min((record.first_ns for record in wanting), default=0)
    return (not wanting, severity, trust, first, node.view.name)


def _turn(node: Assessment, policy: Policy) -> Turn:
    fatal = any(record.severity is Severity.FATAL for record in node.wanting)
    return Turn(pool_of(node.view, policy).name, _urgency(node), fatal)


def _plan_node(node: Assessment, cycle: Cycle) -> tuple[list[Action], bool, bool]:
    """The node's actions, whether its sightings are settled once they are applied, and whether the
    node rests then."""
    view, policy, now_ns = node.view, cycle.policy, cycle.now_ns
    now = standing(view, node.before, policy.keys)
    after = node.after
    if set(node.before.owned) - now.present:
        removed_ns = _removed_ns(node, now_ns)
        after = replace(after, owned=(), removed_ns=removed_ns, since_ns=now_ns, soft=False)
    else:
        after = altered(after, owned=now.owned)
    if after is not node.after:
        node = replace(node, after=after)
    decision = weigh(node, now, cycle)
    holds: list[Hold] = list(node.holds)
    if decision.hold:
        holds.append(decision.hold)
    if decision.unwritten:
        return [*holds], False, False
    displaced = [decision.displaced] if decision.displaced else []
    after, change = decision.after, decision.change
    tainted = bool((now.present - {taint.effect for taint in change.remove}) or change.add)
    held = decision.hold.reason if decision.hold else None
    unobserved = view.name in cycle.snapshot.unobserved
    verdict = verdict_of(after, tainted, held, view.boot_id, unobserved=unobserved)
    if awaited := _awaited(after, view.boot_id):
        holds.append(
            Hold(view.name, HoldReason.PROOF, awaited, evidence=evidence_of(after.records))
        )
    actions: list[Action] = [*holds, *displaced]
    labels = labels_of(view, after, now, change, verdict, policy)
    due = write_due(node, after, change, labels, policy, now_ns)
    done = True
    if due is Due.NOW:
        after = replace(
            after,
            uid=view.uid,
            boot_id=view.boot_id,
            written_ns=now_ns,
            since_ns=now_ns if node.news else (after.since_ns or now_ns),
        )
        remarks = cycle.snapshot.remarks.get(view.name, ())
        actions.append(edit_of(node, after, change, labels, policy, remarks, cycle.writes))
    elif marks := diagnosed(view, cycle.snapshot.diagnoses.get(view.name, ()), policy):
        actions.append(edit_for(view, marks))
    if due is Due.LATER:
        until_ns = node.before.written_ns + int(policy.repeat_write_interval_s * NS)
        actions.append(Hold(view.name, HoldReason.REPEAT, "counts only", until_ns))
        done = False
    if view.ledger is not None or due is Due.NOW or _left_over(view, now) or unobserved:
        actions.extend(publish(view, after, tainted, decision.hold, verdict))
    return actions, done, _rests(node, decision, cycle)


def _rests(node: Assessment, decision: Decision, cycle: Cycle) -> bool:
    """``Plan.at_rest`` of a settled node. Deciding is idempotent at one time, but for what is told
    once (why sightings may not act), what is counted against budgets, what an operator has said of
    a node without a ledger, what clearing waits for where a node is not observed, DCGM's diagnoses,
    which are written when nothing else is, and who may give way once this Plan is over."""
    view, change = node.view, decision.change
    return not (
        node.holds
        or node.corrupt
        or node.cleared
        or change.add
        or change.remove
        or decision.displaced
        or (decision.hold and decision.hold.reason is not HoldReason.BUDGET)
        or view.hold is not None
        or view.name not in cycle.snapshot.observed_from_ns
        or view.name in cycle.snapshot.diagnoses
        or view.name in cycle.displacing.missed
        or not node.after.records
    )


def _removed_ns(node: Assessment, now_ns: int) -> int:
    """When our taint was removed, at the latest, as far as that matters: a fault that the ledger
    did not have, and that is newer than all it had, was not what that person decided about."""
    known = {record.key for record in node.before.records if record.asks}
    asking = [record for record in node.after.records if record.asks]
    new = [record.last_ns - 1 for record in asking if record.key not in known]
    old = [record.last_ns for record in asking if record.key in known]
    return max([min([now_ns, *new]), *(min(each, now_ns) for each in old)])


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
