"""Which metrics does the agent have? All of them; an interface (docs/reference/probe-metrics.md).

What checks found is read from the board when it is asked for, so that nothing is shown of a device
that is not there any more. Invariant: labels are bounded. Names of checks are those of this node,
devices and names of measurements are counted and capped; text is never a label.
"""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from probes.agent.board import WORST_FIRST, Told
from probes.agent.refusals import CODES
from probes.report import KmsgAnswer, Result, Run

NAMESPACE = "konduktor_probe"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CADENCES = ("boot", "light", "hourly", "invasive", "requested")
#: Paths that are labels; any other is "other".
ENDPOINTS = (
    "/v1/report", "/v1/checks", "/v1/history", "/v1/run", "/v1/settings", "/v1/kmsg", "/metrics",
    "/openapi.json",
)  # fmt: skip
#: Most devices of one check, and most measurements in all, that become series.
MOST_DEVICES = 64
MOST_MEASUREMENTS = 4096
_OTHER = "other"
#: What may be a label of a measurement: a check of a site may name one as it likes.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.-]{0,63}")
_UNIT = re.compile(r"[a-zA-Z0-9/%°^*._-]{0,16}")


class Metrics:
    """Counted by any thread."""

    def __init__(self, *, version: str, checks: Collection[str], told: Callable[[], Told]) -> None:
        self.registry = CollectorRegistry()
        self._checks = frozenset(checks)
        ProcessCollector(registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(name, text, labels, namespace=NAMESPACE, registry=self.registry)

        info = Gauge(
            "build_info",
            "1; the version of the agent and of Python.",
            ("version", "python"),
            namespace=NAMESPACE,
            registry=self.registry,
        )
        info.labels(version, platform.python_version()).set(1)
        self._run_seconds = Histogram(
            "run_seconds",
            "How long runs took.",
            ("cadence",),
            namespace=NAMESPACE,
            registry=self.registry,
            buckets=(0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
        )
        self._results = counter("results_total", "Findings of checks.", ("check", "outcome"))
        self._refused = counter(
            "requests_refused_total", "Requests that were refused.", ("endpoint", "reason")
        )
        self._answers = counter(
            "kmsg_answers_total", "Answers to questions about kernel records.", ("answer",)
        )
        for cadence in CADENCES:
            self._run_seconds.labels(cadence)
        for answer in ("confirmed", "denied", "unknown"):
            self._answers.labels(answer)
        self.registry.register(Findings(self._checks, told))

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A number that is read when it is asked for."""
        gauge = Gauge(name, text, namespace=NAMESPACE, registry=self.registry)
        gauge.set_function(value)

    def count(self, run: Run) -> None:
        """A run has ended."""
        cadence = run.cadence if run.cadence in CADENCES else _OTHER
        self._run_seconds.labels(cadence).observe(max(0, run.ended_ns - run.began_ns) / 1e9)
        for result in run.results:
            check = result.check if result.check in self._checks else _OTHER
            self._results.labels(check, result.outcome).inc()

    def refused(self, path: str, code: str) -> None:
        """A request was refused."""
        endpoint = path if path in ENDPOINTS else _OTHER
        self._refused.labels(endpoint, code if code in CODES else _OTHER).inc()

    def answered(self, answers: Iterable[KmsgAnswer]) -> None:
        """Questions about kernel records were answered."""
        for each in answers:
            self._answers.labels(each.answer).inc()

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self.registry)


class Findings(Collector):
    """What the checks of this node found last."""

    def __init__(self, checks: Collection[str], told: Callable[[], Told]) -> None:
        self._checks, self._told = checks, told

    def describe(self) -> Iterator[Metric]:
        """The families, empty."""
        yield from _families().values()

    def collect(self) -> Iterator[Metric]:
        """The families with what is on the board."""
        told = self._told()
        families = _families()
        left = MOST_MEASUREMENTS
        for check, state in told.checks.items():
            if check not in self._checks:
                continue
            families["ended"].add_metric([check], max(r.ended_ns for r in state.results) / 1e9)
            families["seconds"].add_metric([check], state.results[0].duration_s)
            families["unmeasured"].add_metric([check], state.unmeasured)
            families["stuck"].add_metric([check], float(check in told.stuck))
            for device, results in islice(_by_device(state.results), MOST_DEVICES):
                families["outcome"].add_metric([check, device, results[0].outcome], 1)
                for name, unit, value in islice(_measured(results), left):
                    families["measurement"].add_metric([check, device, name, unit], value)
                    left -= 1
        if told.backend:
            families["fake"].add_metric([told.backend], float(told.fake))
        yield from families.values()


def _families() -> Mapping[str, GaugeMetricFamily]:
    def family(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{NAMESPACE}_{name}", text, labels=labels)

    return {
        "outcome": family(
            "check_outcome",
            "1: what the check came to on this device in its newest run.",
            ("check", "device", "outcome"),
        ),
        "measurement": family(
            "measurement",
            "What was measured last.",
            ("check", "device", "name", "unit"),
        ),
        "ended": family(
            "check_ended_timestamp_seconds", "When the check ended last, Unix time.", ("check",)
        ),
        "seconds": family("check_seconds", "How long the check took last.", ("check",)),
        "unmeasured": family(
            "check_unmeasured_runs",
            "Runs in a row, up to the newest, in which the check ended in timeout or error.",
            ("check",),
        ),
        "stuck": family(
            "check_stuck",
            "1: a process of the check cannot be ended, and it is not started again.",
            ("check",),
        ),
        "fake": family(
            "backend_fake", "1: the backend is a fake one and proves nothing.", ("backend",)
        ),
    }


def _by_device(results: Sequence[Result]) -> Iterator[tuple[str, Sequence[Result]]]:
    """The results of each device, the worst first."""
    found: dict[str, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda each: WORST_FIRST.index(each.outcome)):
        found[result.device].append(result)
    yield from sorted(found.items())


def _measured(results: Sequence[Result]) -> Iterator[tuple[str, str, float]]:
    """Name, unit and value; the first of those that have one name."""
    seen = set()
    for each in (measured for result in results for measured in result.measurements):
        name = (each.name, each.unit)
        if name not in seen and _NAME.fullmatch(each.name) and _UNIT.fullmatch(each.unit):
            seen.add(name)
            yield each.name, each.unit, each.value
