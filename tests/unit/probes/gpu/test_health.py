"""Checks of one GPU's own state: each kind of fault, and what is near it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.readings import GpuProcess, Temperatures
from probes.check import Check, Context, Finding, NodeFacts, Outcome
from probes.checks.gpu_clocks import GpuClocks
from probes.checks.gpu_ecc import GpuEcc
from probes.checks.gpu_persistence import GpuPersistence
from probes.checks.gpu_power import GpuPower
from probes.checks.gpu_processes import GpuProcesses
from probes.checks.gpu_recovery_action import GpuRecoveryAction
from probes.checks.gpu_remapped_rows import GpuRemappedRows
from probes.checks.gpu_retired_pages import GpuRetiredPages
from probes.checks.gpu_temperature import GpuTemperature
from probes.each_gpu import is_good
from tests.support.gpus import BOOT, Clock, Node, no_tool, outcomes, run
from tests.support.sysfs_tree import SysfsTree

FAIL, WARN, PASS, SKIP, ERROR = (
    Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.SKIP, Outcome.ERROR
)  # fmt: skip

CASES: list[tuple[Check, str, dict[str, object], Outcome, str, str]] = [
    # from Ada on: distances; the fake's limit is 87 °C, its slow-down 89 °C
    (GpuTemperature(), "H100", {"temperature_c": 80}, PASS, "", ""),
    (GpuTemperature(), "H100", {"temperature_c": 84}, WARN, "", ""),
    (GpuTemperature(), "H100", {"temperature_c": 89}, FAIL, "degraded", "inspect"),
    (GpuTemperature(), "H100", {"temperature_c": 99}, FAIL, "degraded", "inspect"),
    (GpuTemperature(), "H100", {"memory_temperature_c": 95}, WARN, "", ""),
    (GpuTemperature(), "H100", {"memory_temperature_c": 106}, FAIL, "degraded", "inspect"),
    (GpuTemperature(), "H100", {"temperature_c": -274}, ERROR, "", ""),
    (GpuTemperature(), "H100", {"temperature_c": 400}, ERROR, "", ""),
    (GpuTemperature(), "H100", {"memory_temperature_c": 4000}, ERROR, "", ""),
    # before: temperatures; slow-down 92 °C, steady 85 °C, memory 95 °C
    (GpuTemperature(), "A100", {"temperature_c": 85}, PASS, "", ""),
    (GpuTemperature(), "A100", {"temperature_c": 88}, WARN, "", ""),
    (GpuTemperature(), "A100", {"temperature_c": 92}, FAIL, "degraded", "inspect"),
    (GpuTemperature(), "A100", {"memory_temperature_c": 92}, WARN, "", ""),
    (GpuTemperature(), "A100", {"memory_temperature_c": 96}, FAIL, "degraded", "inspect"),
    (GpuTemperature(), "H100", {"unsupported": ["temperatures"]}, SKIP, "", ""),
    (GpuPower(), "H100", {"power_w": 690}, PASS, "", ""),
    (GpuPower(), "H100", {"power_w": 800}, FAIL, "degraded", "inspect"),
    (GpuPower(), "H100", {"power_limit_w": 400}, WARN, "", ""),
    (GpuPower(), "H100", {"power_cables_missing": True}, FAIL, "fatal", "inspect"),
    (GpuPower(), "H100", {"power_w": -3}, ERROR, "", ""),
    (GpuPower(), "H100", {"power_w": 1e9}, ERROR, "", ""),
    (GpuPower(), "H100", {"power_limit_w": 0}, ERROR, "", ""),
    (GpuPower(), "H100", {"unsupported": ["power"]}, SKIP, "", ""),
    (GpuClocks(), "H100", {"clock_reasons": ["idle"]}, PASS, "", ""),
    (GpuClocks(), "H100", {"clock_reasons": ["sw_power_cap", "sync_boost"]}, PASS, "", ""),
    (GpuClocks(), "H100", {"clock_reasons": ["sw_thermal"]}, WARN, "", ""),
    (GpuClocks(), "H100", {"clock_reasons": ["hw_slowdown"]}, FAIL, "degraded", "inspect"),
    (GpuClocks(), "H100", {"clock_reasons": ["hw_thermal"]}, FAIL, "degraded", "inspect"),
    (GpuClocks(), "H100", {"clock_reasons": ["hw_power_brake"]}, FAIL, "degraded", "inspect"),
    (GpuClocks(), "H100", {"unsupported": ["clocks"]}, SKIP, "", ""),
    (GpuEcc(), "H100", {"ecc_disabled": True}, WARN, "", ""),
    (GpuEcc(), "H100", {"ecc_volatile_dram_uncorrected": 1}, FAIL, "degraded", "drain_reset"),
    (GpuEcc(), "H100", {"ecc_volatile_sram_uncorrected": 1}, FAIL, "fatal", "reset_gpu"),
    (GpuEcc(), "H100", {"ecc_volatile_dram_corrected": 20_000_000}, PASS, "", ""),
    (GpuEcc(), "H100", {"ecc_volatile_dram_corrected": 20_000_001}, FAIL, "degraded", "inspect"),
    (GpuEcc(), "H100", {"ecc_volatile_sram_corrected": 10_001}, FAIL, "degraded", "inspect"),
    (GpuEcc(), "H100", {"ecc_aggregate_dram_uncorrected": 9}, PASS, "", ""),
    (GpuEcc(), "H100", {"ecc_aggregate_sram_uncorrected": 9}, PASS, "", ""),
    (GpuEcc(), "H100", {"sram_threshold_exceeded": True}, FAIL, "fatal", "inspect"),
    (GpuEcc(), "H100", {"unsupported": ["ecc"]}, SKIP, "", ""),
    (GpuRemappedRows(), "H100", {"remapped_uncorrected": 4}, PASS, "", ""),
    (GpuRemappedRows(), "H100", {"remap_pending": True}, FAIL, "degraded", "drain_reset"),
    (GpuRemappedRows(), "H100", {"remap_failed": True}, FAIL, "fatal", "inspect"),
    (
        GpuRemappedRows(), "H100",
        {"remap_failed": True, "remap_pending": True}, FAIL, "fatal", "inspect",
    ),
    (GpuRemappedRows(), "H100", {"remapped_uncorrected": 513}, FAIL, "degraded", "inspect"),
    (GpuRemappedRows(), "V100", {}, SKIP, "", ""),
    (GpuRetiredPages(), "V100", {"retired_single_bit": 15}, PASS, "", ""),
    (GpuRetiredPages(), "V100", {"retired_single_bit": 14, "retired_double_bit": 2}, WARN, "", ""),
    (GpuRetiredPages(), "V100", {"retired_pending": True}, FAIL, "degraded", "drain_reset"),
    (GpuRetiredPages(), "V100", {"retired_double_bit": 62}, FAIL, "fatal", "inspect"),
    (GpuRetiredPages(), "H100", {}, SKIP, "", ""),
    (GpuRecoveryAction(), "H100", {"recovery_action": "none"}, PASS, "", ""),
    (GpuRecoveryAction(), "H100", {"recovery_action": "gpu_reset"}, FAIL, "fatal", "reset_gpu"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "node_reboot"}, FAIL, "fatal", "reboot"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "drain_p2p"}, FAIL, "degraded",
     "drain_inspect"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "drain_and_reset"}, FAIL, "fatal",
     "drain_reset"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "recover_imex_domain"}, FAIL, "degraded",
     "inspect"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "bus_reset"}, FAIL, "fatal", "reboot"),
    (GpuRecoveryAction(), "H100", {"recovery_action": "system_reboot"}, FAIL, "fatal", "reboot"),
    (GpuRecoveryAction(), "H100", {"unsupported": ["recovery_action"]}, SKIP, "", ""),
    (GpuPersistence(), "H100", {"persistence_off": True}, WARN, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "model", "faults", "outcome", "severity", "remedy"),
    CASES,
    ids=[f"{case[0].spec.name}-{case[1]}-{case[2]}" for case in CASES],
)
def test_a_state_of_one_gpu_is_found_on_it_and_on_no_other(
    check: Check,
    model: str,
    faults: dict[str, object],
    outcome: Outcome,
    severity: str,
    remedy: str,
    make_node: Callable[..., Node],
) -> None:
    node = make_node(model)
    healthy = outcomes(node.run(check))
    node.inject(3, **faults)

    finding = node.of(check, 3)

    assert finding.outcome is outcome, finding.message
    if outcome is FAIL:
        assert (finding.severity, finding.remedy) == (severity, remedy)
        assert_a_broken_threshold_is_shown(finding)
    others = outcomes(node.run(check))
    others.pop(node.devices[3])
    healthy.pop(node.devices[3])
    assert others == healthy
    node.clear(3)
    assert node.of(check, 3).outcome in (PASS, SKIP)


def assert_a_broken_threshold_is_shown(finding: Finding) -> None:
    if "cables" in finding.message or "lasts" in finding.message:
        return  # states without a number
    bad = [each for each in finding.measurements if not is_good(each)]
    assert bad, finding
    assert all(each.threshold and each.threshold.source for each in bad)


def test_the_catalog_says_the_same_of_a_recovery_action_as_of_xid_154() -> None:
    import json
    from pathlib import Path

    from probes.backends.readings import RecoveryAction
    from probes.checks.gpu_recovery_action import _ACTIONS

    table = Path(__file__).parents[4] / "parsers/catalog/xid154.json"
    for row in json.loads(table.read_text())["directives"]:
        if row["value"]:
            severity, remedy, _ = _ACTIONS[RecoveryAction(row["value"])]
            assert (severity, remedy) == (row["severity"], row["remedy"]), row


def test_an_override_of_the_node_is_what_a_temperature_is_judged_by(node: Node) -> None:
    node.inject(3, temperature_c=70)
    node.facts = NodeFacts(thresholds={"gpu-temperature/gpu": 60.0})
    assert node.of(GpuTemperature(), 3).outcome is FAIL

    node.facts = NodeFacts(thresholds={"gpu-temperature/gpu": 75.0})
    assert node.of(GpuTemperature(), 3).outcome is PASS


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_an_override_that_cannot_be_is_an_error(node: Node, value: float) -> None:
    node.facts = NodeFacts(thresholds={"gpu-temperature/gpu": value})

    assert set(outcomes(node.run(GpuTemperature())).values()) == {ERROR}


class Flutter:
    """Clocks that are held down only at the first look of a run."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._looks = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._node.backend, name)

    def clocks(self, gpu: object) -> object:
        self._looks += 1
        self._node.inject(0, clock_reasons=["hw_slowdown"] if self._looks % 2 else ["idle"])
        return self._node.backend.clocks(self._node.backend.gpus()[0])


