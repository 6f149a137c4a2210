"""Which nodes test each other now? Pure. (docs/design/rounds.md)

A round pairs all nodes that take part, each once: at most n/2 tests. Where a pair fails, follow-ups
pair the suspects with nodes that are known to work, until ``core.blame`` can tell, or until
``most_follow_ups`` rounds of them are spent.

The driver is a small loop::

    tests = plan_round(state, members, options, now_ns)
    results = run(tests)                                   # in batches(), if there are many
    state = learned(state, tests, results, options, now_ns)
    accusations = blame(state.seen, members).accusations

Invariants: a node is in at most one test of a plan; the same arguments give the same plan; the work
grows with the number of members and of results that are kept; the window bounds what is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from konduktor_health.core.blame import Question, blame
from konduktor_health.core.pair_tests import (
    Graph,
    Member,
    PairKey,
    PairOutcome,
    PairResult,
    PairTest,
    Seen,
    pair_key,
)
from konduktor_health.core.pairings import mixed, random_pairs, ring_pairs
from konduktor_health.timestamps import NS


class Shape(Enum):
    """How the pairs of a round are chosen."""

    RING = "ring"  # neighbours in the order of domains and names, later ones further apart
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class RoundOptions:
    """How rounds are planned."""

    shape: Shape = Shape.RANDOM
    seed: int = 0
    interval_ns: int = 3600 * NS  # between rounds; 0: none by themselves, only follow-ups
    window_ns: int = 5400 * NS  # older results are forgotten: this round's and the last one's count
    most_follow_ups: int = 8  # rounds of follow-ups after one round
    most_pairs: int = 0  # in one plan; 0: as many as there are


@dataclass(frozen=True, slots=True)
class RoundState:
    """What is known between rounds. Losing it costs a round."""

    seen: Mapping[PairKey, Seen] = field(default_factory=dict)
    rounds: int = 0  # planned by themselves so far
    follow_ups: int = 0  # since the last of them
    due_ns: int = 0  # when the next one is


def taking_part(
    members: Iterable[Member], *, hosts: frozenset[str] | None = None, without: frozenset[str]
) -> tuple[Member, ...]:
    """Members by name. ``hosts``: only these, as a label, a job or a list selects them; None: all.
    ``without``: nodes that are being tested, or that are to be left alone."""
    chosen = {
        each.name: each
        for each in members
        if each.name not in without and (hosts is None or each.name in hosts)
    }
    return tuple(chosen[name] for name in sorted(chosen))


def plan_round(
    state: RoundState, members: Sequence[Member], options: RoundOptions, now_ns: int
) -> tuple[PairTest, ...]:
    """What to test now: follow-ups of the last round, else a round where one is due, else
    nothing."""
    if state.rounds and state.follow_ups < options.most_follow_ups:
        questions = blame(state.seen, members).questions
        if tests := tests_for(state, questions, members, options):
            return tests
    if not options.interval_ns or now_ns < state.due_ns or len(members) < 2:
        return ()
    return _round(state, members, options)


def learned(
    state: RoundState,
    tests: Sequence[PairTest],
    results: Iterable[PairResult],
    options: RoundOptions,
    now_ns: int,
) -> RoundState:
    """The state after these tests. A pair that was not measured is remembered as asked, and does
    not take the place of a result."""
    oldest_ns = now_ns - options.window_ns
    seen = {key: each for key, each in state.seen.items() if each.at_ns > oldest_ns}
    for result in results:
        key = pair_key(result.client, result.server, result.interface)
        if result.outcome is not PairOutcome.NOT_MEASURED or key not in seen:
            seen[key] = Seen(result, now_ns)
    if any(not each.follow_up for each in tests):
        due_ns = now_ns + options.interval_ns
        return RoundState(seen, state.rounds + 1, 0, due_ns)
    return replace(state, seen=seen, follow_ups=state.follow_ups + (1 if tests else 0))


def forget(state: RoundState, nodes: frozenset[str]) -> RoundState:
    """The state without results of these nodes: they were repaired, or are gone."""
    kept = {key: each for key, each in state.seen.items() if not nodes.intersection(key[:2])}
    return replace(state, seen=kept)


def batches(tests: Sequence[PairTest], size: int) -> Iterable[tuple[PairTest, ...]]:
    """The tests in parts of at most ``size`` that run at once; 0: all at once."""
    step = size or max(1, len(tests))
    for start in range(0, len(tests), step):
        yield tuple(tests[start : start + step])


def tests_for(
    state: RoundState,
    questions: Sequence[Question],
    members: Sequence[Member],
    options: RoundOptions,
) -> tuple[PairTest, ...]:
    """Tests that answer these questions, as far as there are partners that are known to work. The
    partner is the client: the agent of the other may not answer."""
    by_name = {each.name: each for each in members}
    partners = _Partners(state, members, questions, options)
    tests: list[PairTest] = []
    most = options.most_pairs or len(members)
    for question in questions:
        if len(tests) >= most:
            break
        node = by_name.get(question.node)
        if node is None or question.interface not in node.interfaces:
            continue
        if partner := partners.take(question):
            shared = tuple(n for n in node.interfaces if n in by_name[partner].interfaces)
            tests.append(PairTest(partner, node.name, shared, follow_up=True))
    return tuple(tests)


def _round(
    state: RoundState, members: Sequence[Member], options: RoundOptions
) -> tuple[PairTest, ...]:
    if options.shape is Shape.RING:
        order = sorted(members, key=lambda each: (each.domains, each.name))
        pairs = ring_pairs(order, state.rounds)
    else:
        pairs = random_pairs(sorted(members, key=lambda m: m.name), options.seed, state.rounds)
    tests = []
    for one, other in pairs[: options.most_pairs or None]:
        shared = tuple(name for name in one.interfaces if name in other.interfaces)
        if shared:  # each is the client about as often as the server
            forth = mixed(options.seed, state.rounds, f"{one.name} {other.name}") % 2
            client, server = (one, other) if forth else (other, one)
            tests.append(PairTest(client.name, server.name, shared))
    return tuple(tests)


class _Partners:
    """Nodes that are known to work on an interface, each given once."""

    def __init__(
        self,
        state: RoundState,
        members: Sequence[Member],
        questions: Sequence[Question],
        options: RoundOptions,
    ) -> None:
        self._seen = state.seen
        self._used: set[str] = set()
        self._known: dict[str, deque[str]] = {}
        for interface in {each.interface for each in questions}:
            graph = Graph.of(state.seen, interface)
            names = [
                each.name
                for each in members
                if interface in each.interfaces and graph.credible(each.name)
            ]
            turn = state.rounds * 64 + state.follow_ups
            order = {name: mixed(options.seed, turn, name) for name in names}
            self._known[interface] = deque(sorted(names, key=order.__getitem__))

    def take(self, question: Question) -> str:
        """A partner that the node has not been paired with; "" where there is none."""
        if question.node in self._used:
            return ""
        candidates = self._known[question.interface]
        if question.inside:
            candidates = deque(sorted(question.inside))
        for _ in range(len(candidates)):
            name = candidates.popleft()
            if name in self._used:
                continue  # for good: on another interface it was given
            if self._fits(name, question):
                self._used |= {name, question.node}
                return name
            candidates.append(name)
        return ""

    def _fits(self, name: str, question: Question) -> bool:
        key = pair_key(name, question.node, question.interface)
        return name != question.node and name not in question.outside and key not in self._seen
