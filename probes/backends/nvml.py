"""What does NVIDIA's management library say of the GPUs?

Through nvidia-ml-py, which is loaded when the first question is asked: the library may be missing,
and that is a fault to report, not one to fail on at start (``probes.backends.nvml_session``).

Invariant: with MIG, processes of all instances are seen; what cannot be read of a partitioned
GPU is "not supported" there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from parsers.device import normalise
from parsers.printable import printable
from probes.backends import nvml_links
from probes.backends.base import Gpu
from probes.backends.nvml_errors import INSUFFICIENT_POWER, NOT_FOUND
from probes.backends.nvml_session import Session
from probes.backends.readings import (
    ClockReason,
    Clocks,
    Driver,
    Ecc,
    EccCounts,
    Fabric,
    GpuProcess,
    NvLink,
    PciDevice,
    PcieLink,
    Power,
    RecoveryAction,
    RemappedRows,
    RetiredPages,
    Temperatures,
    Unopened,
)
from probes.backends.sysfs import Sysfs
from probes.errors import BackendError, BackendMissing, DriverMismatch

#: Used memory beyond this is somebody's, whether its process is to be seen or not (a CUDA context
#: takes 300 MiB and more; a container does not see other containers' processes).
_IDLE_BYTES = 256 * 1024 * 1024
#: Bits of the clocks event reasons (nvml.h).
_REASONS = {
    0x001: ClockReason.IDLE,
    0x002: ClockReason.APPLICATION_SETTING,
    0x004: ClockReason.SW_POWER_CAP,
    0x008: ClockReason.HW_SLOWDOWN,
    0x010: ClockReason.SYNC_BOOST,
    0x020: ClockReason.SW_THERMAL,
    0x040: ClockReason.HW_THERMAL,
    0x080: ClockReason.HW_POWER_BRAKE,
    0x100: ClockReason.DISPLAY,
}
_SM_CLOCK = 1
#: nvmlGpuVirtualizationMode_t: a virtual GPU, in its guest.
_VGPU = 2


def same_process_group(pid: int) -> bool:
    """Whether a process belongs to the check that asks: its tools run in its process group."""
    try:
        return os.getpgid(pid) == os.getpgrp()
    except (ProcessLookupError, PermissionError):
        return False


class Nvml:
    """The NVIDIA driver of this node."""

    name = "nvml"
    fake = False

    def __init__(
        self,
        sysfs: Sysfs,
        module: Any = None,
        ours: Callable[[int], bool] = same_process_group,
    ) -> None:
        """``module`` stands for ``pynvml``; processes that are ``ours`` make no GPU busy."""
        self._sysfs = sysfs
        self._session = Session(module)
        self._ours = ours

    def gpus(self) -> tuple[Gpu, ...]:
        """All that the driver opens."""
        return tuple(each for each in self._each_gpu() if isinstance(each, Gpu))

    def unopened(self) -> tuple[Unopened, ...]:
        """Counted, and not opened."""
        return tuple(each for each in self._each_gpu() if isinstance(each, Unopened))

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        """From the kernel."""
        return self._sysfs.pci_gpus()

    def nvswitches(self) -> tuple[PciDevice, ...]:
        """From the kernel."""
        return self._sysfs.nvswitches()

    def fabric_manager(self) -> bool | None:
        """From the kernel."""
        return self._sysfs.fabric_manager()

    def driver(self) -> Driver:
        """Versions of library and module, compared."""
        session = self._session
        version = session.ask("driver version", session.nvml.nvmlSystemGetDriverVersion) or ""
        cuda = session.ask("CUDA version", session.nvml.nvmlSystemGetCudaDriverVersion) or 0
        module = self._sysfs.module_version()
        if version and module and version != module:
            raise DriverMismatch(f"library {version}, kernel module {module}: reload or reboot")
        return Driver(printable(version, 32), module, f"{cuda // 1000}.{cuda % 1000 // 10}")

    def busy(self, gpu: Gpu) -> bool:
        """Processes; where none are seen, signs of them: GPU time, or memory in use."""
        processes = self.processes(gpu)
        if processes or gpu.mig:
            return any(not self._ours(process.pid) for process in processes)
        rates = self._session.of(gpu.device, "nvmlDeviceGetUtilizationRates")
        if rates is not None and rates.gpu > 0:
            return True
        version = self._session.nvml.nvmlMemory_v2
        memory = self._session.of(gpu.device, "nvmlDeviceGetMemoryInfo", version)
        return memory is not None and memory.used > _IDLE_BYTES

    def temperatures(self, gpu: Gpu) -> Temperatures:
        """Sensors and limits; from Ada on as distances (field TEMPERATURE_SLOWDOWN_TLIMIT)."""
        nvml, ask, device = self._session.nvml, self._session.of, gpu.device
        limit = "nvmlDeviceGetTemperatureThreshold"
        field = self._session.field
        return Temperatures(
            gpu_c=ask(device, "nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            memory_c=_above_zero(field(device, nvml.NVML_FI_DEV_MEMORY_TEMP)),
            gpu_max_c=_above_zero(ask(device, limit, nvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX)),
            slowdown_c=_above_zero(ask(device, limit, nvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)),
            memory_max_c=_above_zero(ask(device, limit, nvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX)),
            margin_c=ask(device, "nvmlDeviceGetMarginTemperature"),
            slowdown_margin_c=field(device, nvml.NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT),
        )

    def power(self, gpu: Gpu) -> Power:
        """NVML tells milliwatts."""
        ask, device = self._session.of, gpu.device
        try:
            draw = ask(device, "nvmlDeviceGetPowerUsage")
        except BackendError as error:
            if error.code != INSUFFICIENT_POWER:
                raise
            return Power(cables=False)
        return Power(
            _thousandth(draw),
            _thousandth(ask(device, "nvmlDeviceGetEnforcedPowerLimit")),
            _thousandth(ask(device, "nvmlDeviceGetPowerManagementDefaultLimit")),
        )

    def clocks(self, gpu: Gpu) -> Clocks:
        """Clocks event reasons; bits that nobody knows are left out."""
        ask, device = self._session.of, gpu.device
        bits = ask(device, "nvmlDeviceGetCurrentClocksEventReasons")
        reasons = None
        if bits is not None:
            reasons = frozenset(reason for bit, reason in _REASONS.items() if bits & bit)
        return Clocks(
            reasons,
            ask(device, "nvmlDeviceGetClockInfo", _SM_CLOCK),
            ask(device, "nvmlDeviceGetMaxClockInfo", _SM_CLOCK),
        )

    def ecc(self, gpu: Gpu) -> Ecc:
        """Mode and counts. Where SRAM is not counted by itself (before Ampere) it is the total
        without the memory."""
        nvml, ask, device = self._session.nvml, self._session.of, gpu.device
        mode = ask(device, "nvmlDeviceGetEccMode")
        if mode is None:
            return Ecc()
        if not mode[0]:
            return Ecc(enabled=False)
        status = nvml.c_nvmlEccSramErrorStatus_v1_t()
        told = ask(device, "nvmlDeviceGetSramEccErrorStatus", status)
        return Ecc(
            True,
            self._ecc_counts(device, nvml.NVML_VOLATILE_ECC),
            self._ecc_counts(device, nvml.NVML_AGGREGATE_ECC),
            None if told is None else bool(status.bThresholdExceeded),
        )

    def remapped_rows(self, gpu: Gpu) -> RemappedRows | None:
        """Counts, and what is pending or failed."""
        rows = self._session.of(gpu.device, "nvmlDeviceGetRemappedRows")
        if rows is None:
            return None
        return RemappedRows(rows[0], rows[1], bool(rows[2]), bool(rows[3]))

    def retired_pages(self, gpu: Gpu) -> RetiredPages | None:
        """By cause."""
        nvml, ask, device = self._session.nvml, self._session.of, gpu.device
        single, double = (
            ask(device, "nvmlDeviceGetRetiredPages", cause)
            for cause in (
                nvml.NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS,
                nvml.NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR,
            )
        )
        pending = ask(device, "nvmlDeviceGetRetiredPagesPendingStatus")
        if single is None or double is None:
            return None
        return RetiredPages(len(single), len(double), bool(pending))

    def recovery_action(self, gpu: Gpu) -> RecoveryAction | None:
        """Field GET_GPU_RECOVERY_ACTION."""
        field = self._session.nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
        value = self._session.field(gpu.device, field)
        if value is None:
            return None
        try:
            return RecoveryAction(int(value))
        except ValueError:
            raise BackendError(f"{gpu.device}: recovery action {value:g} is not known") from None

    def persistence(self, gpu: Gpu) -> bool | None:
        """Persistence mode, of the daemon or of the driver."""
        mode = self._session.of(gpu.device, "nvmlDeviceGetPersistenceMode")
        return None if mode is None else bool(mode)

    def pcie_link(self, gpu: Gpu) -> PcieLink:
        """NVML's own highest values already are the lower ones of GPU and slot."""
        ask, device = self._session.of, gpu.device
        return PcieLink(
            ask(device, "nvmlDeviceGetCurrPcieLinkGeneration"),
            ask(device, "nvmlDeviceGetCurrPcieLinkWidth"),
            ask(device, "nvmlDeviceGetMaxPcieLinkGeneration"),
            ask(device, "nvmlDeviceGetMaxPcieLinkWidth"),
            ask(device, "nvmlDeviceGetGpuMaxPcieLinkGeneration"),
        )

    def pcie_counters(self, gpu: Gpu) -> Mapping[str, int]:
        """Replays from the driver, the rest from the kernel."""
        counters = self._sysfs.pcie_counters(gpu)
        replays = self._session.of(gpu.device, "nvmlDeviceGetPcieReplayCounter")
        return counters if replays is None else {"replays": replays, **counters}

    def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
        """All of them, with counters of those that are active."""
        return nvml_links.nvlinks(self._session, gpu.device)

    def fabric(self, gpu: Gpu) -> Fabric | None:
        """State, status and health mask."""
        return nvml_links.fabric(self._session, gpu.device)

    def processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
        """Compute and graphics, of the GPU and of its MIG instances."""
        nvml = self._session.nvml
        found: dict[int, GpuProcess] = {}
        for instance, handle in self._with_instances(gpu):
            for ask in (
                nvml.nvmlDeviceGetComputeRunningProcesses,
                nvml.nvmlDeviceGetGraphicsRunningProcesses,
            ):
                for each in self._session.ask(f"GPU {gpu.device}: processes", ask, handle) or ():
                    seen = self._sysfs.process(each.pid)
                    state, started = (seen.state, seen.started) if seen else ("", 0)
                    found[each.pid] = GpuProcess(each.pid, state, started, instance)
        return tuple(found[pid] for pid in sorted(found))

    def _each_gpu(self) -> Iterator[Gpu | Unopened]:
        session = self._session
        count = session.ask("number of GPUs", session.nvml.nvmlDeviceGetCount)
        if count is None:
            raise BackendError("the driver does not tell how many GPUs there are")
        for index in range(count):
            try:
                yield self._described(index)
            except BackendMissing:
                raise
            except BackendError as error:
                yield Unopened(index, printable(str(error), 160))

    def _described(self, index: int) -> Gpu:
        session, nvml, what = self._session, self._session.nvml, f"GPU {index}"
        handle = session.ask(what, nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            raise BackendError(f"{what}: the driver does not support it")
        pci = session.ask(what, nvml.nvmlDeviceGetPciInfo, handle)
        address = normalise(_text(pci.busId)) if pci is not None else None
        if pci is None or address is None:
            raise BackendError(f"{what}: it has no PCI address")
        memory = session.ask(what, nvml.nvmlDeviceGetMemoryInfo, handle)
        mig = session.ask(what, nvml.nvmlDeviceGetMigMode, handle)
        return Gpu(
            index=index,
            device=address.device,
            uuid=_text(session.ask(what, nvml.nvmlDeviceGetUUID, handle)),
            name=_text(session.ask(what, nvml.nvmlDeviceGetName, handle)),
            serial=_text(session.ask(what, nvml.nvmlDeviceGetSerial, handle)),
            pci_id=f"10de:{pci.pciDeviceId >> 16:04x}",
            memory_bytes=memory.total if memory is not None else 0,
            numa_node=self._sysfs.numa_node(address.device),
            mig=bool(mig and mig[0]),
            vgpu=self._is_virtual(what, handle),
        )

    def _is_virtual(self, what: str, handle: Any) -> bool:
        """A GPU is there, whatever comes of this question."""
        session = self._session
        try:
            mode = session.ask(what, session.nvml.nvmlDeviceGetVirtualizationMode, handle)
        except BackendMissing:
            raise
        except BackendError:
            return False
        return mode == _VGPU

    def _with_instances(self, gpu: Gpu) -> Iterator[tuple[int | None, Any]]:
        """The GPU itself, then its MIG instances; their indexes may have gaps."""
        ask, device = self._session.of, gpu.device
        yield None, self._session.handle(device)
        most = ask(device, "nvmlDeviceGetMaxMigDeviceCount") if gpu.mig else None
        for index in range(most or 0):
            try:
                instance = ask(device, "nvmlDeviceGetMigDeviceHandleByIndex", index)
            except BackendError as error:
                if error.code != NOT_FOUND:
                    raise
                continue
            if instance is not None:
                yield index, instance

    def _ecc_counts(self, device: str, counter: int) -> EccCounts:
        nvml = self._session.nvml
        corrected = self._ecc_of(device, counter, nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)
        uncorrected = self._ecc_of(device, counter, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
        return EccCounts(corrected[0], uncorrected[0], corrected[1], uncorrected[1])

    def _ecc_of(self, device: str, counter: int, kind: int) -> tuple[int | None, int | None]:
        """Errors of a kind in DRAM and in SRAM."""
        nvml, ask = self._session.nvml, self._session.of
        count = "nvmlDeviceGetMemoryErrorCounter"
        dram = ask(device, count, kind, counter, nvml.NVML_MEMORY_LOCATION_DRAM)
        sram = ask(device, count, kind, counter, nvml.NVML_MEMORY_LOCATION_SRAM)
        if sram is None and dram is not None:
            total = ask(device, "nvmlDeviceGetTotalEccErrors", kind, counter)
            sram = None if total is None else max(0, total - dram)
        return dram, sram


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000


def _above_zero(value: float | None) -> float | None:
    """Sensors and limits that a GPU does not have are told as 0 by some drivers."""
    return value or None


def _text(value: Any) -> str:
    """NVML's texts, as bytes or as text, by version of the binding."""
    if value is None:
        return ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return printable(text, 96)