def test_a_slow_down_of_a_moment_warns_and_in_6_of_10_runs_fails(
    make_node: Callable[..., Node],
) -> None:
    node = make_node("H100", 1)
    flutter = Flutter(node)

    found = [node.run(GpuClocks(), flutter)[0].outcome for _ in range(6)]  # type: ignore[arg-type]

    assert found == [WARN] * 5 + [FAIL]
    node.clear()
    later = [node.run(GpuClocks())[0].outcome for _ in range(6)]
    assert later[-1] is PASS, "it is forgotten after ten runs"


@pytest.mark.parametrize(
    "garbage",
    [
        Temperatures(34, margin_c=51, slowdown_margin_c=4294967294),
        Temperatures(34, margin_c=-2147483648, slowdown_margin_c=-2),
        Temperatures(34, slowdown_c=3),
        Temperatures(34, 60, slowdown_c=90, memory_max_c=1),
    ],
)
def test_a_limit_that_no_gpu_has_is_an_error_and_accuses_nobody(
    node: Node, garbage: Temperatures
) -> None:
    class Garbled(FakeBackend):
        def temperatures(self, gpu: Gpu) -> Temperatures:
            return garbage

    backend = Garbled("H100", 1, state=FakeState(node.state), clock=node.clock)

    assert [each.outcome for each in node.run(GpuTemperature(), backend)] == [ERROR]


