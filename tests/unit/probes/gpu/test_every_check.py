"""What holds for each check that asks GPUs, whatever it asks."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.bare import NoReadings
from probes.backends.base import Gpu
from probes.backends.readings import Driver, PciDevice, PcieLink, Unopened
from probes.check import Check, Context, Outcome
from probes.checks.driver import DriverWorks
from probes.checks.fabric_manager import FabricManager
from probes.checks.gpu_clocks import GpuClocks
from probes.checks.gpu_count import GpuCount
from probes.checks.gpu_ecc import GpuEcc
from probes.checks.gpu_persistence import GpuPersistence
from probes.checks.gpu_power import GpuPower
from probes.checks.gpu_processes import GpuProcesses
from probes.checks.gpu_recovery_action import GpuRecoveryAction
from probes.checks.gpu_remapped_rows import GpuRemappedRows
from probes.checks.gpu_retired_pages import GpuRetiredPages
from probes.checks.gpu_temperature import GpuTemperature
from probes.checks.nvlink_errors import NvLinkErrors
from probes.checks.nvlink_fabric import NvLinkFabric
from probes.checks.nvlink_state import NvLinkState
from probes.checks.pcie_errors import PcieErrors
from probes.checks.pcie_link import PcieLinkState
from probes.registry import CHECKS
from probes.thresholds.hardware import shipped
from tests.support.gpus import BOOT, Node, no_tool, outcomes, run

PER_GPU: tuple[Check, ...] = (
    GpuTemperature(), GpuPower(), GpuClocks(), GpuEcc(), GpuRemappedRows(), GpuRetiredPages(),
    GpuRecoveryAction(), GpuPersistence(), PcieLinkState(), PcieErrors(), NvLinkState(),
    NvLinkErrors(), NvLinkFabric(), GpuProcesses(),
)  # fmt: skip
ALL: tuple[Check, ...] = (DriverWorks(), GpuCount(), FabricManager(), *PER_GPU)


def name(check: Check) -> str:
    return check.spec.name


each = pytest.mark.parametrize("check", ALL, ids=name)
each_per_gpu = pytest.mark.parametrize("check", PER_GPU, ids=name)


@each
def test_the_registry_has_it_once(check: Check) -> None:
    assert [type(other) for other in CHECKS].count(type(check)) == 1
    assert re.fullmatch(r"[a-z0-9-]{3,40}", check.spec.name)
    assert 0 < check.spec.deadline_s <= 120


@each
@pytest.mark.parametrize("model", [each.model for each in shipped().models])
def test_healthy_gpus_of_every_model_have_nothing_to_fail(
    check: Check, model: str, make_node: Callable[..., Node]
) -> None:
    node = make_node(model)

    findings = node.run(check) + node.run(check)

    assert {finding.outcome for finding in findings} <= {Outcome.PASS, Outcome.SKIP}


@each_per_gpu
def test_a_lost_gpu_is_told_by_gpu_count_alone_and_the_others_are_measured(
    check: Check, node: Node
) -> None:
    node.run(check)
    good = outcomes(node.run(check))
    node.inject(3, answers_lost=True)

    found = outcomes(node.run(check))

    lost = node.devices[3]
    assert found.pop(lost) is Outcome.SKIP
    assert found == {device: outcome for device, outcome in good.items() if device != lost}


@each_per_gpu
def test_a_gpu_that_cannot_be_read_is_an_error_of_that_gpu(check: Check, node: Node) -> None:
    node.inject(3, error="Unknown Error")

    findings = {finding.device: finding for finding in node.run(check)}

    assert findings[node.devices[3]].outcome is Outcome.ERROR
    assert "Unknown Error" in findings[node.devices[3]].message
    assert findings[node.devices[4]].outcome in (Outcome.PASS, Outcome.SKIP)


@each_per_gpu
def test_without_a_driver_it_is_skipped_since_driver_tells(check: Check, node: Node) -> None:
    node.inject("node", driver_missing=True)

    (finding,) = node.run(check)

    assert finding.outcome is Outcome.SKIP
    assert "driver" in finding.message


@each_per_gpu
def test_a_wedged_driver_is_an_error_of_it_and_never_a_pass(check: Check, node: Node) -> None:
    node.inject("node", driver_wedged=True)

    assert [finding.outcome for finding in node.run(check)] == [Outcome.ERROR]


class Bare(NoReadings):
    """GPUs of which nothing can be read."""

    name = "sysfs"
    fake = False

    def gpus(self) -> tuple[Gpu, ...]:
        return (Gpu(0, "0000:3b:00", "GPU-0", "NVIDIA H100 80GB HBM3"),)

    def unopened(self) -> tuple[Unopened, ...]:
        return ()

    def busy(self, gpu: Gpu) -> bool:
        return False

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        return (PciDevice("0000:3b:00", "10de:2330", "nvidia"),)

    def nvswitches(self) -> tuple[PciDevice, ...]:
        return ()

    def fabric_manager(self) -> bool | None:
        return None

    def driver(self) -> Driver:
        return Driver("580.95.05")

    def pcie_link(self, gpu: Gpu) -> PcieLink:
        return PcieLink()

    def pcie_counters(self, gpu: Gpu) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    "check", [check for check in PER_GPU if name(check) != "gpu-processes"], ids=name
)
def test_what_is_not_supported_is_a_skip_and_no_pass(check: Check, node: Node) -> None:
    (finding,) = node.run(check, Bare())

    assert finding.outcome is Outcome.SKIP
    assert "not supported" in finding.message


@each_per_gpu
def test_findings_name_the_gpu_and_its_part(check: Check, node: Node) -> None:
    gpus = {gpu.device: gpu for gpu in node.backend.gpus()}

    for finding in node.run(check):
        gpu = gpus[finding.device]
        assert finding.detail["uuid"] == gpu.uuid
        assert finding.detail["serial"] == gpu.serial
        assert finding.message.startswith(f"GPU {gpu.index}: ")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["boot", "at_s", "counts", "marks", "devices", "switches", "replays", "0000:18:00",
             "crc_flit", "aer_fatal"]
        ),
        inner | st.just(BOOT),
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@each
@given(
    before=st.dictionaries(
        st.sampled_from(
            ["seen", "most", "slow", "stuck", "waiting", "counters", "runs", "baseline"]
        ),
        _JSON,
    )
)
def test_whatever_was_kept_on_disk_a_healthy_gpu_raises_nothing(
    check: Check, before: dict[str, object]
) -> None:
    node = Node("H100", 2)
    try:
        context = Context(
            node.backend, no_tool(), before=before, boot_id=BOOT, options={"again_s": "0"}
        )
        findings = run(check, context)
        assert findings
        assert all(finding.outcome is not Outcome.ERROR for finding in findings)
    finally:
        node.close()
