"""Which metrics are there? Read from konduktor_health.runtime.metrics."""

from __future__ import annotations

from docs.pages.tables import code, table
from konduktor_health.model import EditKind, HoldReason, Scope
from konduktor_health.runtime.metrics import MAX_FAULT_IDS, NAMESPACE, Metrics
from parsers.fault import Severity

_METRICS_TEXT = f"""
# Metrics

The controller answers `/metrics` on its own port ([HTTP](http.md)). All names begin with
`{NAMESPACE}_`. Label values are bounded: text from logs, probes or Kubernetes is never one.

"""
_LABELS = {
    "fault_id": f"a [fault id](faults.md); after {MAX_FAULT_IDS} different ones `other`",
    "severity": ", ".join(code(each.value) for each in Severity),
    "source": "name of a log source in the settings; of faults also `controller`",
    "kind": ", ".join(code(each.value) for each in EditKind)
    + " (`reset` and `declare` are done by commands, so they are never counted by the controller)",
    "reason": "a [hold reason](hold-reasons.md): "
    + ", ".join(code(each.value) for each in HoldReason),
    "scope": "among which nodes: "
    + ", ".join(code(each.value) for each in Scope)
    + " (any of the pools, any of the driver versions)",
    "outcome": "`ok`, `failed`",
}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def metrics_page() -> str:
    """Every metric, and what its labels may be."""
    rows, used = [], set()
    for collector in vars(Metrics()).values():
        if not hasattr(collector, "_labelnames"):
            continue  # the registry itself
        labels = list(collector._labelnames)
        used |= set(labels)
        for metric in collector.describe():
            names = [metric.name + suffix for suffix in _SUFFIXES.get(metric.type, ("",))]
            shown = ", ".join(code(name) for name in names)
            rows.append((shown, metric.type, ", ".join(map(code, labels)), metric.documentation))
    meanings = [(code(name), _LABELS[name]) for name in sorted(used)]
    return (
        _METRICS_TEXT.lstrip()
        + table(("metric", "type", "labels", "meaning"), rows)
        + "\n## Labels\n\n"
        + table(("label", "values"), meanings)
    )