# ---------------------------------------------------------------- processes


def test_a_stuck_process_warns_first_and_fails_after_300_s(node: Node) -> None:
    clock = Clock()
    check = GpuProcesses(clock)
    node.inject(3, processes=[{"pid": 4711, "state": "D", "started": 5}])

    assert node.of(check, 3).outcome is WARN
    clock.now_s += 300
    assert node.of(check, 3).outcome is WARN
    clock.now_s += 1
    finding = node.of(check, 3)
    assert (finding.outcome, finding.remedy) == (FAIL, "reboot")
    assert finding.detail["pid"] == "4711"


def test_a_process_that_waits_for_its_disk_at_each_first_look_is_not_stuck(node: Node) -> None:
    class Reading(FakeBackend):
        looks = 0

        def processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
            self.looks += 1
            return (GpuProcess(4711, "D" if self.looks % 2 else "S", 5),)

    clock = Clock()
    check = GpuProcesses(clock)
    for _ in range(3):
        backend = Reading("H100", 1, state=FakeState(node.state), clock=node.clock)
        assert [each.outcome for each in node.run(check, backend)] == [PASS]
        clock.now_s += 301


def test_another_process_with_the_same_pid_is_another_one(node: Node) -> None:
    clock = Clock()
    check = GpuProcesses(clock)
    node.inject(3, processes=[{"pid": 4711, "state": "Z", "started": 5}])
    node.of(check, 3)
    clock.now_s += 400
    node.inject(3, processes=[{"pid": 4711, "state": "Z", "started": 6}])

    assert node.of(check, 3).outcome is WARN


