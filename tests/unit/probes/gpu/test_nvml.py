"""NVML as the backend reads it: values, what is not supported, and each error."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from probes.backends.nvml import Nvml
from probes.backends.readings import (
    ClockReason,
    Clocks,
    Driver,
    Ecc,
    EccCounts,
    FabricState,
    GpuProcess,
    NvLinkPeer,
    PcieLink,
    Power,
    RecoveryAction,
    RemappedRows,
    RetiredPages,
    Temperatures,
)  # fmt: skip
from probes.backends.sysfs import Sysfs
from probes.check import Outcome
from probes.checks.driver import DriverWorks
from probes.checks.gpu_count import GpuCount
from probes.errors import (
    BackendError,
    BackendMissing,
    BackendTimeout,
    DriverMismatch,
    GpuLost,
    NoPermission,
)  # fmt: skip
from probes.registry import CHECKS
from tests.support.fake_nvml import Fails, FakeNvml
from tests.support.gpus import Node, outcomes
from tests.support.sysfs_tree import SysfsTree

A, B = "00000000:3B:00.0", "00000000:86:00.0"


def backend(root: Path, nvml: FakeNvml, **more: Any) -> Nvml:
    return Nvml(Sysfs(str(root)), nvml, **more)


def test_a_gpu_is_described_with_its_normalised_address(tmp_path: Path) -> None:
    nvml = FakeNvml(A, B)

    one, two = backend(tmp_path, nvml).gpus()

    assert (one.device, two.device) == ("0000:3b:00", "0000:86:00")
    assert one.name == "NVIDIA H100 80GB HBM3"
    assert (one.pci_id, one.memory_bytes, one.mig) == ("10de:2330", 85520809984, False)
    assert one.serial == "1654922006536"
    assert nvml.begun == 1, "it is initialised once"


def test_readings_of_a_hopper(tmp_path: Path) -> None:
    nvml = backend(tmp_path, FakeNvml(A))
    (gpu,) = nvml.gpus()

    assert nvml.temperatures(gpu) == Temperatures(34, 43, margin_c=51, slowdown_margin_c=-2)
    assert nvml.power(gpu) == Power(71.33, 700, 700)
    assert nvml.clocks(gpu) == Clocks(frozenset({ClockReason.IDLE}), 345, 1980)
    assert nvml.ecc(gpu) == Ecc(True, EccCounts(0, 0, 0, 0), EccCounts(0, 0, 0, 0), False)
    assert nvml.remapped_rows(gpu) == RemappedRows(0, 0, False, False)
    assert nvml.retired_pages(gpu) is None
    assert nvml.recovery_action(gpu) is RecoveryAction.NONE
    assert nvml.persistence(gpu) is True
    assert nvml.pcie_link(gpu) == PcieLink(5, 16, 5, 16, 5)
    assert nvml.pcie_counters(gpu) == {"replays": 0}
    assert nvml.driver() == Driver("570.124.06", "", "12.8")
    fabric = nvml.fabric(gpu)
    assert fabric is not None
    assert (fabric.state, fabric.status, fabric.problems, fabric.cluster_uuid) == (
        FabricState.COMPLETED, "", (), "",
    )  # fmt: skip
    links = nvml.nvlinks(gpu)
    assert len(links) == 18
    assert all(link.active and link.peer is NvLinkPeer.SWITCH for link in links)
    assert links[3].errors == {"replay": 0, "recovery": 0, "crc_flit": 0, "crc_data": 0}
    assert nvml.processes(gpu) == ()
    assert nvml.busy(gpu) is False


def test_all_checks_of_the_registry_pass_or_skip_on_a_healthy_hopper(
    tmp_path: Path, node: Node
) -> None:
    tree = SysfsTree(tmp_path)
    tree.gpu("0000:3b:00.0")
    tree.module("570.124.06")
    nvml = backend(tmp_path, FakeNvml(A))

    names = ("driver", "gpu-", "pcie-link", "pcie-errors", "nvlink-state", "nvlink-errors")
    left_out = ("gpu-arithmetic", "gpu-memory")  # they run programs
    for check in CHECKS:
        if check.spec.name.startswith(names) and check.spec.name not in left_out:
            node.run(check, nvml)
            findings = node.run(check, nvml)
            assert {each.outcome for each in findings} <= {Outcome.PASS, Outcome.SKIP}, findings


def test_readings_of_a_volta(tmp_path: Path) -> None:
    def counter(handle: str, kind: int, counter: int, place: int) -> object:
        if place == pynvml.NVML_MEMORY_LOCATION_SRAM:
            return Fails(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 2 if kind == pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED else 0

    limits = {
        pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN: 87,
        pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX: 83,
        pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX: 85,
    }
    nvml = FakeNvml(
        A,
        nvmlDeviceGetTemperatureThreshold=lambda handle, kind: limits[kind],
        nvmlDeviceGetMarginTemperature=Fails(pynvml.NVML_ERROR_NOT_SUPPORTED),
        nvmlDeviceGetMemoryErrorCounter=counter,
        nvmlDeviceGetTotalEccErrors=5,
        nvmlDeviceGetSramEccErrorStatus=Fails(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND),
        nvmlDeviceGetRemappedRows=Fails(pynvml.NVML_ERROR_NOT_SUPPORTED),
        nvmlDeviceGetRetiredPages=lambda handle, cause: [0x1000] * (3 if cause == 0 else 1),
        nvmlDeviceGetRetiredPagesPendingStatus=1,
    )
    nvml.fields = {}
    nvml.fabric["fails"] = Fails(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    volta = backend(tmp_path, nvml)
    (gpu,) = volta.gpus()

    assert volta.temperatures(gpu) == Temperatures(34, None, 83, 87, 85)
    assert volta.ecc(gpu).volatile == EccCounts(0, 2, 5, 3), "SRAM is the total without memory"
    assert volta.ecc(gpu).sram_threshold_exceeded is None
    assert volta.remapped_rows(gpu) is None
    assert volta.retired_pages(gpu) == RetiredPages(3, 1, True)
    assert volta.recovery_action(gpu) is None
    assert volta.fabric(gpu) is None


def test_nvlink_5_counts_in_fields(tmp_path: Path) -> None:
    nvml = FakeNvml(A, nvmlDeviceGetNvLinkErrorCounter=Fails(pynvml.NVML_ERROR_NOT_SUPPORTED))
    kind = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    nvml.fields[pynvml.NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS, 4] = (2, kind)
    nvml.fields[pynvml.NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS, 4] = (7, kind)
    blackwell = backend(tmp_path, nvml)
    (gpu,) = blackwell.gpus()

    links = blackwell.nvlinks(gpu)

    assert links[4].errors == {"recovery_failed": 2, "effective": 7}
    assert links[5].errors == {}


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_INVALID_ARGUMENT]
)
def test_links_that_the_driver_does_not_know_are_left_out(tmp_path: Path, code: int) -> None:
    nvml = FakeNvml(
        A, nvmlDeviceGetNvLinkState=lambda _, link: link % 2 if link < 12 else Fails(code)
    )
    ampere = backend(tmp_path, nvml)
    (gpu,) = ampere.gpus()

    links = ampere.nvlinks(gpu)

    assert [link.active for link in links] == [False, True] * 6
    assert links[0].errors == {}


# ---------------------------------------------------------------- errors

#: What a reading raises; None: it is "not supported".
CODES: dict[int, type[BackendError] | None] = {
    pynvml.NVML_ERROR_UNINITIALIZED: BackendError,
    pynvml.NVML_ERROR_INVALID_ARGUMENT: BackendError,
    pynvml.NVML_ERROR_NOT_SUPPORTED: None,
    pynvml.NVML_ERROR_NO_PERMISSION: NoPermission,
    pynvml.NVML_ERROR_ALREADY_INITIALIZED: BackendError,
    pynvml.NVML_ERROR_NOT_FOUND: BackendError,
    pynvml.NVML_ERROR_INSUFFICIENT_SIZE: BackendError,
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: BackendError,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: BackendMissing,
    pynvml.NVML_ERROR_TIMEOUT: BackendTimeout,
    pynvml.NVML_ERROR_IRQ_ISSUE: BackendTimeout,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: BackendMissing,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: None,
    pynvml.NVML_ERROR_CORRUPTED_INFOROM: BackendError,
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuLost,
    pynvml.NVML_ERROR_RESET_REQUIRED: GpuLost,
    pynvml.NVML_ERROR_OPERATING_SYSTEM: NoPermission,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: DriverMismatch,
    pynvml.NVML_ERROR_IN_USE: BackendError,
    pynvml.NVML_ERROR_MEMORY: BackendError,
    pynvml.NVML_ERROR_NO_DATA: BackendError,
    pynvml.NVML_ERROR_VGPU_ECC_NOT_SUPPORTED: None,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: BackendError,
    pynvml.NVML_ERROR_FREQ_NOT_SUPPORTED: BackendError,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: None,
    pynvml.NVML_ERROR_DEPRECATED: None,
    pynvml.NVML_ERROR_NOT_READY: BackendError,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: GpuLost,
    pynvml.NVML_ERROR_INVALID_STATE: BackendError,
    pynvml.NVML_ERROR_RESET_TYPE_NOT_SUPPORTED: BackendError,
    pynvml.NVML_ERROR_UNKNOWN: BackendError,
    12345: BackendError,
}


def test_the_table_has_every_error_of_the_binding() -> None:
    known = {
        value for name, value in vars(pynvml).items()
        if name.startswith("NVML_ERROR_") and isinstance(value, int)
    }  # fmt: skip
    assert known <= set(CODES)


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_error_of_a_reading_is_translated(tmp_path: Path, code: int) -> None:
    nvml = backend(tmp_path, FakeNvml(A, nvmlDeviceGetPersistenceMode=Fails(code)))
    (gpu,) = nvml.gpus()
    wanted = CODES[code]

    if wanted is None:
        assert nvml.persistence(gpu) is None
        return
    with pytest.raises(BackendError) as caught:
        nvml.persistence(gpu)
    assert type(caught.value) is wanted
    assert caught.value.code == code
    assert "0000:3b:00" in str(caught.value)
    assert f"NVML {code}" in str(caught.value)


@pytest.mark.parametrize("code", sorted(set(CODES) - {pynvml.NVML_ERROR_ALREADY_INITIALIZED}))
def test_a_library_that_does_not_start_is_never_not_supported(tmp_path: Path, code: int) -> None:
    nvml = FakeNvml(A, nvmlInit=Fails(code))
    broken = backend(tmp_path, nvml)

    with pytest.raises(BackendError):
        broken.gpus()
    with pytest.raises(BackendError):
        broken.driver()
    assert nvml.begun == 2, "it is tried again"


@pytest.mark.parametrize("code", sorted(set(CODES) - {9, 12, 18}))
def test_a_gpu_that_does_not_open_is_told_and_the_others_are_there(
    tmp_path: Path, code: int
) -> None:
    nvml = backend(tmp_path, FakeNvml(A, B, **{"index 0": Fails(code)}))

    assert [gpu.index for gpu in nvml.gpus()] == [1]
    (lost,) = nvml.unopened()
    assert lost.index == 0
    assert f"NVML {code}" in lost.reason or CODES[code] is None


def test_a_handle_that_is_not_found_any_more_is_a_lost_gpu(tmp_path: Path) -> None:
    fake = FakeNvml(A, B)
    nvml = backend(tmp_path, fake)
    gpu, _ = nvml.gpus()
    fake.buses.remove(A)

    with pytest.raises(GpuLost):
        nvml.power(gpu)


def test_missing_power_cables_are_told_as_such(tmp_path: Path) -> None:
    code = pynvml.NVML_ERROR_INSUFFICIENT_POWER
    nvml = backend(tmp_path, FakeNvml(A, nvmlDeviceGetPowerUsage=Fails(code)))

    assert nvml.power(nvml.gpus()[0]) == Power(cables=False)


def test_a_recovery_action_that_nobody_knows_is_an_error_not_none(tmp_path: Path) -> None:
    fake = FakeNvml(A)
    fake.fields[pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION] = (9, 1)
    nvml = backend(tmp_path, fake)

    with pytest.raises(BackendError, match="recovery action 9"):
        nvml.recovery_action(nvml.gpus()[0])


@pytest.mark.parametrize("value", [(1, 99), (float("nan"), 0), Fails(999)])
def test_a_field_that_is_no_number_is_an_error(tmp_path: Path, value: Any) -> None:
    fake = FakeNvml(A)
    fake.fields[pynvml.NVML_FI_DEV_MEMORY_TEMP] = value
    nvml = backend(tmp_path, fake)

    with pytest.raises(BackendError):
        nvml.temperatures(nvml.gpus()[0])


def test_a_library_of_another_version_than_the_module_is_a_mismatch(tmp_path: Path) -> None:
    SysfsTree(tmp_path).module("565.57.01")

    with pytest.raises(DriverMismatch, match=r"570\.124\.06.*565\.57\.01"):
        backend(tmp_path, FakeNvml(A)).driver()


def test_the_binding_that_is_not_installed_is_a_missing_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    with pytest.raises(BackendMissing, match="nvidia-ml-py"):
        Nvml(Sysfs(str(tmp_path))).gpus()


# ---------------------------------------------------------------- fabric


@pytest.mark.parametrize(
    ("mask", "problems"),
    [
        (0b10, ()),
        (0b01, ("degraded bandwidth",)),
        (0b0101, ("degraded bandwidth", "route recovery in progress")),
        (0b010000, ("route unhealthy",)),
        (0b01000000, ("access timeout recovery",)),
        (1 << 8, ()),
        (5 << 8, ("insufficient NVLinks",)),
        (15 << 8, ("incorrect configuration 15",)),
    ],
)
def test_the_health_mask_is_read_by_its_bits(
    tmp_path: Path, mask: int, problems: tuple[str, ...]
) -> None:
    fake = FakeNvml(A)
    fake.fabric["healthMask"] = mask
    nvml = backend(tmp_path, fake)

    fabric = nvml.fabric(nvml.gpus()[0])

    assert fabric is not None
    assert fabric.problems == problems


def test_a_status_counts_once_the_fabric_is_completed(tmp_path: Path) -> None:
    fake = FakeNvml(A)
    fake.fabric.update(status=pynvml.NVML_ERROR_TIMEOUT, state=2, uuid=bytes(15) + b"\x01")
    nvml = backend(tmp_path, fake)
    (gpu,) = nvml.gpus()
    starting = nvml.fabric(gpu)
    fake.fabric["state"] = 3
    done = nvml.fabric(gpu)

    assert starting is not None
    assert done is not None
    assert (starting.state, starting.status) == (FabricState.IN_PROGRESS, "")
    assert (done.state, done.status) == (FabricState.COMPLETED, "Timeout")
    assert done.cluster_uuid == "00" * 15 + "01"


def test_an_older_driver_is_asked_for_the_older_form(tmp_path: Path) -> None:
    fake = FakeNvml(A)
    fake.fabric["unknown"] = pynvml.c_nvmlGpuFabricInfo_v3_t
    nvml = backend(tmp_path, fake)

    assert nvml.fabric(nvml.gpus()[0]) is not None


@pytest.mark.parametrize(("state", "raises"), [(0, False), (77, True)])
def test_a_fabric_state_is_known_or_an_error(tmp_path: Path, state: int, raises: bool) -> None:
    fake = FakeNvml(A)
    fake.fabric["state"] = state
    nvml = backend(tmp_path, fake)
    (gpu,) = nvml.gpus()

    if raises:
        with pytest.raises(BackendError):
            nvml.fabric(gpu)
    else:
        assert nvml.fabric(gpu) is None


# ---------------------------------------------------------------- processes and MIG


def process(pid: int) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=1, gpuInstanceId=0xFFFFFFFF)


def test_a_process_of_others_makes_a_gpu_busy_and_one_of_ours_does_not(tmp_path: Path) -> None:
    fake = FakeNvml(A, nvmlDeviceGetComputeRunningProcesses=[process(4711)])

    theirs = backend(tmp_path, fake, ours=lambda pid: False)
    assert theirs.busy(theirs.gpus()[0])
    ours = backend(tmp_path, fake, ours=lambda pid: pid == 4711)
    assert not ours.busy(ours.gpus()[0])


@pytest.mark.parametrize(
    ("answers", "busy"),
    [
        ({"nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=3, memory=0)}, True),
        ({"nvmlDeviceGetMemoryInfo": SimpleNamespace(total=8 << 30, used=600 << 20)}, True),
        ({"nvmlDeviceGetMemoryInfo": SimpleNamespace(total=8 << 30, used=200 << 20)}, False),
        ({"nvmlDeviceGetUtilizationRates": Fails(pynvml.NVML_ERROR_NOT_SUPPORTED)}, False),
    ],
)
def test_processes_of_other_containers_are_seen_by_their_traces(
    tmp_path: Path, answers: dict[str, Any], busy: bool
) -> None:
    nvml = backend(tmp_path, FakeNvml(A, **answers))

    assert nvml.busy(nvml.gpus()[0]) is busy


def test_busy_or_not_cannot_be_told_when_the_driver_fails(tmp_path: Path) -> None:
    nvml = backend(tmp_path, FakeNvml(A, nvmlDeviceGetComputeRunningProcesses=Fails(999)))

    with pytest.raises(BackendError):
        nvml.busy(nvml.gpus()[0])


def test_processes_of_mig_instances_are_found_past_gaps(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path)
    tree.process(77, "python3 (train) x", "D", 1234)
    fake = FakeNvml(
        A,
        nvmlDeviceGetMigMode=[1, 1],
        nvmlDeviceGetUtilizationRates=Fails(pynvml.NVML_ERROR_NOT_SUPPORTED),
        nvmlDeviceGetMigDeviceHandleByIndex=lambda handle, index: (
            f"MIG {index}" if index in (1, 3) else Fails(pynvml.NVML_ERROR_NOT_FOUND)
        ),
        nvmlDeviceGetComputeRunningProcesses=lambda handle: (
            [process(77)] if handle == "MIG 3" else []
        ),
    )
    nvml = backend(tmp_path, fake)
    (gpu,) = nvml.gpus()

    assert gpu.mig
    assert nvml.processes(gpu) == (GpuProcess(77, "D", 1234, 3),)
    assert nvml.busy(gpu)
    fake.answers["nvmlDeviceGetComputeRunningProcesses"] = []
    assert not nvml.busy(gpu)


# ---------------------------------------------------------------- checks on it


def test_a_gpu_fallen_off_is_named_from_the_bus(tmp_path: Path, node: Node) -> None:
    tree = SysfsTree(tmp_path)
    tree.gpu("0000:3b:00.0")
    tree.gpu("0000:86:00.0")
    tree.gpu("0000:af:00.0", driver="vfio-pci")
    nvml = backend(tmp_path, FakeNvml(A, B, **{"index 0": Fails(pynvml.NVML_ERROR_GPU_IS_LOST)}))

    found = outcomes(node.run(GpuCount(), nvml))

    assert found["0000:3b:00"] is Outcome.FAIL
    assert found["0000:86:00"] is Outcome.PASS
    assert "0000:af:00" not in found, "it is lent to a virtual machine"


def test_a_gpu_that_needs_a_reset_fails_with_that_remedy(tmp_path: Path, node: Node) -> None:
    code = pynvml.NVML_ERROR_RESET_REQUIRED
    nvml = backend(tmp_path, FakeNvml(A, nvmlDeviceGetTemperature=Fails(code)))

    (finding, *_) = node.run(GpuCount(), nvml)

    assert (finding.outcome, finding.remedy) == (Outcome.FAIL, "reset_gpu")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, Outcome.FAIL),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, Outcome.FAIL),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, Outcome.FAIL),
        (pynvml.NVML_ERROR_TIMEOUT, Outcome.FAIL),
        (pynvml.NVML_ERROR_NO_PERMISSION, Outcome.ERROR),
        (pynvml.NVML_ERROR_UNKNOWN, Outcome.ERROR),
    ],
)
def test_a_library_that_does_not_start_on_a_gpu_node(
    tmp_path: Path, node: Node, code: int, outcome: Outcome
) -> None:
    SysfsTree(tmp_path).gpu("0000:3b:00.0")

    node.options["start_s"] = "0"

    (finding,) = node.run(DriverWorks(), backend(tmp_path, FakeNvml(A, nvmlInit=Fails(code))))

    assert finding.outcome is outcome


def test_without_the_library_this_machine_says_so() -> None:
    with pytest.raises(BackendMissing):
        Nvml(Sysfs("/nowhere")).gpus()


@pytest.mark.parametrize(
    ("mode", "vgpu"),
    [(0, False), (1, False), (2, True), (3, False), (Fails(pynvml.NVML_ERROR_UNKNOWN), False)],
)
def test_a_virtual_gpu_is_told_apart_from_one_that_is_passed_through(
    tmp_path: Path, mode: int | Fails, vgpu: bool
) -> None:
    nvml = FakeNvml(A, nvmlDeviceGetVirtualizationMode=mode)

    assert backend(tmp_path, nvml).gpus()[0].vgpu is vgpu
