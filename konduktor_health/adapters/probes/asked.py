"""What came of a run that an agent was asked for? Looks for it in the agent's report.

Invariants:
- The report is believed as any other (``reading``): of the pod that served it, of this boot, not
  of a fake backend unless that may be. One that is not believed has no run.
- Unchanged is asked for by ETag, so that waiting for a run costs a few bytes each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from konduktor_health.adapters.probes import reading
from konduktor_health.adapters.probes.client import SpeaksToAgents
from konduktor_health.adapters.probes.pods import AgentPod
from konduktor_health.adapters.probes.reading import NotBelieved
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentUnavailable, NotFound
from konduktor_health.model import NodeView
from parsers.printable import printable
from probes.report import CheckInfo, Report, Result

_CHECKS = TypeAdapter(tuple[CheckInfo, ...])


@dataclass(frozen=True, slots=True)
class Looked:
    """One look into a report. ``results``: None while the run has not ended."""

    results: tuple[Result, ...] | None
    etag: str = ""


class AskedRuns:
    """Reports of agents that were asked for something. Thread-safe."""

    def __init__(
        self,
        agent_of: Callable[[str], AgentPod | None],
        http: SpeaksToAgents,
        nodes: Callable[[], Mapping[str, NodeView]],
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        accept_fake: bool = False,
    ) -> None:
        self._agent_of = agent_of
        self._http = http
        self._nodes = nodes
        self._clock = clock
        self._timeout_s = timeout_s
        self._accept_fake = accept_fake

    def look(self, node: str, run_id: str, etag: str = "") -> Looked:
        """Has this run ended, and what did it find? ``etag``: of the last look. Raises NotFound (no
        agent), AgentUnavailable, AgentRefused."""
        report, etag = self._report(node, etag)
        for run in report.runs if report is not None else ():
            if run.run_id == run_id:
                real = (each for each in run.results if self._accept_fake or not each.fake)
                return Looked(tuple(real), etag)
        return Looked(None, etag)

    def busy(self, node: str) -> tuple[str, ...]:
        """GPUs of this node on which something ran when a check last looked. Raises as ``look``."""
        report, _ = self._report(node, "")
        newest: dict[str, Result] = {}
        for run in report.runs if report is not None else ():
            for each in run.results:
                known = newest.get(each.device)
                if each.busy is not None and (known is None or known.ended_ns <= each.ended_ns):
                    newest[each.device] = each
        return tuple(sorted(device for device, each in newest.items() if each.busy))

    def report(self, node: str) -> Report:
        """All that the agent tells. Raises as ``look``."""
        report, _ = self._report(node, "")
        if report is None:
            raise AgentUnavailable("unchanged (304), and nothing was known")
        return report

    def checks(self, node: str) -> tuple[CheckInfo, ...]:
        """The checks that the node has. Raises as ``look``."""
        agent = self._agent(node)
        answer = self._http.get(
            agent.address, agent.port, "/v1/checks", timeout_s=self._timeout_s, keep=False
        )
        try:
            return _CHECKS.validate_json(answer.body)
        except ValidationError as error:
            raise AgentUnavailable("the agent's answer is no list of checks") from error

    def _agent(self, node: str) -> AgentPod:
        agent = self._agent_of(node)
        if agent is None:
            raise NotFound(f"node {printable(node, 100)}: no agent runs there")
        return agent

    def _report(self, node: str, etag: str) -> tuple[Report | None, str]:
        """The report, None when it is unchanged, and its ETag."""
        agent, view = self._agent(node), self._nodes().get(node)
        if view is None:
            raise NotFound(f"node {printable(node, 100)} is gone")
        answer = self._http.get(
            agent.address,
            agent.port,
            "/v1/report",
            timeout_s=self._timeout_s,
            etag=etag,
            keep=False,
        )
        if answer.status == 304 and etag:
            return None, etag
        now_ns = self._clock.now_ns()
        said = reading.read(answer.body, view, now_ns, accept_fake=self._accept_fake)
        if isinstance(said, NotBelieved):
            raise AgentUnavailable(f"its report is not believed: {said.message}")
        return said, answer.etag
