"""When do nodes test each other, and who is told what comes of it? (docs/design/rounds.md)

A thread of its own, on the replica that leads: it asks each kind of test whether something is due
(``pair_course``), has it measured, and hands on what it comes to (``pair_findings``). Kinds take
turns, so that a node is in one test at a time.

Invariants:
- Nothing is asked of an agent but by a replica that leads, and what was not measured says nothing.
- A round that is broken off by a restart is made again; nobody is accused for it.
- The loop waits for nothing here but a lock.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.pair_tests import Kind, PairKey, PairResult, PairTest
from konduktor_health.errors import LeadershipLost
from konduktor_health.model import Policy
from konduktor_health.runtime.pair_course import Course
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.pair_members import Takers

LOOK_S = 5.0
_AFTER_BUG_S = 60.0


class MeasuresPairs(Protocol):
    """How pairs are measured (``adapters.probes.pair_measuring``)."""

    def measure(
        self, kind: Kind, tests: Sequence[PairTest], *, at_once: int, stop: threading.Event
    ) -> list[PairResult]:
        """A result for each test on each of its interfaces. Raises LeadershipLost."""
        ...

    def counted(self) -> Mapping[str, int]:
        """Requests that were sent, by what came of them; only grows."""
        ...


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """What was done since the last call."""

    tests: Counter[tuple[str, str]]  # kind, outcome -> pairs on an interface
    rounds: Counter[str]  # kind -> rounds that have ended


class Rounds:
    """Tests in pairs. ``turn`` and what it calls is of one thread; all else of any."""

    def __init__(
        self,
        measuring: MeasuresPairs,
        takers: Takers,
        courses: Iterable[Course],
        findings: PairFindings,
        clock: Clock,
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._measuring = measuring
        self._takers = takers
        self._courses = {course.kind: course for course in courses}
        self._clock = clock
        self._look_s = look_s
        self.findings = findings
        self._lock = threading.Lock()
        self._suspected: list[PairKey] = []
        self._wanted: dict[tuple[Kind, str], None] = {}
        self._stored: dict[str, Any] = {}
        self._tests: Counter[tuple[str, str]] = Counter()
        self._rounds: Counter[str] = Counter()

    def start(self, stop: threading.Event) -> None:
        """Measure in a thread until ``stop`` is set."""
        threading.Thread(target=self._run, args=(stop,), name="rounds", daemon=True).start()

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        self._takers.use(policy)

    def suspect(self, pairs: Iterable[PairKey]) -> None:
        """(client, server, interface) of pairs of which agents say by themselves that they are
        bad."""
        with self._lock:
            self._suspected.extend(pairs)
            del self._suspected[:-10_000]

    def want(self, node: str, check: str) -> bool:
        """A clear rule waits for this node to pass this check. False: it is none of ours."""
        kind = next((kind for kind in Kind if kind.check == check), None)
        if kind is None:
            return False
        with self._lock:
            self._wanted[kind, node] = None
        return True

    def drain_counts(self) -> RoundCounts:
        """What was done since the last call."""
        with self._lock:
            drained = RoundCounts(self._tests, self._rounds)
            self._tests, self._rounds = Counter(), Counter()
        return drained

    def requests(self) -> Mapping[str, int]:
        """Signed requests that were sent, by what came of them; only grows."""
        return self._measuring.counted()

    def turn(self, stop: threading.Event) -> int:
        """Measure what is due, each kind once; returns how many pairs. Raises LeadershipLost."""
        self._hand_on()
        count = 0
        for kind, course in self._courses.items():
            if not course.has_work() or stop.is_set():
                continue
            takers = self._takers.now(kind)
            tests = course.plan(takers)
            if not tests:
                self.findings.settled(kind, course.blame, takers)
                continue
            results = self._measuring.measure(kind, tests, at_once=course.at_once, stop=stop)
            if stop.is_set():
                return count  # half of it was not measured for that: nothing is learned
            takers = self._takers.now(kind)
            learned = course.learn(tests, results, takers)
            self.findings.take_up(kind, learned, takers)
            self._count(kind, results, round_over=learned.round_over)
            count += len(tests)
        self._store()
        return count

    # ------------------------------------------------------------ what is stored (``checkpoint``)

    def urgent(self) -> bool:
        """It can wait."""
        return False

    def state(self) -> Any:
        """When the next rounds are due."""
        with self._lock:
            return dict(self._stored)

    def saved(self) -> None:
        """Nothing follows from it."""

    def restore(self, state: Any) -> None:
        """Before ``start``. What is damaged counts as none."""
        for kind, course in self._courses.items():
            stored = state.get(kind.value) if isinstance(state, Mapping) else None
            if isinstance(stored, Mapping):
                rounds, due_ns = stored.get("rounds"), stored.get("due_ns")
                if type(rounds) is int and type(due_ns) is int and 0 <= rounds < 2**40:
                    course.restore(rounds, due_ns)
        self._store()

    def _store(self) -> None:
        stored = {
            kind.value: course.stored()
            for kind, course in self._courses.items()
            if course.state.rounds
        }
        with self._lock:
            # Only what is done changes it: it must not be written each time that one looks.
            for name, each in stored.items():
                known = self._stored.get(name)
                if known is None or known["rounds"] != each["rounds"]:
                    self._stored[name] = each

    # ------------------------------------------------------------ the thread

    def _hand_on(self) -> None:
        with self._lock:
            suspected, self._suspected = self._suspected, []
            wanted, self._wanted = self._wanted, {}
        if Kind.PING in self._courses:
            self._courses[Kind.PING].suspect(suspected)
        for kind, node in wanted:
            if kind in self._courses:
                self._courses[kind].want(node)

    def _count(self, kind: Kind, results: Iterable[PairResult], *, round_over: bool) -> None:
        with self._lock:
            for each in results:
                self._tests[kind.value, each.outcome.label] += 1
            self._rounds[kind.value] += round_over

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            pause_s = self._look_s
            try:
                if self.turn(stop):
                    pause_s = 0.0
            except LeadershipLost:
                return
            except Exception as error:  # a bug must not end the rounds unseen
                logger.opt(exception=error).error(f"bug: nodes do not test each other: {error!r}")
                pause_s = _AFTER_BUG_S
            self._clock.wait(stop, pause_s)
