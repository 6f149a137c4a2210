"""Who asks the agents to measure what a decision waits for? Requests aside, at most so many.

Followed by changes of Nodes, like all else: what is wanted of a node follows from its ledger and
the policy (``core.wanted``). Each probe of a node is asked for at most once per ``interval_s``, and
all together at most ``per_minute``: a mass event must not make all nodes measure at once.

Invariants: only agents that are believed are asked; what an agent refuses (GPUs busy, queue full)
is asked for again after the interval, one that was not reached sooner; whoever was asked longest
ago comes first, so that nobody is left out where more is wanted than may be asked for; agents that
do not answer keep a few of the requests waiting, not all; memory is bounded by the nodes that want
anything.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.wanted import wanted_probes
from konduktor_health.errors import AgentRefused, HealthError, LeadershipLost
from konduktor_health.model import NodeView, Policy
from konduktor_health.treatment import TIERS

INTERVAL_S = 600.0
FAILED_S = 60.0  # an agent that was not reached is asked again after so long
PER_MINUTE = 120
AT_ONCE = 16
_LOOK_S = 5.0


class AsksToRun(Protocol):
    """How an agent is asked (``adapters.probes.orders``)."""

    def run(
        self,
        node: str,
        *,
        checks: Sequence[str] = (),
        tier: Any = None,
    ) -> Any:
        """Run these checks once, or all of a tier. Raises HealthError."""
        ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """Monotonic seconds."""

    at_s: float = -math.inf
    again_s: float = -math.inf  # not asked for before


_NEVER = _Asked()


class Verifying:
    """Requests for measurements that decisions wait for."""

    def __init__(
        self,
        orders: AsksToRun,
        nodes: Callable[[], Mapping[str, NodeView]],
        policy: Policy,
        *,
        clock: Clock,
        believed: Callable[[str], bool],
        interval_s: float = INTERVAL_S,
        per_minute: int = PER_MINUTE,
        at_once: int = AT_ONCE,
        elsewhere: Callable[[str, str], bool] = lambda _node, _probe: False,
        left_to_jobs: frozenset[str] = frozenset(),
    ) -> None:
        """``believed``: the agent of this node is (``Collector.believed``). ``elsewhere``: takes a
        probe that no agent has by itself (``Rounds.want``). ``left_to_jobs``: checks that it is not
        asked for (``core.wanted``)."""
        self._orders = orders
        self._nodes = nodes
        self._policy = policy
        self._clock = clock
        self._believed = believed
        self._interval_s = interval_s
        self._per_minute = per_minute
        self._at_once = at_once
        self._elsewhere = elsewhere
        self._left_to_jobs = left_to_jobs
        self._lock = threading.Lock()
        self._wanted: dict[str, frozenset[str]] = {}
        self._asked: dict[str, dict[str, _Asked]] = {}  # node -> probe
        self._minute: tuple[float, int] = (-math.inf, 0)  # its begin, and requests in it
        self._counts: Counter[str] = Counter()

    def start(self, stop: threading.Event) -> None:
        """Ask in a thread until ``stop`` is set."""
        threading.Thread(target=self._run, args=(stop,), name="verifying", daemon=True).start()

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        self._policy = policy
        for view in self._nodes().values():
            self.changed(None, view)

    def changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        if new is None:
            if old is not None:
                self._want(old.name, frozenset())
            return
        wanted = frozenset[str]()
        if new.ledger is not None:
            ledger = read_ledger(new)[0]
            wanted = wanted_probes(new, ledger, self._policy, self._left_to_jobs)
        self._want(new.name, wanted)

    def turn(self) -> int:
        """Ask for what is due; returns how many requests were sent. Raises LeadershipLost."""
        sending, room = [], True
        for name, probe in self._due():
            if self._elsewhere(name, probe):
                self._note(name, probe)
            elif room and self._believed(name):
                room = self._has_room()
                sending += [(name, probe)] if room else []
        if sending:
            with ThreadPoolExecutor(min(self._at_once, len(sending)), "verifying") as pool:
                for sent in [pool.submit(self._ask, *each) for each in sending]:
                    sent.result()
        return len(sending)

    def _due(self) -> list[tuple[str, str]]:
        """What is to be asked for now, whoever was asked longest ago first."""
        now_s = self._clock.monotonic()
        found = []
        with self._lock:
            for name, wanted in self._wanted.items():
                known = self._asked.get(name, {})
                for probe in wanted:
                    asked = known.get(probe, _NEVER)
                    if now_s >= asked.again_s:
                        found.append((asked.at_s, name, probe))
        return [(name, probe) for _, name, probe in sorted(found)]

    def drain_counts(self) -> Counter[str]:
        """Requests since the last call, by what came of them."""
        with self._lock:
            drained, self._counts = self._counts, Counter()
        return drained

    def _want(self, name: str, wanted: frozenset[str]) -> None:
        with self._lock:
            if wanted:
                self._wanted[name] = wanted
            else:
                self._wanted.pop(name, None)
                self._asked.pop(name, None)

    def _has_room(self) -> bool:
        now_s = self._clock.monotonic()
        begun_s, many = self._minute
        if now_s - begun_s >= 60.0:
            begun_s, many = now_s, 0
        if many >= self._per_minute:
            return False
        self._minute = (begun_s, many + 1)
        return True

    def _note(self, name: str, probe: str) -> bool:
        """It is asked for now. False: meanwhile its records are gone, or the node is, and nothing
        of it stays here."""
        with self._lock:
            if name not in self._wanted:
                return False
            now_s = self._clock.monotonic()
            self._asked.setdefault(name, {})[probe] = _Asked(now_s, now_s + self._interval_s)
            return True

    def _ask(self, name: str, probe: str) -> None:
        if not self._note(name, probe):
            return
        try:
            if probe in TIERS:
                self._orders.run(name, tier=probe)
            else:
                self._orders.run(name, checks=(probe,))
        except LeadershipLost:
            raise
        except HealthError as error:
            outcome = "refused" if isinstance(error, AgentRefused) else "failed"
            if outcome == "failed":
                self._again(name, probe)
            logger.bind(node=name, probe=probe, hint=error.hint).info(f"not measured: {error}")
        else:
            outcome = "accepted"
        with self._lock:
            self._counts[outcome] += 1

    def _again(self, name: str, probe: str) -> None:
        """It was not heard: ask again soon."""
        pause_s = min(FAILED_S, self._interval_s)
        with self._lock:
            known = self._asked.get(name, {})
            if probe in known:
                at_s = known[probe].at_s
                known[probe] = _Asked(at_s, at_s + pause_s)

    def _run(self, stop: threading.Event) -> None:
        while not self._clock.wait(stop, _LOOK_S):
            try:
                self.turn()
            except LeadershipLost:
                return
            except Exception as error:  # a bug must not end the asking unseen
                logger.opt(exception=error).error(f"bug: agents are not asked: {error!r}")
