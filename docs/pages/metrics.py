"""Which metrics are there? Read from konduktor_health.runtime.metrics."""

from __future__ import annotations

from docs.pages.tables import code, table
from konduktor_health.agents import ANSWERS, AgentState
from konduktor_health.core.accusation import Blamed
from konduktor_health.core.invasive_note import Stage
from konduktor_health.core.invasive_step import BEGUN, DELIVERED, ERROR, FAILED, OVER, WAITING
from konduktor_health.core.pair_tests import Kind as PairKind
from konduktor_health.core.pair_tests import PairOutcome
from konduktor_health.model import EditKind, HoldReason, ProbeStatus, Scope
from konduktor_health.runtime.autopilot_http import PATHS
from konduktor_health.runtime.awaiting import KINDS
from konduktor_health.runtime.metrics import MAX_FAULT_IDS, NAMESPACE, Metrics
from parsers.fault import Severity
from parsers.finding import Kind

_METRICS_TEXT = f"""
# Metrics

The controller answers `/metrics` on its own port ([HTTP](http.md)). All names begin with
`{NAMESPACE}_`. Label values are bounded: text from logs, probes or Kubernetes is never one.

Of several replicas each exports the metrics marked `each`, and those of its process, as
prometheus_client names them: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_start_time_seconds`, `process_open_fds`,
`process_max_fds`. The others only the leader has: they are absent on a standby, and on a replica
whose Lease has run out, so that a sum over the replicas counts nothing twice.

"""
_STATES = {
    AgentState.OK: "it answers, and is believed",
    AgentState.MISSING: "no agent's pod on the node",
    AgentState.NEW: "not asked yet",
    AgentState.SILENT: "no answer",
    AgentState.REFUSING: "it gives no report",
    AgentState.GARBLED: "what it answers is no report",
    AgentState.WRONG_NODE: "its report names another node",
    AgentState.WRONG_BOOT: "its report is of another boot",
    AgentState.FAKE: "its backend is fake",
    AgentState.STALE: "no run has ended for long",
}
_TESTS = {
    BEGUN: "the intent is on the Node",
    DELIVERED: "its run is with the agent",
    WAITING: "its GPUs are held, or its pod did not run in time",
    FAILED: "its Job failed, or is gone",
    OVER: "nothing is wanted any more",
    ERROR: "the API server refused a step",
}
_LABELS = {
    "fault_id": f"a [fault id](faults.md); after {MAX_FAULT_IDS} different ones `other`",
    "severity": ", ".join(code(each.value) for each in Severity),
    "source": "name of a log source in the settings; of faults also `controller`",
    "kind": ", ".join(code(each.value) for each in EditKind)
    + " (`reset` and `declare` are done by commands, so they are never counted by the controller;"
    + " `testing` is counted as an invasive test);"
    + " of relations: "
    + ", ".join(code(each.value) for each in Kind)
    + " ([Correlation](../design/correlation.md)); of requests to agents: `run`, `settings`,"
    + " `pair`; of tests in pairs: "
    + ", ".join(code(each.value) for each in PairKind)
    + " ([Rounds](../design/rounds.md))",
    "reason": "a [hold reason](hold-reasons.md): "
    + ", ".join(code(each.value) for each in HoldReason),
    "scope": "among which nodes: "
    + ", ".join(code(each.value) for each in Scope)
    + " (any of the pools, any of the driver versions)",
    "label": "a label of `domains` of the policy file",
    "what": "what clearing waits for: "
    + ", ".join(code(each) for each in KINDS)
    + " (`operator`: a person's word; `probe`: passes of any probe); of what tests in pairs speak"
    + " against: "
    + ", ".join(code(each.value) for each in Blamed),
    "peer": "`node`: the peer is a Node of this cluster; `unknown`",
    "outcome": "`ok`, `failed`; of Events on pods: `published`, `failed`, `dropped`;"
    " of results of checks: "
    + ", ".join(code(each.value) for each in ProbeStatus)
    + "; of requests to run, alone or in pairs: `accepted`, `refused`, `failed`; of tests in"
    + " pairs: "
    + ", ".join(code(each.label) for each in PairOutcome)
    + "; of questions on Autopilot's port: `ok`, `refused`, `busy`, `standby` (another replica"
    + " leads); of invasive tests: "
    + ", ".join(f"{code(name)} ({meaning})" for name, meaning in _TESTS.items())
    + "; of tests of storage: `pass`, `fail`, `skip`, `error`",
    "path": "of [Autopilot's port](autopilot.md): " + ", ".join(map(code, PATHS)) + ", or `other`",
    "state": "of agents: "
    + "; ".join(f"{code(each.value)}: {_STATES[each]}" for each in AgentState)
    + "; of nodes on their way to an [invasive test](invasive-tests.md): "
    + ", ".join(code(each.value) for each in Stage),
    "answer": "of agents' reports: "
    + ", ".join(code(each) for each in ANSWERS)
    + " (as `state`; `unchanged`: the report that is known); of kernel lines: `confirmed`,"
    + " `injected` (a program wrote it), `denied`, `unknown` (or no answer)",
}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def metrics_page() -> str:
    """Every metric, and what its labels may be."""
    rows, used = [], set()
    metrics = Metrics()
    own = {family.name for family in metrics.own.collect()}
    for collector in vars(metrics).values():
        if not hasattr(collector, "_labelnames"):
            continue  # the registry itself
        labels = list(collector._labelnames)
        used |= set(labels)
        for metric in collector.describe():
            names = [metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))]
            shown = ", ".join(code(name) for name in names)
            of = "each" if metric.name in own else "leader"
            marked = ", ".join(map(code, labels))
            rows.append((shown, metric.type, marked, of, metric.documentation))
    meanings = [(code(name), _LABELS[name]) for name in sorted(used)]
    return (
        _METRICS_TEXT.lstrip()
        + table(("metric", "type", "labels", "replica", "meaning"), rows)
        + "\n## Labels\n\n"
        + table(("label", "values"), meanings)
    )
