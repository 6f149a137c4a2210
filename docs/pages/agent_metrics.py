"""Which metrics has the node agent? Read from probes.agent.metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docs.pages.agent import made_agent
from docs.pages.tables import code, table
from probes.agent import autopilot, metrics

_METRICS = f"""
# Metrics of the agent

`konduktor-probe agent` answers `/metrics` on its port ([API](agent-api.md)). All names begin with
`{metrics.NAMESPACE}_`, but for those of the process, as prometheus_client names them. Label values
are bounded: names of checks are those of this node, at most {metrics.MOST_DEVICES} devices of a
check and {metrics.MOST_MEASUREMENTS} measurements are shown; text is never a label. What was found
is read from the newest runs, so a device that is gone has no series.

"""
_LABELS = {
    "cadence": ", ".join(map(code, (*metrics.CADENCES, "other"))),
    "check": "a [check](checks.md) of this node, or `other` (results of a Job)",
    "device": "PCI address, NIC; empty is the node",
    "outcome": "`pass`, `fail`, `warn`, `skip`, `timeout`, `error`",
    "name": "of the measurement, e.g. `h2d`",
    "unit": "of the measurement, e.g. `GB/s`; empty has none",
    "endpoint": "a path of the [API](agent-api.md), or `other`",
    "reason": "a [code](agent-api.md#refusals)",
    "answer": "`confirmed`, `denied`, `unknown`",
    "backend": "`nvml`, `sysfs`, `fake`",
    "version": "of the agent",
    "python": "its version",
}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
_AUTOPILOT = f"""
## `{autopilot.NAME}`

With `--compat-autopilot` the gauge of IBM Autopilot is served too, with its labels `health`,
`node`, `cpumodel`, `gpumodel`, `deviceid`, so that dashboards and alerts need no change. `pciebw`
is GB/s; all others are 1 when it is bad and 0 when it is good. What was not measured leaves the
last value; so does what a fake backend says. Of several levels of DCGM the worst is told.

"""


def agent_metrics_page() -> str:
    """Every metric, and what its labels may be."""
    rows, used = [], set()
    with made_agent() as made:
        families = list(made.metrics.registry.collect())
        labels = dict(_labels_of(made.metrics))
    for family in families:
        if not family.name.startswith(metrics.NAMESPACE):
            continue
        names = [family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))]
        own = labels[family.name]
        used |= set(own)
        shown = ", ".join(map(code, names))
        rows.append((shown, family.type, ", ".join(map(code, own)), family.documentation))
    told = (
        (code(each.health), code(check), each.measurement or "outcome", each.device or '""')
        for check, each in autopilot.CHECKS.items()
    )
    return (
        _METRICS.lstrip()
        + table(("metric", "type", "labels", "meaning"), rows)
        + "\n## Labels\n\n"
        + table(("label", "values"), ((code(name), _LABELS[name]) for name in sorted(used)))
        + _AUTOPILOT
        + table(("health", "check", "from", "deviceid"), told)
        + "| `ping` | `ping` | too many packets lost on one of its addresses | the other node's"
        + " name |\n\n`gpu` is the GPU's index (by PCI address). `pvc` is the controller's to"
        + " tell.\n"
    )


def _labels_of(of: metrics.Metrics) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of labels by family; a family without samples does not tell them."""
    for collector in of.registry._collector_to_names:
        if isinstance(collector, metrics.Findings):
            for family in collector.describe():
                yield family.name, tuple(getattr(family, "_labelnames"))  # noqa: B009 - untyped
        elif hasattr(collector, "_labelnames"):
            known: Any = collector
            yield known.describe()[0].name, tuple(known._labelnames)
