"""What does a played past come to? Sums per node, per rule and per pool.

Bounded by nodes, rules and pools, not by how long the past is. Times are Unix nanoseconds,
durations nanoseconds; ``close`` ends what still lasts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from konduktor_health.treatment import Effect

_KEEPS_OUT = frozenset({Effect.NO_SCHEDULE.value, Effect.NO_EXECUTE.value})


@dataclass(slots=True)
class Span:
    """How long something has been so, with interruptions."""

    total_ns: int = 0
    since_ns: int | None = None  # it is so since then

    def set(self, on: bool, now_ns: int) -> None:
        """It is so from now on, or is not."""
        if on and self.since_ns is None:
            self.since_ns = now_ns
        elif not on and self.since_ns is not None:
            self.total_ns += now_ns - self.since_ns
            self.since_ns = None


@dataclass(slots=True)
class NodeTotals:
    """One node that anything was decided about."""

    taints: int = 0
    clears: int = 0
    boots: int = 0
    first_taint_ns: int = 0
    effect: str = ""  # of our taint now; "" without one
    out: Span = field(default_factory=Span)  # NoSchedule or NoExecute
    discouraged: Span = field(default_factory=Span)  # PreferNoSchedule alone
    held: Span = field(default_factory=Span)  # wanted to be tainted, and was not
    rules: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)  # that it was tainted for
    holds: Counter[str] = field(default_factory=Counter)

    def effects(self, present: frozenset[str], now_ns: int) -> None:
        """Our taints that the node carries from now on."""
        out = bool(present & _KEEPS_OUT)
        self.effect = max(present, key=lambda each: Effect(each).rank, default="")
        self.out.set(out, now_ns)
        self.discouraged.set(bool(present) and not out, now_ns)


@dataclass(slots=True)
class RuleTotals:
    """One rule of the policy."""

    taints: int = 0
    nodes: set[str] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class PoolTotals:
    """One pool's budget."""

    limit: int = 0
    tainted: int = 0
    peak: int = 0
    peak_ns: int = 0
    full: Span = field(default_factory=Span)  # as many tainted as may be

    def use(self, tainted: int, limit: int, now_ns: int) -> None:
        """So many are tainted from now on, of so many that may be."""
        self.tainted, self.limit = tainted, limit
        if tainted > self.peak:
            self.peak, self.peak_ns = tainted, now_ns
        self.full.set(tainted >= limit, now_ns)


@dataclass(slots=True)
class Totals:
    """All sums of one policy."""

    nodes: dict[str, NodeTotals] = field(default_factory=dict)
    rules: dict[str, RuleTotals] = field(default_factory=dict)
    pools: dict[str, PoolTotals] = field(default_factory=dict)
    edits: Counter[str] = field(default_factory=Counter)  # writes of Nodes by kind
    conditions: int = 0
    events: int = 0
    holds: Counter[str] = field(default_factory=Counter)  # begun, by reason
    surges: Counter[str] = field(default_factory=Counter)  # begun, by fault id
    managed: int = 0
    cycles: int = 0
    decisions: int = 0

    def node(self, name: str) -> NodeTotals:
        """The sums of a node."""
        known = self.nodes.get(name)
        if known is None:
            known = self.nodes[name] = NodeTotals()
        return known

    def close(self, now_ns: int) -> None:
        """The past ends now. What lasts is counted up to here, and goes on lasting."""
        spans = [span for node in self.nodes.values() for span in _spans(node)]
        spans += [pool.full for pool in self.pools.values()]
        for span in spans:
            if span.since_ns is not None:
                span.total_ns += now_ns - span.since_ns
                span.since_ns = now_ns

    @property
    def tainted(self) -> list[str]:
        """Nodes that were tainted at any time, by name."""
        return sorted(name for name, node in self.nodes.items() if node.taints)

    @property
    def out_ns(self) -> int:
        """Node time out of scheduling."""
        return sum(node.out.total_ns for node in self.nodes.values())

    @property
    def discouraged_ns(self) -> int:
        """Node time with PreferNoSchedule alone."""
        return sum(node.discouraged.total_ns for node in self.nodes.values())


def _spans(node: NodeTotals) -> tuple[Span, ...]:
    return node.out, node.discouraged, node.held
