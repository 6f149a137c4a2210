"""How are many agents asked for runs, and waited for, within bounds? For tests in pairs.

Invariants:
- At most so many jobs are under way at once; each ends at its deadline, whatever its agents do.
- A job whose agent refuses, is not reached, or does not tell in time was not measured: it says why,
  and nothing of a node.
- Requests grow with the number of jobs: one for each step, one for each look, and looks are as many
  as fit into the deadline.
- All threads are daemons and leave when ``stop`` is set. Only LeadershipLost comes out.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from loguru import logger

from konduktor_health.adapters.probes.asked import Looked
from konduktor_health.adapters.probes.reading import PAIR
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentRefused, HealthError, LeadershipLost
from probes.report import Result, RunAccepted

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")
_LEAST_PAUSE_S = 0.05


class Orders(Protocol):
    """How an agent is asked (``orders.AgentOrders``)."""

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> RunAccepted:
        """Have these checks run once. Raises HealthError, ValueError."""
        ...


class Asked(Protocol):
    """How it is known what came of it (``asked.AskedRuns``)."""

    def look(self, node: str, run_id: str, etag: str = "") -> Looked:
        """Has this run ended? Raises HealthError."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A check that one agent is asked for, with its options."""

    node: str
    check: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """Requests to send in this order; what the last one's run finds is the answer. Seconds."""

    steps: tuple[Step, ...]
    expected_s: float  # before it nobody looks for an answer
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a job. ``why``: why nothing was measured."""

    results: tuple[Result, ...] = ()
    why: str = ""


@dataclass(slots=True)
class _Flight:
    """A job under way. Times are monotonic."""

    node: str
    run_id: str
    next_s: float
    end_s: float
    etag: str = ""
    trouble: str = "it did not tell within the time"


class PairRuns:
    """Jobs of agents. ``run`` is called by one thread at a time."""

    def __init__(
        self,
        orders: Orders,
        asked: Asked,
        clock: Clock,
        *,
        workers: int = 16,
        look_s: float = 2.0,
    ) -> None:
        """``look_s``: between two looks for one answer."""
        self._orders = orders
        self._asked = asked
        self._clock = clock
        self._workers = workers
        self._look_s = look_s
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()  # requests by what came of them; only grows

    def run(self, jobs: Sequence[Job], *, at_once: int, stop: threading.Event) -> list[Said]:
        """What came of each job, in their order. Raises LeadershipLost."""
        said = [Said(why="stopped")] * len(jobs)
        waiting = deque(range(len(jobs)))
        flying: dict[int, _Flight] = {}
        while (waiting or flying) and not stop.is_set():
            starting = [waiting.popleft() for _ in range(min(len(waiting), at_once - len(flying)))]
            begun = self._together(lambda n: self._begin(jobs[n]), starting, stop)
            for number, each in zip(starting, begun, strict=False):
                if isinstance(each, _Flight):
                    flying[number] = each
                else:
                    said[number] = each
            now_s = self._clock.monotonic()
            due = [number for number, each in flying.items() if each.next_s <= now_s]
            looked = self._together(lambda n: self._look(flying[n]), due, stop)
            for number, found in zip(due, looked, strict=False):
                if found is not None:
                    said[number] = found
                    del flying[number]
            if flying and not (waiting and len(flying) < at_once):
                next_s = min(each.next_s for each in flying.values())
                self._clock.wait(stop, max(_LEAST_PAUSE_S, next_s - self._clock.monotonic()))
        return said

    def _begin(self, job: Job) -> _Flight | Said:
        run_id = ""
        for step in job.steps:
            run_id = PAIR + secrets.token_hex(8)
            options = {f"{step.check}.{name}": value for name, value in step.options.items()}
            try:
                self._orders.run(
                    step.node, checks=(step.check,), options=options, request_id=run_id
                )
            except LeadershipLost:
                raise
            except (HealthError, ValueError) as error:
                self._count("refused" if isinstance(error, AgentRefused) else "failed")
                logger.bind(node=step.node, check=step.check).debug(f"not asked: {error}")
                return Said(why=f"{step.node} was not asked: {error}")
            self._count("accepted")
        now_s = self._clock.monotonic()
        return _Flight(job.steps[-1].node, run_id, now_s + job.expected_s, now_s + job.deadline_s)

    def _look(self, flight: _Flight) -> Said | None:
        """None: not yet."""
        try:
            looked = self._asked.look(flight.node, flight.run_id, flight.etag)
        except HealthError as error:  # it may answer next time
            flight.trouble = str(error)
        else:
            flight.etag = looked.etag
            if looked.results is not None:
                return Said(looked.results)
        now_s = self._clock.monotonic()
        if now_s >= flight.end_s:
            return Said(why=f"{flight.node}: {flight.trouble}")
        flight.next_s = min(now_s + self._look_s, flight.end_s)
        return None

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.counts[outcome] += 1

    def _together(
        self, work: Callable[[_Item], _Made], items: Sequence[_Item], stop: threading.Event
    ) -> list[_Made]:
        """What ``work`` makes of each item, in their order; nothing once ``stop`` is set."""
        if len(items) == 1:
            return [work(items[0])]
        made: dict[int, _Made] = {}
        errors: list[BaseException] = []
        left = deque(enumerate(items))
        done = threading.Semaphore(0)

        def go() -> None:
            try:
                while left and not errors and not stop.is_set():
                    try:
                        number, item = left.popleft()
                    except IndexError:
                        return
                    made[number] = work(item)
            except BaseException as error:
                errors.append(error)
            finally:
                done.release()

        threads = min(self._workers, len(items))
        for number in range(threads):
            threading.Thread(target=go, name=f"pair-runs-{number}", daemon=True).start()
        for _ in range(threads):
            while not done.acquire(timeout=0.2):
                if stop.is_set():
                    return []
        if errors:
            raise errors[0]
        return [made[number] for number in range(len(items))] if len(made) == len(items) else []
