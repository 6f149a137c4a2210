"""What do the agents say? Asks them in threads, and answers from memory (``ports.Probes``).

Nodes that are watched closely come first: where half of the network is gone, those that are ill are
still asked in time.

Invariants:
- A node is asked while it is managed and has an agent's pod. What is said is taken to be of the
  node of that pod, and judged by the Node as it is when the answer is there (``reading``).
- No answer is no evidence: a time-out makes the node unobserved by probes, and nothing else.
- An agent that goes away for less than ``GONE_S`` (a rolling update) is still one.
- Nothing here waits for the loop, and the loop waits for nothing here but a lock.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from loguru import logger

from konduktor_health.adapters.probes import reading
from konduktor_health.adapters.probes.client import AgentHttp, Answer
from konduktor_health.adapters.probes.crew import Crew
from konduktor_health.adapters.probes.diagnoses import diagnoses_of
from konduktor_health.adapters.probes.memory import Known, Results, take_up
from konduktor_health.adapters.probes.pods import AgentPod, KnowsAgents
from konduktor_health.adapters.probes.reading import NotBelieved
from konduktor_health.adapters.probes.schedule import Pace, Schedule
from konduktor_health.agents import AgentCensus, AgentStanding, AgentState
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentRefused, AgentUnavailable
from konduktor_health.model import Diagnosis, Fault, NodeView, ProbeResult
from konduktor_health.ports import NodeFeed
from probes.report import Report, Run

GONE_S = 600.0  # an agent whose pod is away for longer is one no more
AFTER_BOOT_S = 1800.0  # so long after a boot a node is watched closely
MOST_FAULTS = 20_000  # that wait for the loop
STALE_AFTER = 3  # intervals without a new run
_ALERTING = frozenset({AgentState.WRONG_NODE, AgentState.FAKE, AgentState.GARBLED})


class Collector:
    """The agents' reports. Methods may be called from any thread."""

    def __init__(
        self,
        pods: KnowsAgents,
        http: AgentHttp,
        feed: NodeFeed,
        *,
        clock: Clock,
        pace: Pace,
        closely: Callable[[NodeView], bool],
        accept_fake: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``closely``: nodes with something open. ``accept_fake``: believe fake backends; only a
        simulated cluster may."""
        self._pods = pods
        self._http = http
        self._feed = feed
        self._clock = clock
        self._pace = pace
        self._is_open = closely
        self._accept_fake = accept_fake
        self._lock = threading.Lock()
        self._schedule = Schedule(close_s=pace.close_s, wide_s=pace.wide_s, jitter=jitter)
        self._known: dict[str, Known] = {}
        self._results = Results()
        self._gone: dict[str, float] = {}  # node whose agent's pod is away -> since (monotonic)
        self._booted: dict[str, float] = {}  # node -> when its boot was noticed (monotonic)
        self._faults: deque[Fault] = deque(maxlen=MOST_FAULTS)
        self._answers: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._tell: Callable[[Collection[str]], None] = lambda _names: None
        self._answered: Callable[[str, NodeView, str], None] = lambda *_: None
        self._diagnosed: Callable[[str], None] = lambda _name: None
        self._heard: Callable[[str, Sequence[Run]], None] = lambda *_: None
        self._crew = Crew(
            clock,
            workers=pace.workers,
            find=self.find_due,
            work=self.ask,
            failed=lambda name: self._over(name, failures=1),
            end=http.close,
        )
        pods.on_change(self._agents_changed)
        feed.on_change(self._node_changed)

    # ------------------------------------------------------------ the port

    def follow(self, stop: threading.Event) -> None:
        """Watch the pods until ``stop`` is set."""
        self._pods.start(stop)

    def start(self, stop: threading.Event) -> None:
        """Ask the agents until ``stop`` is set."""
        views, now_s = self._feed.nodes(), self._clock.monotonic()
        with self._lock:
            self._schedule.spread(now_s)
            for name, view in views.items():
                if self._closely(view) and self._pods.of(name) is not None:
                    self._schedule.hasten(name, now_s)
        self._crew.start(stop)

    def agents(self) -> frozenset[str] | None:
        """Nodes with an agent's pod, or that had one until a moment ago."""
        names = self._pods.names()
        if names is None:
            return None
        with self._lock:
            return names.union(self._gone) if self._gone else names

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """Kept of the nodes that are watched closely."""
        with self._lock:
            found = {name: self._results.of(name) for name in names}
        return {name: results for name, results in found.items() if results}

    def faults(self) -> tuple[Fault, ...]:
        """Faults since the last call."""
        with self._lock:
            found = tuple(self._faults)
            self._faults.clear()
        return found

    def standing(self, names: Iterable[str]) -> Mapping[str, AgentStanding]:
        """How the agents of these nodes are doing."""
        now_s = self._clock.monotonic()
        with self._lock:
            return {name: self._standing(name, now_s) for name in names}

    def census(self) -> AgentCensus:
        """Counts over the managed nodes."""
        now_s = self._clock.monotonic()
        states: Counter[AgentState] = Counter()
        unmeasured = 0
        names = self._feed.nodes().keys()
        with self._lock:
            for name in names:
                standing = self._standing(name, now_s)
                states[standing.state] += 1
                unmeasured += bool(standing.unmeasured)
            return AgentCensus(
                states, dict(self._answers), dict(self._outcomes), unmeasured, self._results.kept
            )

    def on_news(self, callback: Callable[[Collection[str]], None]) -> None:
        """Whom to tell."""
        self._tell = callback

    # ------------------------------------------------------------ for the parts beside it

    def on_answer(self, callback: Callable[[str, NodeView, str], None]) -> None:
        """Register callback(node, view, digest): its agent answers and is believed, and has the
        settings of this digest. Called on a worker, which may be used for a request to it."""
        self._answered = callback

    def on_diagnosis(self, callback: Callable[[str], None]) -> None:
        """Register callback(node): DCGM came to something else there, or is heard of for the
        first time."""
        self._diagnosed = callback

    def diagnoses(self, names: Iterable[str]) -> Mapping[str, tuple[Diagnosis, ...]]:
        """What DCGM's levels came to on these nodes, as far as is known."""
        with self._lock:
            known = {name: self._known[name].diagnoses for name in names if name in self._known}
        return {name: found for name, found in known.items() if found}

    def on_runs(self, callback: Callable[[str, Sequence[Run]], None]) -> None:
        """Register callback(node, runs): runs of a believed report that were not known. Called on a
        worker."""
        self._heard = callback

    def hasten(self, name: str) -> None:
        """Ask this node's agent now."""
        with self._lock:
            self._schedule.hasten(name, self._clock.monotonic())
        self._crew.wake()

    def believed(self, name: str) -> bool:
        """The agent of this node was believed when it answered last."""
        with self._lock:
            known = self._known.get(name)
            if known is None or not known.looked:
                return False
            return known.state in (AgentState.OK, AgentState.SILENT)

    # ------------------------------------------------------------ who is asked

    def _agents_changed(self, names: Collection[str]) -> None:
        now_s = self._clock.monotonic()
        views = self._feed.nodes()
        with self._lock:
            for name in names:
                if self._pods.of(name) is None:
                    self._gone.setdefault(name, now_s)
                    self._schedule.drop(name)
                    self._known.pop(name, None)
                    self._results.drop(name)
                else:
                    self._gone.pop(name, None)
                    if name in views:
                        self._schedule.add(name, now_s, closely=self._closely(views[name]))
                        if name in self._known:  # it has another pod
                            self._schedule.hasten(name, now_s)
        self._crew.wake()
        self._tell(names)

    def _node_changed(self, old: NodeView | None, new: NodeView | None) -> None:
        now_s = self._clock.monotonic()
        with self._lock:
            if new is None:
                if old is not None:
                    self._schedule.drop(old.name)
                    for kept in (self._known, self._booted):
                        kept.pop(old.name, None)
                    self._results.drop(old.name)
                return
            booted = old is not None and old.boot_id != new.boot_id
            if booted:  # its agent's pod may come later
                self._booted[new.name] = now_s
            if self._pods.of(new.name) is None:
                return
            was_open = old is not None and self._is_open(old)
            self._schedule.add(new.name, now_s, closely=self._closely(new))
            if booted or (self._is_open(new) and not was_open):
                known = self._known.get(new.name)
                if known is not None:
                    known.etag = ""  # its runs are read again: they are proof now
                self._schedule.hasten(new.name, now_s)
        self._crew.wake()

    def _closely(self, view: NodeView) -> bool:
        booted_s = self._booted.get(view.name)
        if booted_s is not None and self._clock.monotonic() - booted_s > AFTER_BOOT_S:
            del self._booted[view.name]
            booted_s = None
        return booted_s is not None or self._is_open(view)

    # ------------------------------------------------------------ asking

    def find_due(self) -> float:
        """Hand those that are due to the workers; returns when the next one is (monotonic)."""
        views, now_s = self._feed.nodes(), self._clock.monotonic()
        with self._lock:
            lost = [name for name, since_s in self._gone.items() if now_s - since_s >= GONE_S]
            for name in lost:
                del self._gone[name]
            for name in self._schedule.take(now_s):
                view = views.get(name)
                self._crew.put(name, urgent=view is not None and self._closely(view))
            next_s = self._schedule.next_s()
        if lost:
            self._tell(lost)
        return next_s

    def ask(self, name: str) -> None:
        """Ask the agent of a node, and take up what it says."""
        agent, view = self._pods.of(name), self._feed.nodes().get(name)
        if agent is None or view is None:
            with self._lock:
                self._schedule.drop(name)
            return
        with self._lock:
            known = self._known.setdefault(name, Known())
            closely, etag = self._closely(view), known.etag
        try:
            answer = self._http.get(
                agent.address,
                agent.port,
                "/v1/report",
                timeout_s=self._pace.timeout_s,
                etag=etag,
                keep=closely,
            )
        except AgentUnavailable as error:
            self._not_reached(name, known, AgentState.SILENT, str(error))
            return
        except AgentRefused as error:
            self._not_reached(name, known, AgentState.REFUSING, str(error))
            return
        self._take_up(name, known, agent, answer, etag)

    def _not_reached(self, name: str, known: Known, state: AgentState, message: str) -> None:
        with self._lock:
            self._answers[state.value] += 1
            known.failures += 1
            self._becomes(name, known, state, message)
        self._over(name, known.failures)

    def _take_up(self, name: str, known: Known, agent: AgentPod, answer: Answer, etag: str) -> None:
        """Judge and take up an answer. The Node may have changed while the agent was asked with
        ``etag``: what is to be read again then has another one meanwhile, or none."""
        now_s, now_ns = self._clock.monotonic(), self._clock.now_ns()
        view = self._feed.nodes().get(name)
        if view is None or self._pods.of(name) != agent:
            self._over(name)
            return
        said: Report | NotBelieved | None = None
        if answer.status != 304:
            said = reading.read(answer.body, view, now_ns, accept_fake=self._accept_fake)
        elif not etag:
            said = NotBelieved(AgentState.GARBLED, "unchanged (304), and nothing was known")
        news = other = False
        runs: tuple[Run, ...] = ()
        with self._lock:
            known.failures = 0
            if said is None:
                self._answers["unchanged"] += 1
                self._becomes(name, known, AgentState.OK, "")
            elif isinstance(said, NotBelieved):
                known.etag = ""
                self._answers[said.state.value] += 1
                self._becomes(name, known, said.state, said.message)
            else:
                self._answers["ok"] += 1
                self._becomes(name, known, AgentState.OK, "")
                known.etag, known.settings = answer.etag, said.settings
                counts, fake = self._outcomes, self._accept_fake
                fresh = [run for run in said.runs if run.run_id not in known.runs]
                found = diagnoses_of(fresh, known.diagnoses, accept_fake=fake)
                other, known.diagnoses = found != known.diagnoses, found
                taken = take_up(known, name, said, (now_s, now_ns), counts, accept_fake=fake)
                self._faults.extend(taken.faults)
                runs = taken.runs
                news = self._keep(name, said, closely=self._closely(view)) or bool(taken.faults)
        if news:
            self._tell([name])
        if other:
            self._diagnosed(name)
        if runs:
            self._heard(name, runs)
        if known.state is AgentState.OK:
            self._answered(name, view, known.settings)
        self._over(name)

    def _keep(self, name: str, report: Report, *, closely: bool) -> bool:
        """Keep the results of a node that is watched closely; True where they are others."""
        if not closely:
            self._results.drop(name)
            return False
        before = self._results.of(name)
        self._results.put(name, report, accept_fake=self._accept_fake)
        for gone in self._results.let_go(but=name):
            if gone in self._known:
                self._known[gone].etag = ""
        return self._results.of(name) != before

    def _over(self, name: str, failures: int = 0) -> None:
        view = self._feed.nodes().get(name)
        with self._lock:
            closely = view is not None and self._closely(view)
            self._schedule.asked(name, self._clock.monotonic(), closely=closely, failures=failures)
        self._crew.wake()

    # ------------------------------------------------------------ what is told

    def _becomes(self, name: str, known: Known, state: AgentState, message: str) -> None:
        if known.becomes(state, message, self._clock.now_ns()) and state in _ALERTING:
            logger.bind(node=name, state=state.value).warning(
                f"the agent's report is not believed: {message}"
            )

    def _standing(self, name: str, now_s: float) -> AgentStanding:
        known = self._known.get(name)
        if known is None:
            there = self._pods.of(name) is not None
            return AgentStanding(AgentState.NEW if there else AgentState.MISSING, 0)
        if known.state is AgentState.OK and self._pace.light_s:
            interval_s = max(self._pace.light_s, self._pace.wide_s)
            silent_s = now_s - known.ran_s
            if silent_s > STALE_AFTER * interval_s:
                checks = known.standing().unmeasured
                return AgentStanding(AgentState.STALE, known.ran_ns, "no run ended since", checks)
        return known.standing()
