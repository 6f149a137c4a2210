"""Which metrics are there? All of them, in registries of our own; an interface.

Two registries: what every replica has, and what only the leader knows and exports. A
standby's zeros, or what one that led once remembers, would be added up with the leader's.

docs/reference/metrics.md lists each; a test compares. Labels are bounded: fault ids come from
the catalog (others are counted as "other"), never text from logs, probes or Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from konduktor_health.agents import ANSWERS, AgentState
from konduktor_health.core.accusation import Blamed
from konduktor_health.core.invasive_note import Stage
from konduktor_health.core.invasive_step import ERROR, OUTCOMES
from konduktor_health.core.pair_tests import Kind as PairKind
from konduktor_health.core.pair_tests import PairOutcome
from konduktor_health.model import ProbeStatus
from konduktor_health.runtime.awaiting import KINDS
from parsers.finding import Kind

NAMESPACE = "konduktor_health"
MAX_FAULT_IDS = 1000
MAX_CHECKS = 100  # of the fault ids, those of checks


class Metrics:
    """The controller's metrics. Counters that matter exist at 0 from the start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()  # the leader's
        self.own = CollectorRegistry()  # of every replica
        self._leads: Callable[[], bool] = lambda: True
        ProcessCollector(registry=self.own)

        def counter(
            name: str,
            text: str,
            labels: tuple[str, ...] = (),
            of: CollectorRegistry = self.registry,
        ) -> Counter:
            return Counter(name, text, labels, namespace=NAMESPACE, registry=of)

        def gauge(
            name: str,
            text: str,
            labels: tuple[str, ...] = (),
            of: CollectorRegistry = self.registry,
        ) -> Gauge:
            return Gauge(name, text, labels, namespace=NAMESPACE, registry=of)

        self.faults = counter("faults_total", "Faults decoded.", ("fault_id", "severity", "source"))
        self.relations = counter(
            "relations_total", "Relations found between faults of a node.", ("kind",)
        )
        self.edits = counter("node_edits_total", "Edits of Nodes applied.", ("kind",))
        self.holds = counter("holds_total", "Actions held back.", ("reason",))
        self.conflicts = counter("conflicts_total", "Edits refused because the Node had changed.")
        self.write_errors = counter("write_errors_total", "Writes to the API server that failed.")
        self.events = counter("events_published_total", "Events published on Nodes.")
        self.pod_events = counter(
            "pod_events_total", "Events on pods that use a node's GPUs.", ("outcome",)
        )
        self.conditions = counter("conditions_written_total", "Node conditions written.")
        self.cycles = counter("cycles_total", "Control cycles.", ("outcome",), self.own)
        self.cycle_seconds = Histogram(
            "cycle_seconds",
            "Duration of a control cycle.",
            namespace=NAMESPACE,
            registry=self.own,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        )
        self.managed = gauge("managed_nodes", "Managed nodes.")
        self.tainted = gauge("tainted_nodes", "Managed nodes with our taint, adopted ones too.")
        self.adopted = gauge("adopted_nodes", "Nodes with our taint that we did not put there.")
        self.awaiting = gauge(
            "awaiting_nodes", "Nodes with our taint that wait for this to be cleared.", ("what",)
        )
        self.awaiting_since = gauge(
            "awaiting_since_timestamp_seconds",
            "Since when the first of them waits for it; 0: none does, or it is not known.",
            ("what",),
        )
        self.pending = gauge("pending_nodes", "Nodes with faults that are not on the Node yet.")
        self.observed = gauge(
            "observed_nodes", "Managed nodes whose log is read and says something."
        )
        self.unobserved = gauge(
            "unobserved_nodes", "Managed nodes of which nothing was heard for long, for any reason."
        )
        self.roll_call_failures = counter(
            "roll_call_failures_total", "Times that Loki did not tell who ships logs.", ("source",)
        )
        self.surge = gauge(
            "surge", "1 while a fault id is held as a mass event.", ("fault_id", "scope")
        )
        self.domains = gauge(
            "domain_suspects", "Domains whose nodes show one kind of fault, by label.", ("label",)
        )
        self.accusations = counter(
            "peer_accusations_total", "Lines of pods that name a peer as failed.", ("peer",)
        )
        self.leader = gauge("leader", "1 while this replica leads.", of=self.own)
        self.unknown_lines = gauge(
            "unknown_node_lines", "Log lines of names that are no Node of this cluster."
        )
        self.unmanaged = gauge("unmanaged_faults", "Faults on nodes that are not managed.")
        self.undecodable = gauge(
            "undecodable_lines", "Log lines that made the decoder fail; counted and passed over."
        )
        self.missed = gauge("missed_kernel_records", "Kernel records that forwarders missed.")
        self.source_ok = gauge("source_ok", "1 while a log source is read.", ("source",))
        self.source_lag = gauge(
            "source_newest_timestamp_seconds", "Newest log time of a source.", ("source",)
        )
        self.lag = gauge(
            "pipeline_lag_seconds",
            "Age that 19 of 20 lines of a source have when they are read, over the last hour.",
            ("source",),
        )
        self.source_gaps = gauge("source_gaps", "Open observation gaps of a source.", ("source",))
        self.source_bytes = gauge(
            "source_scanned_bytes_per_minute", "Bytes that Loki scanned for a source.", ("source",)
        )
        self.agents = gauge(
            "agents", "Managed nodes by how the agent on them is doing.", ("state",)
        )
        self.agent_answers = counter(
            "agent_answers_total", "Questions to agents by what came of them.", ("answer",)
        )
        self.probe_results = counter(
            "probe_results_total", "Results of checks that were read.", ("outcome",)
        )
        self.unmeasured = gauge(
            "unmeasured_nodes", "Nodes on which a check could not be measured 5 times in a row."
        )
        self.attestations = counter(
            "attestations_total", "Kernel lines that agents were asked about.", ("answer",)
        )
        self.agent_requests = counter(
            "agent_requests_total",
            "Signed requests to agents: settings, runs that decisions wait for, tests in pairs.",
            ("kind", "outcome"),
        )
        self.pair_tests = counter(
            "pair_tests_total", "Tests of two nodes on an interface.", ("kind", "outcome")
        )
        self.pair_rounds = counter(
            "pair_rounds_total", "Rounds of tests in pairs that have ended.", ("kind",)
        )
        self.pair_suspects = gauge(
            "pair_suspects",
            "What tests in pairs speak against now: nodes, pairs, what a domain shares, what lies"
            " between two.",
            ("what",),
        )
        self.invasive_tests = counter(
            "invasive_tests_total", "Invasive tests by Jobs: what came of them.", ("outcome",)
        )
        self.invasive_nodes = gauge(
            "invasive_nodes", "Nodes on their way to an invasive test, by how far.", ("state",)
        )
        self.volume_checks = counter(
            "volume_checks_total", "Tests of storage: claimed, bound, deleted.", ("outcome",)
        )
        self.volume_failing = gauge(
            "volume_check_failing", "1 while the last test of storage that measured has failed."
        )
        self.rules_loads = counter(
            "rules_loads_total", "Times that the rules file was read and had changed.", ("outcome",)
        )
        self.rules_broken = gauge(
            "rules_broken", "1 while the rules file is wrong and the rules before it hold."
        )
        self.autopilot = counter(
            "autopilot_requests_total",
            "Questions on the port for users of Autopilot.",
            ("path", "outcome"),
            self.own,
        )
        self.policy_loads = counter(
            "policy_loads_total",
            "Times that the policy file was read and had changed.",
            ("outcome",),
        )
        self.policy_broken = gauge(
            "policy_broken", "1 while the policy file is wrong and the policy before it holds."
        )
        self.policy_condition_errors = counter(
            "policy_condition_errors_total",
            "Times that a condition of the policy file failed and counted as not met.",
        )
        for outcome in ("published", "failed", "dropped"):
            self.pod_events.labels(outcome)
        for what in KINDS:
            self.awaiting.labels(what)
            self.awaiting_since.labels(what)
        for state in AgentState:
            self.agents.labels(state.value)
        for answer in ANSWERS:
            self.agent_answers.labels(answer)
        for status in ProbeStatus:
            self.probe_results.labels(status.value)
        for answer in ("confirmed", "injected", "denied", "unknown"):
            self.attestations.labels(answer)
        for outcome in ("accepted", "refused", "failed"):
            self.agent_requests.labels("run", outcome)
            self.agent_requests.labels("pair", outcome)
        for outcome in (*OUTCOMES, ERROR):
            self.invasive_tests.labels(outcome)
        for status in (ProbeStatus.PASS, ProbeStatus.FAIL, ProbeStatus.SKIP, ProbeStatus.ERROR):
            self.volume_checks.labels(status.value)
        for stage in Stage:
            self.invasive_nodes.labels(stage.value)
        for outcome in ("ok", "failed"):
            self.agent_requests.labels("settings", outcome)
        for test in PairKind:
            self.pair_rounds.labels(test.value)
            for result in PairOutcome:
                self.pair_tests.labels(test.value, result.label)
        for blamed in Blamed:
            self.pair_suspects.labels(blamed.value)
        for peer in ("node", "unknown"):
            self.accusations.labels(peer)
        for kind in Kind:
            self.relations.labels(kind.value)
        for outcome in ("ok", "failed"):
            self.cycles.labels(outcome)
            self.rules_loads.labels(outcome)
            self.policy_loads.labels(outcome)

    def follow(self, leads: Callable[[], bool]) -> None:
        """Export the leader's metrics only while ``leads`` says so. Without it, always: a dry run
        has no Lease."""
        self._leads = leads
        self.leader.set_function(lambda: float(leads()))

    def render(self) -> bytes:
        """The text that /metrics answers."""
        fleet = generate_latest(self.registry) if self._leads() else b""
        return generate_latest(self.own) + fleet
