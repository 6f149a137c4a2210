"""What is the whole answer to ``/status``? As Autopilot's ``runHealthchecks.py`` prints it.

Invariants: runs are begun on all nodes of a batch before anybody's is waited for; nodes are told in
their order; whoever hangs up ends the asking; threads are bounded whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pprint import pformat

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice, Chosen
from konduktor_health.adapters.autopilot.pingnodes import MOST_PAIRS, PingNodes
from konduktor_health.adapters.autopilot.query import (
    IPERF,
    NONE,
    PERIODIC,
    PING,
    PVC,
    Query,
    QueryError,
    without,
)
from konduktor_health.adapters.autopilot.words import DISCONNECTED, plain, statuses
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import Clock

THREADS = 64
NO_CLASS = "[PVC Create-Delete] Storage class not set. Cannot run. ABORT"
NOT_PINGED = "[PING] pingnodes: nothing is begun from here (autopilot.start is off). ABORT"
LAUNCHING = (
    "Launching invasive health checks. Results will be added to 'autopilot.ibm.com/gpuhealth' and"
    " 'autopilot.ibm.com/dcgm.level.3' node labels\n"
)
_RULE = "-" * 37
Target = tuple[str, AgentPod | None]


class FanOut:
    """Answers questions. Thread-safe."""

    def __init__(
        self,
        choice: Choice,
        agents: AskedAgents,
        clock: Clock,
        *,
        throughput: Callable[[Query, Chosen], Iterator[str]] | None = None,
        claims: Callable[[str], str] | None = None,
        pings: PingNodes | None = None,
        test: Callable[[str], str] | None = None,
    ) -> None:
        """``throughput``: the ring of iperf3; None: it is not run. ``claims``: the text of a PVC
        made and deleted for a node; None: no storage class is set. ``pings``: of nodes that are
        named; None: it is not done. ``test``: wants a node to be tested with all its GPUs, and
        says why it is not, else ""; None: that is not wanted from here."""
        self._choice, self._agents, self._clock = choice, agents, clock
        self._throughput, self._claims, self._pings = throughput, claims, pings
        self._test = test

    def status(self, query: Query) -> Iterator[str]:
        """The answer, piece by piece."""
        if IPERF in query.checks:
            yield (
                f"Running iperf3 on hosts {plain(query.host_text)} or job"
                f" {plain(query.job or NONE)}\n\n"
            )
            yield from self.ring(query)
            query = replace(query, checks=without(query.checks, IPERF))
            if not query.checks:
                return
        yield (
            f"Asking to run on remote node(s) {plain(query.host_text)} or with node label"
            f" {plain(query.nodelabel or NONE)}\n\n"
        )
        try:
            chosen = self._choice.of(query)
        except QueryError as error:
            yield f"{error}\n"
            return
        pairs = len(chosen.nodes) * len(query.pingnodes)
        if _pings(query) and pairs > MOST_PAIRS:
            yield f"[PING] {pairs} pairs of host and pingnodes: at most {MOST_PAIRS}. ABORT\n"
            return
        yield from self._asked(query, chosen)

    def ring(self, query: Query) -> Iterator[str]:
        """``/iperf``: throughput of all pairs."""
        if self._throughput is None:
            yield "[NETWORK] - [IPERF] - [ERROR] : It is not run from here. ABORT\n"
            return
        try:
            chosen = self._choice.of(query)
        except QueryError as error:
            yield f"{error}\n"
            return
        yield chosen.head
        yield from self._throughput(query, chosen)

    @property
    def launches(self) -> bool:
        """Whether invasive tests may be wanted from here."""
        return self._test is not None

    def invasive(self, query: Query) -> Iterator[str]:
        """``/invasive``: what becomes of it on each node. Nothing waits for a test."""
        yield LAUNCHING
        try:
            chosen = self._choice.of(query)
        except QueryError as error:
            yield f"{error}\n"
            return
        yield chosen.head
        for name, _ in chosen.nodes:
            why = self._test(name) if self._test is not None else "not from here"
            said = f"not launched: {plain(why)}. ABORT" if why else "once all of its GPUs are idle"
            yield f"{plain(name)}: {said}\n"

    def _asked(self, query: Query, chosen: Chosen) -> Iterator[str]:
        began_s = self._clock.monotonic()
        yield chosen.head
        summary: dict[str, list[str]] = {}
        many = len(chosen.nodes)
        size = query.batch if 0 < query.batch < many else many
        pool = ThreadPoolExecutor(min(size, THREADS), thread_name_prefix="autopilot")
        try:
            for start in range(0, many, size):
                batch = chosen.nodes[start : start + size]
                for target in batch:
                    yield f"Initiated connection to {[self._url(query, target)]}.\n"
                runs = list(pool.map(partial(self._begin, query), batch))
                texts = [
                    pool.submit(self._text, query, target, *run)
                    for target, run in zip(batch, runs, strict=True)
                ]
                for target, text in zip(batch, texts, strict=True):
                    said = text.result()
                    found = summary[target[0]] = statuses(said)
                    yield self._block(query, target, said, found)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        seconds = self._clock.monotonic() - began_s
        yield f"Node Summary:\n\n{pformat(summary)}\n\nruntime: {seconds} sec\n"

    def _begin(self, query: Query, target: Target) -> tuple[str, str]:
        name, agent = target
        agents_own = _of_agent(query)
        if agent is None or agents_own is None:
            return "", ""
        return self._agents.begin(name, agents_own)

    def _text(self, query: Query, target: Target, run_id: str, why: str) -> str:
        """Of one node: its agent's, and what the controller does for it."""
        texts = [why] if why else []
        agents_own = _of_agent(query)
        if agents_own is not None:
            texts.append(self._agents.text(target[0], agents_own, run_id))
        if _pings(query):
            texts.append(self._pinged(target, query.pingnodes))
        if PVC in query.checks:
            texts.append(self._claims(target[0]) if self._claims else NO_CLASS)
        return "\n".join(texts)

    def _pinged(self, target: Target, peers: Sequence[str]) -> str:
        name, agent = target
        if agent is None:
            return f"No agent runs on this node. {DISCONNECTED}"
        return self._pings(name, peers) if self._pings is not None else NOT_PINGED

    def _block(self, query: Query, target: Target, said: str, found: list[str]) -> str:
        name, agent = target
        return (
            f"\nAutopilot Endpoint: {agent.address if agent else NONE}\nNode: {plain(name)}\n"
            f"url(s): {self._url(query, target)}\nResponse:\n{said}\n"
            f"Node Status: {', '.join(found)}\n{_RULE}\n\n"
        )

    def _url(self, query: Query, target: Target) -> str:
        name, agent = target
        return query.url(agent.address if agent else NONE, self._agents.port, name)


def _pings(query: Query) -> bool:
    """Whether nodes that are named are to be pinged."""
    return bool(query.pingnodes) and PING in (query.checks or PERIODIC)


def _of_agent(query: Query) -> Query | None:
    """What a node's agent itself is asked for; None: nothing."""
    if not query.checks and not query.pingnodes:
        return query
    ours = (PVC, PING) if query.pingnodes else (PVC,)
    checks = without(query.checks or PERIODIC, *ours)
    return replace(query, checks=checks) if checks else None
