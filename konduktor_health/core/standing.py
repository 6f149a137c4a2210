"""What does a node take from the budget of its pool? (docs/design/budgets.md)

Every node has one standing, and so counts once. A taint of ours takes a place, whoever put it
there; but not the weak one that a node gets because there was no place (``Policy.held_effect``),
or the node could never get the place it waits for. A place that is taken for degraded faults
alone can be given up for a fatal one (``core.displace``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Record
from konduktor_health.core.reset import our_taints
from konduktor_health.model import NodeView, Policy, Pool, Severity, Trust
from konduktor_health.treatment import Effect

_SOFT = Effect.PREFER_NO_SCHEDULE.value
_TRUST_RANK = {trust: rank for rank, trust in enumerate(Trust)}


class Taken(Enum):
    """How a node stands to its pool's budget."""

    NOTHING = "nothing"
    ADOPTED = "adopted"  # our taint, put there by somebody else
    TAINT = "taint"
    SOFT = "soft"  # our PreferNoSchedule for degraded faults alone: can be displaced
    HELD = "held"  # our PreferNoSchedule in place of what the budget holds: takes no place
    UNAVAILABLE = "unavailable"  # not tainted by us, and counted all the same

    @property
    def a_taint(self) -> bool:
        """The node carries our taint and takes a place for it."""
        return self in (Taken.ADOPTED, Taken.TAINT, Taken.SOFT)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a node counts, and since when we have tainted it (Unix ns; 0: we have not)."""

    taken: Taken = Taken.NOTHING
    tainted_ns: int = 0
    # of a SOFT one: the highest is displaced first
    weakness: tuple[int, int] = (0, 0)


_NOTHING, _AWAY = Standing(), Standing(Taken.UNAVAILABLE)  # those of most nodes, kept once


def standing_of(view: NodeView, pool: Pool, policy: Policy, *, in_repair: bool = False) -> Standing:
    """How the node counts in its pool. ``in_repair``: a repair of the node is under way."""
    present = {taint.effect for taint in our_taints(view, policy.keys)}
    if not present:
        away = (
            in_repair
            or (pool.count_unready and not view.ready)
            or (pool.count_cordoned and view.unschedulable)
        )
        return _AWAY if away else _NOTHING
    ledger, _ = read_ledger(view)
    if not ledger.owned:
        return Standing(Taken.ADOPTED)
    if present != {_SOFT} or set(ledger.owned) != {_SOFT}:
        return Standing(Taken.TAINT, ledger.tainted_ns)
    if ledger.soft:
        return Standing(Taken.HELD)
    acting = [record for record in ledger.records if record.acting]
    if acting and all(record.severity is Severity.DEGRADED for record in acting):
        return Standing(Taken.SOFT, ledger.tainted_ns, _weakness(acting))
    return Standing(Taken.TAINT, ledger.tainted_ns)


def _weakness(acting: list[Record]) -> tuple[int, int]:
    """Weakest proof first, then the youngest."""
    return (
        min(_TRUST_RANK[record.trust] for record in acting),
        min(record.first_ns for record in acting),
    )
