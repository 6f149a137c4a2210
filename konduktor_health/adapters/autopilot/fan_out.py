"""What is the whole answer to ``/status``? As Autopilot's ``runHealthchecks.py`` prints it.

Invariants: runs are begun on all nodes of a batch before anybody's is waited for; nodes are told in
their order; whoever hangs up ends the asking; threads are bounded whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pprint import pformat

from konduktor_health.adapters.autopilot.agents import AskedAgents
from konduktor_health.adapters.autopilot.choice import Choice, Chosen
from konduktor_health.adapters.autopilot.query import (
    IPERF,
    NONE,
    PVC,
    Query,
    QueryError,
    without,
)
from konduktor_health.adapters.autopilot.words import plain, statuses
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.clock import Clock

THREADS = 64
NO_CLASS = "[PVC Create-Delete] Storage class not set. Cannot run. ABORT"
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
    ) -> None:
        """``throughput``: the ring of iperf3; None: it is not run. ``claims``: the text of a PVC
        made and deleted for a node; None: no storage class is set."""
        self._choice, self._agents, self._clock = choice, agents, clock
        self._throughput, self._claims = throughput, claims

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
        return self._agents.begin(name, query) if agent is not None else ("", "")

    def _text(self, query: Query, target: Target, run_id: str, why: str) -> str:
        """Of one node: its agent's, and what the controller does for it."""
        texts = [why] if why else []
        ours = without(query.checks, PVC)
        if ours or not query.checks:
            texts.append(self._agents.text(target[0], replace(query, checks=ours), run_id))
        if PVC in query.checks:
            texts.append(self._claims(target[0]) if self._claims else NO_CLASS)
        return "\n".join(texts)

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
