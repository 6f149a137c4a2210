"""Which degraded node gives its taint up so that a fatal one gets in? (docs/design/budgets.md)

A fatal fault whose pool is exhausted may take the place of a node of that pool that carries only
our taint for degraded faults. The node that gives way keeps its record and goes on wanting.

Invariants: budgets are not exceeded on the way: the place is given up in one Plan and taken in
the next one, when the count of the pool says so. Each node gives way at most once per Plan, for
one other; one that an operator holds, or that is opted out, never does. A node gives way only to
one that nothing but the count holds: not to one that the rate would hold next. So no taint goes to
and fro: fatal nodes are planned first, the place that came free goes to the one that waited, and
the displaced one gets its taint back when there is room for one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.budget import Allowance
from konduktor_health.core.ledger import Ledger, Record, Writes, written
from konduktor_health.core.managed import opted_out
from konduktor_health.core.pauses import held_by_operator
from konduktor_health.core.pools import family, pool_of
from konduktor_health.core.reset import our_taints
from konduktor_health.core.standing import Taken, standing_of
from konduktor_health.core.wording import describe
from konduktor_health.frozen import replace
from konduktor_health.model import EditKind, EditNode, NodeEdit, NodeView, Policy, Snapshot

RETRY_S = 5.0  # after so long a node that was given a place is looked at again, if nothing came


@dataclass(slots=True)
class Displacing:
    """Who gives way within one Plan."""

    snapshot: Snapshot
    policy: Policy
    now_ns: int
    given: set[str] = field(default_factory=set)
    planned: set[str] = field(default_factory=set)  # decided about in this Plan already
    missed: set[str] = field(default_factory=set)  # for whom one of ``planned`` might give way next

    def for_(self, view: NodeView, allowance: Allowance) -> NodeView | None:
        """The node that gives its taint up for this one, which the count of its pool holds; None:
        there is none, or it would not help."""
        if allowance.too_fast():
            return None
        for candidate in _candidates(view, self.snapshot.displaceable, self.policy, allowance):
            if candidate.name in self.given or candidate.name == view.name:
                continue
            if candidate.name in self.planned:
                self.missed.add(view.name)
                continue
            pool = pool_of(candidate, self.policy)
            if standing_of(candidate, pool, self.policy).taken is not Taken.SOFT:
                continue  # it has changed since it was counted
            if opted_out(candidate) or held_by_operator(candidate, self.now_ns):
                continue  # nothing of it is to change
            self.given.add(candidate.name)
            return candidate
        return None


def _candidates(
    view: NodeView,
    displaceable: Mapping[str, tuple[NodeView, ...]],
    policy: Policy,
    allowance: Allowance,
) -> tuple[NodeView, ...]:
    """Of the node's own pool; of all that spend with it where that is what is exhausted."""
    pool = pool_of(view, policy)
    own = displaceable.get(pool.name, ())
    if not pool.label or allowance.tainted >= allowance.limit:
        return own
    others = (
        nodes
        for name, nodes in sorted(displaceable.items())
        if name != pool.name and name.startswith(f"{family(pool)}/")
    )
    return own + tuple(each for nodes in others for each in nodes)


def displacement(
    view: NodeView, policy: Policy, now_ns: int, for_node: str, writes: Writes = written
) -> EditNode:
    """The edit by which a node gives its taint up: its records stay, nothing is owned any more."""
    ledger, _ = read_ledger(view)
    after = replace(
        ledger, owned=(), tainted_ns=0, written_ns=now_ns, since_ns=now_ns, removed_ns=0
    )
    owned = set(ledger.owned)
    taints = tuple(t for t in our_taints(view, policy.keys) if t.effect in owned)
    return EditNode(
        node=view.name,
        basis=view,
        edit=NodeEdit(remove_taints=taints, annotations={policy.keys.ledger: writes(after)}),
        kind=EditKind.DISPLACE,
        message=f"gives its taint up for {for_node}: a fatal fault goes before {_what(ledger)}",
        evidence=tuple(_told(record) for record in ledger.records if record.acting)[:8],
    )


def _what(ledger: Ledger) -> str:
    acting = next((record for record in ledger.records if record.acting), None)
    return describe(acting.fault_id, acting.device) if acting else "a degraded one"


def _told(record: Record) -> str:
    return f"{describe(record.fault_id, record.device)}: {record.text}"
