"""What would pair tests say of a network that is partly broken? Leaves of nodes; nothing real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from konduktor_health.core.blame import Blame, blame
from konduktor_health.core.pair_tests import Member, PairOutcome, PairResult, PairTest
from konduktor_health.core.rounds import RoundOptions, RoundState, learned, plan_round

LEAF = "topology/leaf"


@dataclass
class PairWorld:
    """Nodes by name, and what is wrong. ``leaf_of``: the leaf of each node."""

    leaf_of: dict[str, str]
    bad_nodes: dict[str, PairOutcome] = field(default_factory=dict)
    bad_pairs: dict[frozenset[str], PairOutcome] = field(default_factory=dict)
    dead_leaves: frozenset[str] = frozenset()  # nothing works, inside neither
    cut_leaves: frozenset[str] = frozenset()  # works inside, and with no other
    silent: frozenset[str] = frozenset()  # agents that the controller does not reach

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(name, ("eth0",), ((LEAF, leaf),)) for name, leaf in sorted(self.leaf_of.items())
        )

    def outcome(self, test: PairTest) -> PairOutcome:
        one, other = test.client, test.server
        if one in self.silent:
            return PairOutcome.NOT_MEASURED
        leaves = {self.leaf_of[one], self.leaf_of[other]}
        if leaves & self.dead_leaves or (len(leaves) > 1 and leaves & self.cut_leaves):
            return PairOutcome.FAILED
        for node in (one, other):
            if node in self.bad_nodes:
                return self.bad_nodes[node]
        return self.bad_pairs.get(frozenset((one, other)), PairOutcome.OK)

    def run(self, tests: Sequence[PairTest]) -> list[PairResult]:
        return [
            PairResult(test.client, test.server, interface, self.outcome(test))
            for test in tests
            for interface in test.interfaces
        ]


def settle(
    world: PairWorld, options: RoundOptions, *, rounds: int = 1, state: RoundState | None = None
) -> tuple[Blame, RoundState, list[tuple[PairTest, ...]]]:
    """So many rounds with all their follow-ups; what they come to, and what was planned."""
    state = state or RoundState()
    now_ns = state.due_ns
    planned: list[tuple[PairTest, ...]] = []
    while True:
        tests = plan_round(state, world.members, options, now_ns)
        if not tests:
            if rounds == 1:
                return blame(state.seen, world.members), state, planned
            rounds -= 1
            now_ns = state.due_ns
            continue
        planned.append(tests)
        state = learned(state, tests, world.run(tests), options, now_ns)
