"""What happened, when, and why? Takes what the loop reports and tells it moment by moment.

A moment is told once, when it begins: a taint, a clearing, a hold of a new reason, a surge, a boot.
Records that only count are in the sums, not in the moments. The order is that of the past, and
within one time that of the Plan, so that the same past gives the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from konduktor_health.core.budget import Budgets
from konduktor_health.core.ledger import CorruptLedger, Record, parse
from konduktor_health.core.pools import pool_of
from konduktor_health.core.reset import our_taints
from konduktor_health.model import (
    EditKind,
    EditNode,
    Hold,
    HoldReason,
    NodeView,
    Plan,
    Policy,
    Surge,
)
from konduktor_health.ports import SourceStatus
from konduktor_health.runtime.apply import Outcome
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.replay.past_clock import PastClock
from konduktor_health.runtime.replay.past_nodes import PastNodes
from konduktor_health.runtime.replay.totals import PoolTotals, RuleTotals, Totals
from konduktor_health.treatment import FaultFacts, choose

#: Holds of a node that wants the taint and does not get it.
KEPT_IN = frozenset({
    HoldReason.BUDGET, HoldReason.RATE, HoldReason.SURGE, HoldReason.OPERATOR,
    HoldReason.MAINTENANCE, HoldReason.START_UP, HoldReason.DRIVER_UPGRADE,
    HoldReason.SCALE_DOWN, HoldReason.CORDONED,
})  # fmt: skip
_UNTOLD = frozenset({HoldReason.REPEAT})


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    time_ns: int
    kind: str  # taint, clear, displace, reset, hold, surge, surge over, boot
    node: str = ""  # "": the whole fleet
    reason: str = ""  # of a hold
    rule: str = ""  # of the policy
    fault: str = ""  # the worst that the node is told by: "fault id device"
    effect: str = ""  # of our taint afterwards; "" without one
    message: str = ""
    evidence: tuple[str, ...] = ()
    pool: str = ""
    tainted: int = 0  # in the pool afterwards
    limit: int = 0  # that may be


Tell = Callable[[Moment], None]


class Timeline:
    """Stands where the report of a live loop stands."""

    def __init__(self, nodes: PastNodes, policy: Policy, clock: PastClock, tell: Tell) -> None:
        self._nodes = nodes
        self._policy = policy
        self._clock = clock
        self._tell = tell
        self._held: dict[str, frozenset[HoldReason]] = {}
        self._surges: frozenset[str] = frozenset()
        self._pool_of: dict[str, str] = {}  # tainted node -> its pool when it was tainted
        self.totals = Totals()

    # what the loop reports

    def source(self, status: SourceStatus) -> None:
        """Sources of the past are always well."""

    def plan(self, plan: Plan, outcome: Outcome, *, dry_run: bool) -> None:
        """A Plan was carried out."""
        del dry_run
        totals = self.totals
        self._note_surges(plan)
        holds: dict[str, list[Hold]] = {}
        for action in plan.actions:
            if isinstance(action, Hold):
                holds.setdefault(action.node, []).append(action)
            elif isinstance(action, EditNode):
                self.edited(action)
        for name in plan.settled - holds.keys():
            self._hold(name, [])
        for name, held in holds.items():
            self._hold(name, held)
        totals.decisions += len(plan.settled | holds.keys())
        totals.conditions += outcome.conditions
        totals.events += outcome.events

    def surges(self, surges: Iterable[Surge]) -> None:
        """The mass events are told with the Plans that they hold."""

    def cycle(self, seconds: float, observer: Observer, fleet: Fleet) -> None:
        """A cycle has ended."""
        del seconds, observer
        self.totals.cycles += 1
        self.totals.managed = max(self.totals.managed, fleet.counts()[0])

    def cycle_failed(self) -> None:
        """A cycle ended in an error: whoever plays is told by the exception."""

    # what the player reports

    def edited(self, action: EditNode) -> None:
        """An edit is on the Node."""
        self.totals.edits[action.kind.value] += 1
        edit = action.edit
        if not (edit.add_taints or edit.remove_taints):
            return
        view = self._nodes.nodes()[action.node]
        node = self.totals.node(view.name)
        now_ns = self._clock.now_ns()
        record = self._reason_of(view if edit.add_taints else action.basis)
        rule = self._rule_of(record, view)
        node.effects(frozenset(one.effect for one in our_taints(view, self._policy.keys)), now_ns)
        pool = self._use(view, now_ns)
        if edit.add_taints:
            self._count_taint(view.name, rule, record, now_ns)
        else:
            node.clears += action.kind is not EditKind.RESET
        self._tell(
            Moment(
                now_ns,
                action.kind.value,
                view.name,
                rule=rule,
                fault=_named(record),
                effect=node.effect,
                message=action.message,
                evidence=action.evidence,
                pool=self._pool_of.get(view.name, self._pool(view)),
                tainted=pool.tainted,
                limit=pool.limit,
            )
        )
        if not node.effect:
            self._pool_of.pop(view.name, None)

    def booted(self, name: str) -> None:
        """A node is in another boot."""
        node = self.totals.node(name)
        node.boots += 1
        self._tell(Moment(self._clock.now_ns(), "boot", name, effect=node.effect))

    def _count_taint(self, name: str, rule: str, record: Record | None, now_ns: int) -> None:
        node = self.totals.node(name)
        node.taints += 1
        node.first_taint_ns = node.first_taint_ns or now_ns
        node.rules.add(rule)
        sums = self.totals.rules.get(rule)
        if sums is None:
            sums = self.totals.rules[rule] = RuleTotals()
        sums.taints += 1
        sums.nodes.add(name)
        if record is not None:
            sums.faults[record.fault_id] += 1
            node.faults.add(record.fault_id)

    def _use(self, view: NodeView, now_ns: int) -> PoolTotals:
        """The node's pool after an edit of its taints."""
        name = self._pool_of.get(view.name)
        tainted = bool(our_taints(view, self._policy.keys))
        if name is None:
            name = self._pool(view)
            if tainted:
                self._pool_of[view.name] = name
        count = sum(1 for each in self._pool_of.values() if each == name) - (not tainted)
        fleet = self._nodes.fleet.view(now_ns, {})
        limit = Budgets(fleet, self._policy, now_ns).of(view).limit
        pool = self.totals.pools.setdefault(name, PoolTotals())
        pool.use(count, limit, now_ns)
        return pool

    def _pool(self, view: NodeView) -> str:
        return pool_of(view, self._policy).name

    def _hold(self, name: str, holds: list[Hold]) -> None:
        """Tell the reasons that are new."""
        known = self._held.get(name, frozenset())
        reasons = frozenset(hold.reason for hold in holds) - _UNTOLD
        if not (known or reasons):
            return
        now_ns = self._clock.now_ns()
        node = self.totals.node(name)
        node.held.set(bool(reasons & KEPT_IN), now_ns)
        for hold in holds:
            if hold.reason in known or hold.reason in _UNTOLD:
                continue
            self.totals.holds[hold.reason.value] += 1
            node.holds[hold.reason.value] += 1
            view = self._nodes.nodes()[name]
            record = self._reason_of(view)
            self._tell(
                Moment(
                    now_ns,
                    "hold",
                    name,
                    hold.reason.value,
                    self._rule_of(record, view),
                    _named(record),
                    node.effect,
                    hold.message,
                    hold.evidence,
                )
            )
        if reasons:
            self._held[name] = reasons
        else:
            self._held.pop(name, None)

    def _note_surges(self, plan: Plan) -> None:
        if not (plan.actions or plan.settled):
            return  # nothing was decided: it says nothing of surges
        now_ns = self._clock.now_ns()
        for fault_id in sorted(plan.surges - self._surges):
            self.totals.surges[fault_id] += 1
            self._tell(Moment(now_ns, "surge", fault=fault_id, message="a common cause is likely"))
        for fault_id in sorted(self._surges - plan.surges):
            self._tell(Moment(now_ns, "surge over", fault=fault_id))
        self._surges = plan.surges

    def _reason_of(self, view: NodeView) -> Record | None:
        """The record that the node is told by: the worst that acts, else the worst."""
        try:
            records = parse(view.ledger).records if view.ledger else ()
        except CorruptLedger:
            records = ()
        return next((one for one in records if one.acting), records[0] if records else None)

    def _rule_of(self, record: Record | None, view: NodeView) -> str:
        """Name of the rule that treats the record."""
        if record is None:
            return ""
        facts = FaultFacts(
            record.fault_id,
            record.severity,
            record.remedy,
            record.device,
            record.trust,
            record.injected,
            dict(view.labels),
        )
        return choose(self._policy.rules, facts).name


def _named(record: Record | None) -> str:
    return "" if record is None else f"{record.fault_id} {record.device}".strip()
