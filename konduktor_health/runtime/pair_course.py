"""What does one kind of pair test know, and what is to be measured next? Rounds, and what follows.

In this order: what has to be measured once more before a node is accused, nodes whose recovery
waits for it, pairs that others suspect, then what ``core.rounds`` plans.

Invariants:
- A node is accused once ``confirm_s`` have passed since it was first suspected and it failed again
  then: one that reboots is NotReady by that time, and takes no part.
- What was measured of a node before it booted, or while it took no part, is forgotten; and of both
  ends of a pair that has begun to fail: what worked an hour ago says nothing of now.
- Times within are of the monotonic clock: a wall clock that is set back delays no round.
- Used by one thread. Losing it costs a round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from konduktor_health.clock import NS, Clock
from konduktor_health.core.accusation import Accusation, Blamed
from konduktor_health.core.blame import Blame, Question, blame
from konduktor_health.core.pair_tests import (
    Kind,
    PairKey,
    PairOutcome,
    PairResult,
    PairTest,
)
from konduktor_health.core.rounds import (
    RoundOptions,
    RoundState,
    forget,
    learned,
    plan_round,
    tests_for,
)
from konduktor_health.runtime.pair_members import Taker

CONFIRM_S = 90.0  # a kubelet that is silent for 50 s makes its Node NotReady
PROVING_S = 7200.0  # so long after it was asked for, what is measured of a node is told as proof
AGAIN_S = 60.0  # between two tries to find a partner for a node that has to prove itself
NEW_FOLLOW_UPS_S = 600.0  # between two times that suspicions allow further follow-ups
MOST_SUSPECTED = 10_000
MOST_ANEW = 4  # rounds at once, where nobody works with anybody
#: Until a round of which nothing was measured is done again (no key yet, no agent has it yet);
#: twice as long each time.
NOTHING_S = 5.0

Place = tuple[str, str]  # node, interface


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A node that is accused, on one interface."""

    accusation: Accusation
    interface: str

    @property
    def node(self) -> str:
        """Its name."""
        return self.accusation.nodes[0]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a node that has to prove itself came to in one test."""

    node: str
    interface: str
    outcome: PairOutcome


@dataclass(frozen=True, slots=True)
class Learned:
    """What some tests came to. Whom they speak against is ``Course.blame``, which is to be told
    once nothing is to be measured any more: follow-ups may find another culprit."""

    confirmed: tuple[Confirmed, ...] = ()
    proofs: tuple[Proof, ...] = ()
    round_over: bool = False  # it was a round, not follow-ups


class Course:
    """The rounds of one kind."""

    def __init__(
        self,
        kind: Kind,
        options: RoundOptions,
        clock: Clock,
        *,
        at_once: int,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self.kind = kind
        self.at_once = at_once
        self.state = RoundState()
        self.blame = Blame()
        self._options = options
        self._clock = clock
        self._confirm_ns = int(confirm_s * NS)
        self._open = False  # there may be follow-ups
        self._anew = 0
        self._nothing = 0  # rounds in a row of which nothing was measured
        self._identity: dict[str, tuple[str, str]] = {}
        self._suspected: dict[PairKey, None] = {}
        self._wanted: dict[str, None] = {}
        self._proving: dict[str, float] = {}  # until when, monotonic
        self._since_ns: dict[Place, int] = {}  # when it was first suspected
        self._told_ns: dict[Place, int] = {}  # its newest failure that was told
        self._confirmed_s: dict[Place, float] = {}  # when it was last measured for that, monotonic
        self._tried_s = self._reset_s = -math.inf

    def suspect(self, pairs: Iterable[PairKey]) -> None:
        """(client, server, interface) of pairs that somebody speaks against."""
        for key in pairs:
            if len(self._suspected) < MOST_SUSPECTED:
                self._suspected[key] = None

    def want(self, node: str) -> None:
        """The node has to prove that it works."""
        self._wanted[node] = None
        self._proving[node] = self._clock.monotonic() + PROVING_S

    def has_work(self) -> bool:
        """Whether it is worth to look who takes part."""
        waits = bool(self._wanted) and self._clock.monotonic() - self._tried_s >= AGAIN_S
        due = self._options.interval_ns > 0 and self._now_ns() >= self.state.due_ns
        return self._open or due or waits or bool(self._suspected) or bool(self._unconfirmed())

    def plan(self, takers: Mapping[str, Taker]) -> tuple[PairTest, ...]:
        """What to measure now; nothing: nothing is due."""
        self._forget(takers)
        members = tuple(takers[name].member for name in sorted(takers))
        tests = (
            self._to_confirm(takers)
            or self._to_prove(takers)
            or self._to_follow(takers)
            or plan_round(self.state, members, self._options, self._now_ns())
        )
        self._open = bool(tests)
        return tests

    def learn(
        self,
        tests: Sequence[PairTest],
        results: Iterable[PairResult],
        takers: Mapping[str, Taker],
    ) -> Learned:
        """Take up what the tests came to. ``takers``: those that still take part."""
        self._forget(takers)
        found = [_still(each, takers) for each in results]
        now_ns = self._now_ns()
        round_over = any(not each.follow_up for each in tests)
        if round_over:
            bad = [each for each in found if each.outcome.bad]
            ends = frozenset(name for each in bad for name in (each.client, each.server))
            self.state = forget(self.state, ends)
        self.state = learned(self.state, tests, found, self._options, now_ns)
        if round_over:
            self._pair_anew(found, now_ns)
        members = tuple(takers[name].member for name in sorted(takers))
        self.blame = blame(self.state.seen, members)
        return Learned(
            tuple(self._confirmed(now_ns)), tuple(self._proofs(found)), round_over=round_over
        )

    def stored(self) -> dict[str, int]:
        """What a restart goes on with: rounds so far, and when the next one is due (Unix ns)."""
        left_ns = max(0, self.state.due_ns - self._now_ns())
        return {"rounds": self.state.rounds, "due_ns": self._clock.now_ns() + left_ns}

    def restore(self, rounds: int, due_ns: int) -> None:
        """Go on there. Pings are cheap, and what was known is lost: they begin at once."""
        left_ns = max(0, min(due_ns - self._clock.now_ns(), self._options.interval_ns))
        if self.kind is Kind.PING:
            left_ns = 0
        self.state = RoundState(rounds=rounds, due_ns=self._now_ns() + left_ns)

    # ------------------------------------------------------------ what is measured next

    def _to_confirm(self, takers: Mapping[str, Taker]) -> tuple[PairTest, ...]:
        tests: list[PairTest] = []
        used: set[str] = set()
        now_s = self._clock.monotonic()
        for (node, interface), accusation in self._unconfirmed().items():
            partners = {
                name
                for each in accusation.evidence
                for name in (each.client, each.server)
                if each.interface == interface and name != node
            }
            for partner in sorted(partners):
                test = _test(partner, node, takers)
                if test is not None and interface in test.interfaces and not used & {partner, node}:
                    self._confirmed_s[node, interface] = now_s
                    used |= {partner, node}
                    tests.append(test)
        return tuple(tests)

    def _to_prove(self, takers: Mapping[str, Taker]) -> tuple[PairTest, ...]:
        now_s = self._clock.monotonic()
        wanted = frozenset(name for name in self._wanted if name in takers)
        if not wanted or now_s - self._tried_s < AGAIN_S:
            return ()
        questions = [
            Question(name, way) for name in sorted(wanted) for way in takers[name].member.interfaces
        ]
        members = tuple(takers[name].member for name in sorted(takers))
        fresh = forget(self.state, wanted)  # what it did before its repair says nothing
        tests = tests_for(fresh, questions, members, self._options)
        asked = frozenset(each.server for each in tests)
        self.state = forget(self.state, asked)
        for name in asked:
            del self._wanted[name]
        if self._wanted:
            self._tried_s = now_s
        return tests

    def _to_follow(self, takers: Mapping[str, Taker]) -> tuple[PairTest, ...]:
        """What was suspected first for each node; the rest is for follow-ups to find."""
        tests: list[PairTest] = []
        used: set[str] = set()
        for client, server, interface in self._suspected:
            test = _test(client, server, takers)
            if test is not None and interface in test.interfaces and not used & {client, server}:
                used |= {client, server}
                tests.append(test)
        self._suspected.clear()
        self.state = forget(self.state, frozenset(used))
        now_s = self._clock.monotonic()
        if tests and now_s - self._reset_s >= NEW_FOLLOW_UPS_S:
            self._reset_s = now_s
            self.state = replace(self.state, follow_ups=0)
        return tuple(tests)

    def _pair_anew(self, results: Sequence[PairResult], now_ns: int) -> None:
        """Where all pairs of a round failed there is nobody to ask further with: others are paired
        at once, a few times. Where nothing was measured, the round is done again soon."""
        outcomes = {each.outcome for each in results}
        stuck = PairOutcome.OK not in outcomes and any(each.bad for each in outcomes)
        self._anew = self._anew + 1 if stuck else 0
        if 0 < self._anew <= MOST_ANEW:
            self.state = replace(self.state, due_ns=now_ns)
        self._nothing = self._nothing + 1 if outcomes == {PairOutcome.NOT_MEASURED} else 0
        if self._nothing:
            soon_ns = now_ns + int(NOTHING_S * NS) * 2 ** min(self._nothing - 1, 20)
            self.state = replace(self.state, due_ns=min(self.state.due_ns, soon_ns))

    # ------------------------------------------------------------ what it comes to

    def _confirmed(self, now_ns: int) -> Iterable[Confirmed]:
        accused = self._accused()
        failed_ns = self._newest_failures(accused)
        for place in [place for place in self._since_ns if place not in accused]:
            for known in (self._since_ns, self._told_ns, self._confirmed_s):
                known.pop(place, None)
        for place, accusation in accused.items():
            since_ns = self._since_ns.setdefault(place, now_ns)
            at_ns = failed_ns[place]
            if at_ns >= since_ns + self._confirm_ns and at_ns > self._told_ns.get(place, 0):
                self._told_ns[place] = at_ns
                yield Confirmed(accusation, place[1])

    def _unconfirmed(self) -> dict[Place, Accusation]:
        """Accused for so long that they are to be measured once more."""
        if not self._since_ns:
            return {}
        now_ns, now_s = self._now_ns(), self._clock.monotonic()
        again_s = self._confirm_ns / NS
        return {
            place: accusation
            for place, accusation in self._accused().items()
            if place not in self._told_ns
            and now_ns >= self._since_ns.get(place, now_ns) + self._confirm_ns
            and now_s - self._confirmed_s.get(place, -math.inf) >= again_s
        }

    def _accused(self) -> dict[Place, Accusation]:
        return {
            (each.nodes[0], interface): each
            for each in self.blame.accusations
            if each.blamed is Blamed.NODE
            for interface in each.interfaces
        }

    def _newest_failures(self, places: Iterable[Place]) -> dict[Place, int]:
        newest = dict.fromkeys(places, 0)
        for (one, other, interface), seen in self.state.seen.items() if newest else ():
            for node in (one, other) if seen.result.outcome.bad else ():
                if (node, interface) in newest:
                    newest[node, interface] = max(newest[node, interface], seen.at_ns)
        return newest

    def _proofs(self, results: Iterable[PairResult]) -> Iterable[Proof]:
        now_s = self._clock.monotonic()
        self._proving = {name: end_s for name, end_s in self._proving.items() if end_s > now_s}
        for each in results if self._proving else ():
            for node in (each.client, each.server):
                if node in self._proving and each.outcome is not PairOutcome.NOT_MEASURED:
                    yield Proof(node, each.interface, each.outcome)

    def _now_ns(self) -> int:
        return int(self._clock.monotonic() * NS)

    def _forget(self, takers: Mapping[str, Taker]) -> None:
        gone = frozenset(
            name
            for name, identity in self._identity.items()
            if name not in takers or takers[name].identity != identity
        )
        if gone:
            self.state = forget(self.state, gone)
            self.blame = Blame(
                tuple(each for each in self.blame.accusations if not gone.intersection(each.nodes))
            )
        self._identity = {name: each.identity for name, each in takers.items()}


def _test(client: str, server: str, takers: Mapping[str, Taker]) -> PairTest | None:
    """A follow-up of this pair on all that the two share; None where one takes no part."""
    one, other = takers.get(client), takers.get(server)
    if one is None or other is None:
        return None
    shared = tuple(way for way in one.member.interfaces if way in other.member.interfaces)
    return PairTest(client, server, shared, follow_up=True) if shared else None


def _still(result: PairResult, takers: Mapping[str, Taker]) -> PairResult:
    """Nothing is said of a node that takes no part any more."""
    if result.client in takers and result.server in takers:
        return result
    return replace(result, outcome=PairOutcome.NOT_MEASURED, text="a node takes no part any more")
