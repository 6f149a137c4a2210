"""What Prometheus sees."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from probes.agent.autopilot import AutopilotGauge
from probes.agent.metrics import MOST_DEVICES, MOST_MEASUREMENTS
from probes.checks.ping import PeerSeen
from probes.report import Measured, OutcomeName, Result
from probes.tools.ping import Pinged
from tests.support.agent import GPU, AgentWorld, FakeClock, found, gbps, run_of

OTHER = "0000:5e:00"


def samples(world: AgentWorld) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Name and labels of each sample."""
    with world.serving() as client:
        text = client.get("/metrics").body.decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(world: AgentWorld, metric: str, /, **labels: str) -> float | None:
    return samples(world).get((f"konduktor_probe_{metric}", tuple(sorted(labels.items()))))


def measured(world: AgentWorld, *results: Result) -> None:
    """A light run with these results."""
    by_check: dict[str, list[Result]] = {}
    for result in results:
        by_check.setdefault(result.check, []).append(result)
    world.runner.found = {check: tuple(each) for check, each in by_check.items()}
    made = world.made or world.start()
    for _ in range(4):
        made.worker.step()
        world.clock.seconds += 400


def test_outcome_and_measurements_of_each_device_are_there(world: AgentWorld) -> None:
    measured(
        world,
        found("gpu-health", "fail", device=GPU, measurements=(
            Measured(name="temperature", value=91.0, unit="°C"),)),
        found("gpu-health", "pass", device=OTHER),
    )  # fmt: skip
    assert value(world, "check_outcome", check="gpu-health", device=GPU, outcome="fail") == 1
    assert value(world, "check_outcome", check="gpu-health", device=OTHER, outcome="pass") == 1
    assert value(world, "check_outcome", check="gpu-health", device=GPU, outcome="pass") is None
    assert (
        value(world, "measurement", check="gpu-health", device=GPU, name="temperature", unit="°C")
        == 91
    )


def test_a_device_that_is_gone_has_no_series(world: AgentWorld) -> None:
    measured(
        world, found("gpu-health", "pass", device=GPU), found("gpu-health", "pass", device=OTHER)
    )
    world.clock.seconds += 60
    measured(world, found("gpu-health", "pass", device=GPU))
    devices = {dict(labels).get("device") for name, labels in samples(world)}
    assert GPU in devices
    assert OTHER not in devices


def test_text_of_checks_never_becomes_a_label_or_a_new_series(world: AgentWorld) -> None:
    measured(
        world,
        found("gpu-health", "pass", message="secret text", detail={"secret": "text"}, measurements=(
            Measured(name='evil{}\n"name', value=1.0, unit="s"),
            Measured(name="ok", value=1.0, unit="not a unit at all"),
            Measured(name="fine", value=1.0, unit="s"))),
    )  # fmt: skip
    names = {dict(labels).get("name") for _, labels in samples(world)} - {None}
    assert names == {"fine"}
    assert not any("secret" in str(labels) for _, labels in samples(world))


def test_series_are_bounded_whatever_a_check_finds(world: AgentWorld) -> None:
    numbers = tuple(Measured(name=f"m{n}", value=1.0) for n in range(64))
    measured(
        world,
        *(found("gpu-health", "pass", device=f"dev{n}", measurements=numbers) for n in range(200)),
    )
    told = [name for name, _ in samples(world)]
    assert told.count("konduktor_probe_check_outcome") <= MOST_DEVICES + 3
    assert told.count("konduktor_probe_measurement") <= MOST_MEASUREMENTS


def test_results_of_checks_that_this_node_does_not_have_are_other(world: AgentWorld) -> None:
    made = world.start()
    file = Path(world.options.delivered) / "x.json"
    file.write_text(run_of(found("anything", "pass")).model_dump_json())
    file.chmod(0o600)
    made.chores.step()
    assert value(world, "results_total", check="other", outcome="pass") == 1
    assert not any("anything" in str(labels) for _, labels in samples(world))


def test_runs_refusals_and_state_are_counted(world: AgentWorld) -> None:
    measured(world, found("gpu-health", "timeout"))
    with world.serving() as client:
        client.post("/v1/run", {})
        client.get("/nowhere/at/all")
        client.post("/v1/kmsg", {"questions": [{"text": "x"}]})
    assert value(world, "run_seconds_count", cadence="boot") == 1
    assert value(world, "run_seconds_count", cadence="invasive") == 0
    assert value(world, "results_total", check="gpu-health", outcome="timeout") is not None
    assert value(world, "check_unmeasured_runs", check="gpu-health") is not None
    assert value(world, "requests_refused_total", endpoint="/v1/run", reason="unsigned") == 1
    assert value(world, "requests_refused_total", endpoint="other", reason="not_found") == 1
    assert value(world, "kmsg_answers_total", answer="unknown") == 1
    assert value(world, "public_keys") == 1
    assert value(world, "history_writable") == 1
    assert value(world, "build_info", version="1.2.3", python=_python()) == 1


def test_a_stuck_check_and_a_fake_backend_are_told(world: AgentWorld) -> None:
    world.stuck = ["gpu-health"]
    measured(world, found("gpu-health", "timeout", backend="fake", fake=True))
    assert value(world, "check_stuck", check="gpu-health") == 1
    assert value(world, "check_stuck", check="driver") == 0
    assert value(world, "backend_fake", backend="fake") == 1


