"""What does ``autopilot_health_checks`` say? The gauge of IBM Autopilot, for dashboards of it.

Labels and values as Autopilot v2 has them: pciebw is GB/s from host to device, all others are 1
when it is bad and 0 when it is good; deviceid is the GPU's index, for ping the other node's name,
else "". Invariants: what could not be measured leaves the last value as it is, as there; a level of
DCGM that passed hides no other one that failed; a fake backend measures nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from parsers.printable import printable
from probes.autopilot.pings import peers
from probes.report import Result, Run

NAME = "autopilot_health_checks"
_LABELS = ("health", "node", "cpumodel", "gpumodel", "deviceid")
_UNKNOWN_MODEL = "N/A"
_GPU = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}")
_MOST_SERIES = 1024
#: Runs that somebody asked for may ping a single peer, but for those of Autopilot's users.
_REQUESTED, _ASKED_HERE = "requested", "autopilot-"


@dataclass(frozen=True, slots=True)
class _Check:
    """Which value of Autopilot one of our checks stands for."""

    health: str
    measurement: str = ""  # told as it is; "" tells the outcome
    device: str = "gpu"  # deviceid: the GPU's index, or what it is of the node: "0", ""


_PING = "ping"
#: By name of our check. ``gpumem`` is Autopilot's DAXPY and DGEMM. ``pvc`` is the controller's, and
#: ``ping`` is told by peer.
CHECKS = {
    "pcie-bandwidth": _Check("pciebw", "h2d"),
    "gpu-remapped-rows": _Check("remapped"),
    "gpu-clocks": _Check("power-slowdown"),
    "gpu-arithmetic": _Check("gpumem", device="0"),
    "dcgm-1": _Check("dcgm", device=""),
    "dcgm-2": _Check("dcgm", device=""),
    "dcgm-3": _Check("dcgm", device=""),
    "dcgm-4": _Check("dcgm", device=""),
}
#: Told as bad or good; what is in neither was not measured.
_BAD = {"fail": 1.0, "pass": 0.0, "warn": 0.0}


@dataclass(frozen=True, slots=True)
class _Key:
    """One value. Several checks may tell one series: the worst of them is shown."""

    health: str
    device: str  # address of a GPU, name of a peer, or as deviceid
    check: str


class AutopilotGauge(Collector):
    """Told of each run, asked by the registry."""

    def __init__(self, node: str, root: str) -> None:
        self._node, self._cpu = node, cpu_model(root)
        self._lock = Lock()
        self._devices: set[str] = set()
        self._model = _UNKNOWN_MODEL
        self._values: dict[_Key, float] = {}

    def take(self, run: Run) -> None:
        """A run has ended."""
        measured = [result for result in run.results if not result.fake]
        with self._lock:
            for result in measured:
                if _GPU.fullmatch(result.device):
                    self._devices.add(result.device)
                self._model = printable(result.detail.get("model", ""), 128) or self._model
            for check, told in CHECKS.items():
                own = [result for result in measured if result.check == check]
                self._values.update(_found(check, told, own))
            if run.cadence != _REQUESTED or run.run_id.startswith(_ASKED_HERE):
                self._take_pings([result for result in measured if result.check == _PING])
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
            worst: dict[tuple[str, str], float] = {}
            for key, value in self._values.items():
                series = (key.health, indexes.get(key.device, key.device))
                worst[series] = max(value, worst.get(series, value))
            for (health, device), value in sorted(worst.items()):
                family.add_metric([health, self._node, self._cpu, self._model, device], value)
        yield family

    def _family(self) -> GaugeMetricFamily:
        text = "As IBM Autopilot has it (option --compat-autopilot)."
        return GaugeMetricFamily(NAME, text, labels=_LABELS)

    def _take_pings(self, results: Sequence[Result]) -> None:
        """A peer is bad when one of its addresses is. One that is no target any more goes."""
        found: dict[_Key, float] = {}
        for each in peers(results):
            if each.bad is not None:
                key = _Key(_PING, each.node, _PING)
                found[key] = max(float(each.bad), found.get(key, 0.0))
        if found:
            self._values = {k: v for k, v in self._values.items() if k.health != _PING}
            self._values.update(found)


def _found(check: str, told: _Check, results: Sequence[Result]) -> dict[_Key, float]:
    """What a check says; of the node as a whole only when something is bad, or all is measured."""
    if told.device == "gpu":
        values = {r.device: _value(told, r) for r in results if _GPU.fullmatch(r.device)}
        return {_Key(told.health, d, check): v for d, v in values.items() if v is not None}
    whole = [_value(told, result) for result in results]
    measured = [value for value in whole if value is not None]
    if not measured or (None in whole and max(measured) == 0):
        return {}
    return {_Key(told.health, told.device, check): max(measured)}


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
