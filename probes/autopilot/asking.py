"""What is known of these checks now, and may they be run for whoever asks?

Nobody who asks here has shown who they are. So nothing is started unless the agent was told to, and
then only what runs beside any workload, and each check only so often, however many ask: meanwhile
all of them are told the newest results. A run that the controller has asked for, with its
signature, is waited for by its id.

Invariants: results are of this boot and not older than ``oldest_s`` allows, and say how old they
are; what did not end in time has no results.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime

from probes.agent.board import Board, CheckState
from probes.agent.clocks import Clock
from probes.agent.requests import QueueFullError, Request, Requests
from probes.autopilot.texts import Told
from probes.check import Cadence, CheckSpec, Tier
from probes.report import Run

#: A check is not begun again for so long after it was asked for here, seconds.
AGAIN_S: Mapping[Cadence, float] = {Cadence.LIGHT: 30.0, Cadence.HOURLY: 300.0}
#: Longest wait for runs: Autopilot's server waits as long.
LONGEST_S = 1800.0
_LATE_S = 600.0  # a run may be so late before its results are too old
_OLDEST_S = 86_400.0  # of what does not run by itself
_REMEMBERED = 256  # ids of runs that have ended
_NEVER = "not measured in this boot yet"


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that has ended: what it found is just measured to whoever waited for it."""

    began_ns: int
    checks: frozenset[str] = frozenset()


class Asking:
    """Any thread, but for ``told``, which is of an event loop."""

    def __init__(
        self,
        specs: Sequence[CheckSpec],
        intervals: Mapping[str, float],
        board: Board,
        requests: Requests,
        clock: Clock,
        *,
        wake: Callable[[], None],
        starts: bool,
        longest_s: float = LONGEST_S,
    ) -> None:
        """``wake``: a request is in the queue. ``starts``: whoever asks may have checks run."""
        self._specs = {spec.name: spec for spec in specs}
        self._intervals = intervals
        self._board, self._requests, self._clock = board, requests, clock
        self._wake, self._starts, self._longest_s = wake, starts, longest_s
        self._lock = threading.Lock()
        self._asked_s: dict[str, float] = {}  # check -> when it was asked for, monotonic
        self._running: dict[str, str] = {}  # check -> run that it was asked for in
        self._waiting: dict[str, Future[None]] = {}
        self._ended: OrderedDict[str, _Ended] = OrderedDict()

    def take(self, run: Run) -> None:
        """A run has ended, and its results are on the board."""
        checks = frozenset(result.check for result in run.results)
        with self._lock:
            self._ended[run.run_id] = _Ended(run.began_ns, checks)
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
            self._running = {c: r for c, r in self._running.items() if r != run.run_id}
            waiting = self._waiting.pop(run.run_id, None)
        if waiting is not None:
            waiting.set_result(None)

    async def told(self, checks: Collection[str], run_id: str = "") -> Mapping[str, Told]:
        """What there is to tell of each of these checks. ``run_id``: a run that was asked for
        elsewhere and is waited for; nothing is begun then."""
        if run_id and not self._requests.knows(run_id):
            return {check: Told(why_none="no such run was asked for") for check in checks}
        since_ns = self._clock.now_ns()
        late = await self._wait({run_id} if run_id else self._begun(checks))
        with self._lock:
            ended = self._ended.get(run_id, _Ended(since_ns))
        return {
            check: self._of(check, ended.began_ns if check in ended.checks else since_ns, late=late)
            for check in checks
        }

    def _begun(self, checks: Collection[str]) -> set[str]:
        """The runs to wait for: of those who asked before, and one of our own."""
        if not self._starts:
            return set()
        now_s = self._clock.monotonic()
        with self._lock:
            runs = {self._running[check] for check in checks if check in self._running}
            mine = tuple(
                check
                for check in self._specs
                if check in checks and check not in self._running and self._may(check, now_s)
            )
            if not mine:
                return runs
            run_id = f"autopilot-{self._clock.now_ns()}"
            self._running.update(dict.fromkeys(mine, run_id))
            self._asked_s.update(dict.fromkeys(mine, now_s))
        try:
            self._requests.put(Request(run_id, mine))
        except QueueFullError:  # what is known is told
            with self._lock:
                self._running = {c: r for c, r in self._running.items() if r != run_id}
            return runs
        self._wake()
        return runs | {run_id}

    def _may(self, check: str, now_s: float) -> bool:
        spec = self._specs[check]
        again_s = AGAIN_S.get(spec.cadence)
        if spec.tier is not Tier.LIGHT or again_s is None:
            return False
        return now_s - self._asked_s.get(check, -again_s) >= again_s

    async def _wait(self, runs: Collection[str]) -> bool:
        """Wait for these runs to end; True: one of them did not."""
        with self._lock:
            left = {run_id for run_id in runs if run_id not in self._ended}
            futures = [self._waiting.setdefault(run_id, Future()) for run_id in left]
        if not futures:
            return False
        waited = [asyncio.wrap_future(each) for each in futures]
        _, late = await asyncio.wait(waited, timeout=self._longest_s)
        if late:
            with self._lock:
                self._running = {c: r for c, r in self._running.items() if r not in left}
                for run_id in left:
                    self._waiting.pop(run_id, None)
        return bool(late)

    def _of(self, check: str, since_ns: int, *, late: bool) -> Told:
        if check not in self._specs:
            return Told(why_none="this node does not have the check")
        if late:
            return Told(why_none=f"did not end within {self._longest_s:g} s")
        state = self._board.told.checks.get(check)
        if state is None:
            return Told(why_none=_NEVER)
        ended_ns = _ended_ns(state)
        if ended_ns >= since_ns:
            return Told(state.results)
        age_s = max(0.0, (self._clock.now_ns() - ended_ns) / 1e9)
        at = datetime.fromtimestamp(ended_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        when = f"measured at {at}, {age_s:.0f} s ago"
        if age_s > self.oldest_s(check):
            return Told(why_none=f"{when}: too long ago to count")
        return Told(state.results, note=when)

    def oldest_s(self, check: str) -> float:
        """How old results of a check may be, seconds: it should have run twice meanwhile."""
        interval_s = self._intervals.get(self._specs[check].cadence.value, 0.0)
        return 2 * interval_s + _LATE_S if interval_s else _OLDEST_S


def _ended_ns(state: CheckState) -> int:
    return max(each.ended_ns for each in state.results)