def test_processes_that_run_pass_and_those_that_cannot_be_seen_are_a_skip(node: Node) -> None:
    node.inject(3, processes=[{"pid": 1, "state": "R"}])
    assert node.of(GpuProcesses(), 3).outcome is PASS

    node.inject(3, processes=[{"pid": 1}])
    assert node.of(GpuProcesses(), 3).outcome is SKIP


def test_what_holds_down_the_clocks_of_an_idle_gpu_is_no_matter(node: Node) -> None:
    node.inject(3, clock_reasons=["idle", "hw_slowdown", "hw_power_brake"])

    for _ in range(12):
        assert node.of(GpuClocks(), 3).outcome is PASS


@pytest.mark.parametrize(
    ("supplies", "outcome"),
    [
        ({}, FAIL),
        ({"AC/type": "Mains", "BAT0/type": "Battery"}, WARN),
        ({"BAT0/type": "Battery", "BAT0/scope": "System"}, WARN),
        ({"hid-mouse/type": "Battery", "hid-mouse/scope": "Device"}, FAIL),
        ({"ups/type": "UPS"}, FAIL),
    ],
)
@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (GpuClocks(), {"clock_reasons": ["hw_power_brake"]}),
        (GpuTemperature(), {"temperature_c": 99}),
    ],
    ids=["clocks", "temperature"],
)
def test_a_laptop_brakes_its_gpu_by_design(
    node: Node, tmp_path: Path, check: Check, fault: dict[str, object],
    supplies: dict[str, str], outcome: Outcome,
) -> None:  # fmt: skip
    for path, text in supplies.items():
        SysfsTree(tmp_path).write(f"sys/class/power_supply/{path}", text + "\n")
    node.inject(3, **fault)
    options = {"again_s": "0"}
    its = Context(node.backend, no_tool(), root=str(tmp_path), options=options, boot_id=BOOT)

    (finding,) = [each for each in run(check, its) if each.device == node.devices[3]]

    assert finding.outcome is outcome
