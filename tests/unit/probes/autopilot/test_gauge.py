"""The gauge ``autopilot_health_checks``: its labels, and which value stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.agent.autopilot import AutopilotGauge
from probes.report import Measured, OutcomeName, Result, Run

ONE, TWO = "0000:3b:00", "0000:5e:00"


def got(check: str, outcome: OutcomeName, device: str = "", **more: Any) -> Result:
    return Result(check=check, tier="light", outcome=outcome, device=device, ended_ns=1, **more)


def run(*results: Result) -> Run:
    return Run(run_id="r", cadence="light", began_ns=1, ended_ns=1, results=results)


@pytest.fixture
def gauge(tmp_path: Path) -> AutopilotGauge:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Intel(R) Xeon(R)\n")
    return AutopilotGauge("gpu-1", str(tmp_path))


def told(gauge: AutopilotGauge) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["health"], sample.labels["deviceid"]): sample.value
        for family in gauge.collect()
        for sample in family.samples
    }


def test_models_are_those_of_the_node(gauge: AutopilotGauge) -> None:
    gauge.take(run(got("gpu-count", "pass", ONE, detail={"model": "NVIDIA H100 80GB HBM3"})))
    gauge.take(run(got("gpu-remapped-rows", "pass", ONE)))
    labels = next(iter(gauge.collect())).samples[0].labels
    assert labels == {
        "health": "remapped",
        "node": "gpu-1",
        "cpumodel": "Intel(R) Xeon(R)",
        "gpumodel": "NVIDIA H100 80GB HBM3",
        "deviceid": "0",
    }


def test_bandwidth_is_a_number_and_the_rest_is_bad_or_good(gauge: AutopilotGauge) -> None:
    h2d = (Measured(name="h2d", value=3.5, unit="GB/s"),)
    gauge.take(
        run(
            got("pcie-bandwidth", "fail", TWO, measurements=h2d),
            got("gpu-remapped-rows", "pass", ONE),
            got("gpu-remapped-rows", "fail", TWO),
            got("gpu-clocks", "warn", ONE),
            got("gpu-arithmetic", "pass", ONE),
            got("gpu-arithmetic", "fail", TWO),
        )
    )
    assert told(gauge) == {
        ("pciebw", "1"): 3.5,
        ("remapped", "0"): 0,
        ("remapped", "1"): 1,
        ("power-slowdown", "0"): 0,
        ("gpumem", "0"): 1,
    }


@pytest.mark.parametrize("outcome", ["skip", "error", "timeout"])
def test_what_could_not_be_measured_leaves_the_last_value(
    gauge: AutopilotGauge, outcome: OutcomeName
) -> None:
    gauge.take(run(got("dcgm-1", "fail"), got("gpu-clocks", "fail", ONE)))
    gauge.take(run(got("dcgm-1", outcome), got("gpu-clocks", outcome, ONE)))
    assert told(gauge) == {("dcgm", ""): 1, ("power-slowdown", "0"): 1}


def test_a_node_is_good_only_when_each_gpu_was_measured(gauge: AutopilotGauge) -> None:
    gauge.take(run(got("dcgm-1", "pass", ONE), got("dcgm-1", "skip", TWO)))
    assert told(gauge) == {}
    gauge.take(run(got("dcgm-1", "pass", ONE), got("dcgm-1", "pass", TWO)))
    assert told(gauge) == {("dcgm", ""): 0}
    gauge.take(run(got("dcgm-1", "fail", ONE), got("dcgm-1", "skip", TWO)))
    assert told(gauge) == {("dcgm", ""): 1}


def test_a_level_that_passes_does_not_hide_one_that_failed(gauge: AutopilotGauge) -> None:
    gauge.take(run(got("dcgm-3", "fail", ONE)))
    gauge.take(run(got("dcgm-1", "pass", ONE)))
    assert told(gauge) == {("dcgm", ""): 1}
    gauge.take(run(got("dcgm-3", "pass", ONE)))
    assert told(gauge) == {("dcgm", ""): 0}


def test_a_peer_is_bad_when_one_of_its_addresses_is(gauge: AutopilotGauge) -> None:
    def peers(interface: str, *each: str) -> Result:
        return got("ping", "warn", interface, detail={f"peer.{n}": p for n, p in enumerate(each)})

    gauge.take(
        run(
            peers("eth0", "gpu-2 10.0.0.7 loss=0 rtt_ms=0.2", "gpu-3 10.0.0.8 loss=0"),
            peers("net1", "gpu-2 10.1.0.7 loss=100", "gpu-3 10.1.0.8 error", "garbage"),
        )
    )
    assert told(gauge) == {("ping", "gpu-2"): 1, ("ping", "gpu-3"): 0}
    gauge.take(run(peers("eth0", "gpu-4 10.0.0.9 loss=0")))
    assert told(gauge) == {("ping", "gpu-4"): 0}


def test_a_fake_backend_measures_nothing(gauge: AutopilotGauge) -> None:
    gauge.take(run(got("gpu-clocks", "pass", ONE, fake=True), got("dcgm-1", "fail", fake=True)))
    assert told(gauge) == {}


def test_series_are_bounded(gauge: AutopilotGauge) -> None:
    devices = [f"{n:04x}:{m:02x}:00" for n in range(8) for m in range(256)]
    gauge.take(run(*(got("gpu-clocks", "pass", device) for device in devices)))
    assert len(told(gauge)) <= 1024
