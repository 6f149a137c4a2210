"""What do the metrics say about agents? Counts of the parts that speak with them, taken each cycle.

The parts count for themselves, on threads of their own; here is what is added to the metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client import Counter as Metric

from konduktor_health.agents import AgentState
from konduktor_health.core.accusation import Blamed
from konduktor_health.core.invasive_note import Stage
from konduktor_health.runtime.attesting import Attesting
from konduktor_health.runtime.invasive import InvasiveTests
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.rounds import Rounds
from konduktor_health.runtime.verifying import Verifying


@dataclass(slots=True)
class AgentReport:
    """The parts that are there. Used by one thread."""

    metrics: Metrics
    probes: ProbeWatch | None = None
    attesting: Attesting | None = None
    verifying: Verifying | None = None
    told: Callable[[], Mapping[str, int]] = dict  # settings that agents were told, by outcome
    rounds: Rounds | None = None
    tests: InvasiveTests | None = None
    _before: dict[str, Counter[str]] = field(default_factory=dict)

    def cycle(self) -> None:
        """A cycle has ended."""
        if self.probes is not None:
            census = self.probes.census()
            for state in AgentState:
                self.metrics.agents.labels(state.value).set(census.states.get(state, 0))
            self.metrics.unmeasured.set(census.unmeasured_nodes)
            self._grown("answers", census.answers, self.metrics.agent_answers)
            self._grown("results", census.results, self.metrics.probe_results)
        if self.attesting is not None:
            for answer, many in self.attesting.drain_counts().items():
                self.metrics.attestations.labels(answer).inc(many)
        if self.verifying is not None:
            for outcome, many in self.verifying.drain_counts().items():
                self.metrics.agent_requests.labels("run", outcome).inc(many)
        if self.rounds is not None:
            self._pairs(self.rounds)
        if self.tests is not None:
            for outcome, many in self.tests.work.drain_counts().items():
                self.metrics.invasive_tests.labels(outcome).inc(many)
            stages = self.tests.stages()
            for stage in Stage:
                self.metrics.invasive_nodes.labels(stage.value).set(stages.get(stage.value, 0))
        self._grown("settings", self.told(), self.metrics.agent_requests, "settings")

    def _pairs(self, rounds: Rounds) -> None:
        counts, suspects = rounds.drain_counts(), rounds.findings.counts()
        for (kind, outcome), many in counts.tests.items():
            self.metrics.pair_tests.labels(kind, outcome).inc(many)
        for kind, many in counts.rounds.items():
            self.metrics.pair_rounds.labels(kind).inc(many)
        for blamed in Blamed:
            self.metrics.pair_suspects.labels(blamed.value).set(suspects[blamed.value])
        self._grown("pairs", rounds.requests(), self.metrics.agent_requests, "pair")

    def _grown(self, what: str, now: Mapping[str, int], metric: Metric, *labels: str) -> None:
        """Add what has come to a count since the last cycle."""
        before = self._before.setdefault(what, Counter())
        for name, many in now.items():
            if many > before[name]:
                metric.labels(*labels, name).inc(many - before[name])
                before[name] = many
