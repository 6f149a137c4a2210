"""How are the agents of many nodes asked for checks, a few at once, and waited for?

Each node is asked once and then looked at until its run has ended. What one agent does costs its
own node; what would be the same for each of them (a right that is missing) ends it all.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from konduktor_health.clock import Clock
from konduktor_health.errors import AgentRefused, AgentUnavailable, HealthError, NotFound
from parsers.printable import printable
from probes.report import CheckInfo, Result, RunAccepted, TierName

LOOK_S = 1.0
GRACE_S = 120.0  # beyond the checks' own deadlines: the agent may be at something else
MOST_SILENT_S = 60.0  # an agent that does not answer for so long is given up


class State(StrEnum):
    """How far a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    NO_AGENT = "no agent"
    REFUSED = "refused"  # by the agent: busy GPUs, asked too often, unknown check
    SILENT = "silent"  # not reached, or not in time


_OVER = frozenset({State.DONE, State.NO_AGENT, State.REFUSED, State.SILENT})


@dataclass(slots=True)
class Visit:
    """One node."""

    node: str
    state: State = State.WAITING
    message: str = ""
    run_id: str = ""
    results: tuple[Result, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.state in _OVER


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run."""

    checks: tuple[str, ...] = ()
    tier: TierName | None = None
    options: Mapping[str, str] | None = None
    timeout_s: float | None = None  # None: by the deadlines of the checks


class Orders(Protocol):
    """How an agent is asked (``adapters.probes.orders``)."""

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        tier: TierName | None = None,
        options: Mapping[str, str] | None = None,
    ) -> RunAccepted:
        """Have these checks run once. Raises HealthError."""
        ...


class Looked(Protocol):
    """One look (``adapters.probes.asked``)."""

    @property
    def results(self) -> tuple[Result, ...] | None:
        """None while the run has not ended."""
        ...

    @property
    def etag(self) -> str:
        """For the next look."""
        ...


class Asked(Protocol):
    """What came of it (``adapters.probes.asked``)."""

    def look(self, node: str, run_id: str, etag: str = "") -> Looked:
        """Has the run ended? Raises HealthError."""
        ...

    def checks(self, node: str) -> tuple[CheckInfo, ...]:
        """The checks that the node has. Raises HealthError."""
        ...


class Visits:
    """The nodes and how far they are. Read by any thread."""

    def __init__(
        self,
        nodes: Sequence[str],
        agents: frozenset[str],
        wanted: Wanted,
        orders: Orders,
        asked: Asked,
        clock: Clock,
        *,
        batch: int,
        look_s: float = LOOK_S,
    ) -> None:
        """``agents``: nodes that have one; ``batch``: nodes that measure at once."""
        self.all = tuple(Visit(name) for name in nodes)
        self._wanted = wanted
        self._orders = orders
        self._asked = asked
        self._clock = clock
        self._look_s = look_s
        self._left = deque[Visit]()
        for visit in self.all:
            if visit.node in agents:
                self._left.append(visit)
            else:
                visit.state = State.NO_AGENT
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"probe-{number}", daemon=True)
            for number in range(min(batch, len(self._left)))
        ]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask nobody further. What agents have begun goes on."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Until something has changed, at most so long; True: all is over. Raises what ended it
        all."""
        self._changed.wait(seconds)
        self._changed.clear()
        if self._errors:
            self.stop()
            raise self._errors[0]
        return all(visit.over for visit in self.all)

    def _work(self) -> None:
        try:
            while self._left and not self._stop.is_set():
                try:
                    visit = self._left.popleft()
                except IndexError:
                    return
                self._visit(visit)
                self._changed.set()
        except BaseException as error:
            self._errors.append(error)
            self._changed.set()

    def _visit(self, visit: Visit) -> None:
        wanted = self._wanted
        try:
            accepted = self._orders.run(
                visit.node, checks=wanted.checks, tier=wanted.tier, options=wanted.options
            )
        except (AgentRefused, AgentUnavailable, NotFound) as error:
            visit.state = State.REFUSED if isinstance(error, AgentRefused) else State.SILENT
            visit.message = _said(error)
            return
        visit.run_id, visit.state = accepted.run_id, State.RUNNING
        self._changed.set()
        self._follow(visit, self._clock.monotonic() + self._patience_s(visit.node))

    def _follow(self, visit: Visit, end_s: float) -> None:
        etag, heard_s = "", self._clock.monotonic()
        while not self._clock.wait(self._stop, self._look_s):
            now_s = self._clock.monotonic()
            try:
                looked = self._asked.look(visit.node, visit.run_id, etag)
            except (AgentRefused, AgentUnavailable, NotFound) as error:
                visit.message = _said(error)
                if now_s - heard_s < MOST_SILENT_S and now_s < end_s:
                    continue
                visit.state = State.SILENT
                return
            etag, heard_s, visit.message = looked.etag, now_s, ""
            if looked.results is not None:
                visit.results, visit.state = looked.results, State.DONE
                return
            if now_s >= end_s:
                visit.state = State.SILENT
                visit.message = "it did not tell within the time; look at its results later"
                return

    def _patience_s(self, node: str) -> float:
        if self._wanted.timeout_s is not None:
            return self._wanted.timeout_s
        try:
            known = self._asked.checks(node)
        except (AgentRefused, AgentUnavailable, NotFound):
            return GRACE_S
        wanted = self._wanted
        deadlines = [
            each.deadline_s + 1
            for each in known
            if each.name in wanted.checks or each.tier == wanted.tier
        ]
        return sum(deadlines) + GRACE_S


def _said(error: HealthError) -> str:
    text = f"{error} ({error.hint})" if error.hint else str(error)
    return printable(text, 400)
