"""What does ``autopilot_health_checks`` say? The gauge of IBM Autopilot, for dashboards of it.

Labels and values as Autopilot v2 has them: pciebw is GB/s from host to device, all others are 1
when it is bad and 0 when it is good; deviceid is the GPU's index, for ping the other node's name,
else "". Invariant, as there: what could not be measured leaves the last value as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from parsers.printable import printable
from probes.report import Result, Run

NAME = "autopilot_health_checks"
_LABELS = ("health", "node", "cpumodel", "gpumodel", "deviceid")
_UNKNOWN_MODEL = "N/A"
_GPU = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}")
#: What ``ping`` tells of each peer (``probes.checks.ping``): node, address, loss in percent.
_PEER = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,252}) \S{1,64} loss=([0-9.]{1,8})(?: .*)?")
_MOST_SERIES = 1024
_REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class _Check:
    """Which value of Autopilot one of our checks stands for."""

    health: str
    measurement: str = ""  # told as it is; "" tells the outcome
    device: str = "gpu"  # deviceid: the GPU's index, "peer" its name, "0", or ""


#: By name of our check. ``gpumem`` is Autopilot's DAXPY and DGEMM. ``pvc`` is the controller's.
CHECKS = {
    "pcie-bandwidth": _Check("pciebw", "h2d"),
    "gpu-remapped-rows": _Check("remapped"),
    "gpu-clocks": _Check("power-slowdown"),
    "gpu-arithmetic": _Check("gpumem", device="0"),
    "dcgm-1": _Check("dcgm", device=""),
    "dcgm-3": _Check("dcgm", device=""),
    "ping": _Check("ping", device="peer"),
}
#: Told as bad or good; what is in neither was not measured.
_BAD = {"fail": 1.0, "pass": 0.0, "warn": 0.0}


class AutopilotGauge(Collector):
    """Told of each run, asked by the registry."""

    def __init__(self, node: str, root: str) -> None:
        self._node, self._cpu = node, cpu_model(root)
        self._lock = Lock()
        self._devices: set[str] = set()
        self._model = _UNKNOWN_MODEL
        self._values: dict[tuple[str, str], float] = {}  # health, device of ours

    def take(self, run: Run) -> None:
        """A run has ended."""
        with self._lock:
            for check, told in CHECKS.items():
                results = [result for result in run.results if result.check == check]
                if told.device == "peer":
                    self._take_peers(told.health, results, run.cadence)
                else:
                    self._values.update(self._found(told, results))
            while len(self._values) > _MOST_SERIES:
                del self._values[next(iter(self._values))]

    def describe(self) -> Iterator[Metric]:
        """The family, empty."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """The family with what is known."""
        family = self._family()
        with self._lock:
            indexes = {device: str(n) for n, device in enumerate(sorted(self._devices))}
            for (health, device), value in sorted(self._values.items()):
                shown = indexes.get(device, device)
                family.add_metric([health, self._node, self._cpu, self._model, shown], value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        text = "As IBM Autopilot has it (option --compat-autopilot)."
        return GaugeMetricFamily(NAME, text, labels=_LABELS)

    def _take_peers(self, health: str, results: list[Result], cadence: str) -> None:
        """Unreachable over one interface is unreachable, as there; a peer that is no target any
        more has no value. One that was asked for is none of the node's own."""
        found: dict[tuple[str, str], float] = {}
        for text in (text for each in results for text in each.detail.values()):
            if match := _PEER.fullmatch(text):
                key = (health, match[1])
                found[key] = max(found.get(key, 0.0), float(match[2] == "100"))
        if found and cadence != _REQUESTED:
            kept = {key: value for key, value in self._values.items() if key[0] != health}
            self._values = {**kept, **found}

    def _found(
        self, told: _Check, results: list[Result]
    ) -> Iterator[tuple[tuple[str, str], float]]:
        whole: list[float] = []
        for result in results:
            if told.device == "gpu" and not _GPU.fullmatch(result.device):
                continue
            value = _value(told, result)
            if told.device == "gpu":
                self._devices.add(result.device)
                self._model = printable(result.detail.get("model", ""), 128) or self._model
                if value is not None:
                    yield (told.health, result.device), value
            elif value is not None:
                whole.append(value)
        if whole:
            yield (told.health, told.device), max(whole)


def _value(told: _Check, result: Result) -> float | None:
    if not told.measurement:
        return _BAD.get(result.outcome)
    return next((m.value for m in result.measurements if m.name == told.measurement), None)


def cpu_model(root: str) -> str:
    """The first ``model name`` of /proc/cpuinfo; "N/A" where there is none (arm64)."""
    try:
        with open(os.path.join(root, "proc/cpuinfo"), encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return printable(value, 128)
    except OSError:
        pass
    return _UNKNOWN_MODEL