# ---------------------------------------------------------------- as Autopilot has it


def gauge(tmp_path: Path, cpu: str = "model name : Intel(R) Xeon(R)\n") -> AutopilotGauge:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpu)
    return AutopilotGauge("node-a", str(tmp_path))


def told(of: AutopilotGauge) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["health"], sample.labels["deviceid"]): sample.value
        for family in of.collect()
        for sample in family.samples
    }


def test_autopilots_gauge_has_its_labels_and_values(tmp_path: Path) -> None:
    here = gauge(tmp_path)
    here.take(
        run_of(
            found("pcie-bandwidth", "fail", device=OTHER, measurements=(gbps("h2d", 3.5),)),
            found("pcie-bandwidth", "pass", device=GPU, measurements=(gbps("h2d", 55.0),),
                  detail={"model": "NVIDIA H100 80GB HBM3"}),
            found("gpu-remapped-rows", "fail", device=GPU),
            found("gpu-remapped-rows", "pass", device=OTHER),
            found("gpu-clocks", "pass", device=GPU),
            found("gpu-arithmetic", "pass", device=GPU),
            found("gpu-arithmetic", "fail", device=OTHER),
            found("dcgm-1", "pass"),
            found("ping", "pass", device="eth0", detail={
                "peer.1": "node-b 10.0.0.7 loss=100", "peer.2": "node-c 10.0.0.8 loss=5 rtt_ms=1",
                "peer.3": "node-d 10.0.0.9 error"}),
            found("ping", "pass", device="net1", detail={
                "peer.1": "node-b 10.1.0.7 loss=0 rtt_ms=0.3"}),
        )
    )  # fmt: skip
    assert told(here) == {
        ("pciebw", "0"): 55.0, ("pciebw", "1"): 3.5, ("remapped", "0"): 1, ("remapped", "1"): 0,
        ("power-slowdown", "0"): 0, ("gpumem", "0"): 1, ("dcgm", ""): 0,
        ("ping", "node-b"): 1, ("ping", "node-c"): 0,
    }  # fmt: skip
    labels = next(iter(here.collect())).samples[0].labels
    assert labels["node"] == "node-a"
    assert labels["cpumodel"] == "Intel(R) Xeon(R)"
    assert labels["gpumodel"] == "NVIDIA H100 80GB HBM3"


def test_what_could_not_be_measured_leaves_the_last_value(tmp_path: Path) -> None:
    here = gauge(tmp_path, cpu="")
    here.take(run_of(found("dcgm-1", "fail")))
    unmeasured: tuple[OutcomeName, ...] = ("skip", "error", "timeout")
    for outcome in unmeasured:
        here.take(run_of(found("dcgm-1", outcome)))
    assert told(here) == {("dcgm", ""): 1}
    assert next(iter(here.collect())).samples[0].labels["cpumodel"] == "N/A"


def test_a_peer_that_is_no_target_any_more_is_not_shown(tmp_path: Path) -> None:
    here = gauge(tmp_path)
    here.take(run_of(found("ping", "warn", detail={"peer.1": "node-b 10.0.0.7 loss=100"})))
    here.take(run_of(found("ping", "pass", detail={"peer.1": "node-c 10.0.0.8 loss=0"})))
    assert told(here) == {("ping", "node-c"): 0}


def test_a_peer_that_the_controller_asked_for_is_none_of_autopilots(tmp_path: Path) -> None:
    here = gauge(tmp_path)
    here.take(run_of(found("ping", "pass", detail={"peer.1": "node-c 10.0.0.8 loss=0"})))
    asked = found("ping", "warn", detail={"peer.1": "node-b 10.0.0.7 loss=100"})
    here.take(run_of(asked, cadence="requested"))
    assert told(here) == {("ping", "node-c"): 0}


def test_what_ping_tells_of_a_peer_is_understood(tmp_path: Path) -> None:
    here = gauge(tmp_path)
    lost, answered = Pinged(3, 0), Pinged(3, 3, 0.25)
    detail = {
        "peer.1": PeerSeen("node-b", "fd00::7", lost).text,
        "peer.2": PeerSeen("node-c", "10.0.0.8", answered).text,
        "peer.3": PeerSeen("node-d", "10.0.0.9", None, "no ping").text,
    }
    here.take(run_of(found("ping", "pass", detail=detail)))
    assert told(here) == {("ping", "node-b"): 1, ("ping", "node-c"): 0}


def test_the_gauge_is_served_only_when_asked_for(tmp_path: Path) -> None:
    for number, on in enumerate((False, True)):
        world = AgentWorld(tmp_path / str(number), compat_autopilot=on)
        measured(
            world, found("pcie-bandwidth", "pass", device=GPU, measurements=(gbps("h2d", 50.0),))
        )
        shown = {name for name, _ in samples(world)}
        assert ("autopilot_health_checks" in shown) == on
        world.close()


def _python() -> str:
    import platform

    return platform.python_version()


def test_names_follow_the_conventions(world: AgentWorld) -> None:
    measured(world, found("gpu-health", "pass"))
    for name, _ in samples(world):
        assert re.fullmatch(r"(konduktor_probe|process|python)_[a-z_]+", name), name
    assert isinstance(world.clock, FakeClock)
