"""What do GPUs say that are not there? For the sandbox and for tests; it proves nothing.

GPUs of any model with seeded noise, and any fault that ``fake_state`` knows, at run time. Where a
real driver hangs, this hangs too. Reports name it ``fake``; the controller counts none of it unless
told so.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from probes.backends.base import Gpu
from probes.backends.fake_models import active_links, healthy, model_named
from probes.backends.fake_state import FakeState, rate_began
from probes.backends.readings import (
    ClockReason,
    Clocks,
    Driver,
    Ecc,
    EccCounts,
    Fabric,
    FabricState,
    GpuProcess,
    NvLink,
    NvLinkPeer,
    PciDevice,
    PcieLink,
    Power,
    RecoveryAction,
    RemappedRows,
    RetiredPages,
    Temperatures,
    Unopened,
)
from probes.errors import (
    BackendError,
    BackendMissing,
    BackendTimeout,
    CheckError,
    DriverMismatch,
    GpuLost,
    NoPermission,
)
from probes.thresholds.hardware import Hardware, shipped

VERSION = "580.95.05"
#: Bus numbers of an eight-GPU board as common servers have them; more GPUs follow.
_BUSES = (0x18, 0x2A, 0x3A, 0x5D, 0x9A, 0xAB, 0xBA, 0xDB)
_NOISE = 0.01
_NOISE_S = 10.0
_OLD = ("T4", "V100")  # page retirement instead of row remapping, limits as temperatures


class FakeBackend:
    """GPUs that are made up."""

    name = "fake"
    fake = True

    def __init__(
        self,
        model: str = "H100",
        count: int = 8,
        *,
        state: FakeState | None = None,
        seed: int = 0,
        clock: Callable[[], float] = lambda: 0.0,
        hardware: Hardware | None = None,
    ) -> None:
        """``clock`` gives Unix seconds: counters grow and noise changes with it."""
        self._hardware = hardware or shipped()
        self.model = model_named(self._hardware, model)
        self._count = count
        self._state = state or FakeState()
        self._seed = seed
        self._clock = clock

    def gpus(self) -> tuple[Gpu, ...]:
        """All that are not lost."""
        self._driver_works()
        shown = []
        for gpu in self._all():
            faults = self._faults(gpu)
            if not faults.get("lost") and not faults.get("off_bus"):
                shown.append(gpu)
        return tuple(shown)

    def unopened(self) -> tuple[Unopened, ...]:
        """The lost ones."""
        self._driver_works()
        return tuple(
            Unopened(gpu.index, "GPU is lost")
            for gpu in self._all()
            if self._faults(gpu).get("lost")
        )

    def busy(self, gpu: Gpu) -> bool:
        """As injected."""
        faults = self._read(gpu)
        return bool(faults.get("busy") or faults.get("processes"))

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        """All that are on the bus."""
        return tuple(
            PciDevice(gpu.device, gpu.pci_id, "nvidia", gpu.numa_node)
            for gpu in self._all()
            if not self._faults(gpu).get("off_bus")
        )

    def nvswitches(self) -> tuple[PciDevice, ...]:
        """Those of a board of eight."""
        whole = self.model.nvswitches if self._count >= 8 else 0
        count = self._state.of_node().get("nvswitches", whole)
        return tuple(PciDevice(f"0000:{i:02x}:00", "10de:22a3", "nvidia") for i in range(count))  # type: ignore[call-overload]

    def fabric_manager(self) -> bool | None:
        """It runs where there are switches."""
        return not self._state.of_node().get("fabric_manager_down")

    def driver(self) -> Driver:
        """A version of today."""
        self._driver_works()
        version = str(self._state.of_node().get("driver_version", VERSION))
        return Driver(version, version, "13.0")

    def temperatures(self, gpu: Gpu) -> Temperatures:
        """Cool unless injected. New GPUs tell their distance from the limit."""
        faults = self._read(gpu)
        if self._lacks(faults, "temperatures"):
            return Temperatures()
        here = _number(faults, "temperature_c", round(self._noisy(gpu, "temperature", 45.0, 0.05)))
        memory = None
        if self.model.memory_gb_s >= 900 and not self._lacks(faults, "memory_temperature"):
            memory = _number(faults, "memory_temperature_c", here + 4)
        if not self.model.model.startswith((*_OLD, "A1", "A3")):
            return Temperatures(here, memory, margin_c=87 - here, slowdown_margin_c=-2.0)
        limits = {"gpu_max_c": 85.0, "slowdown_c": 92.0}
        return Temperatures(here, memory, memory_max_c=95.0 if memory else None, **limits)

    def power(self, gpu: Gpu) -> Power:
        """A third of the limit unless injected."""
        faults = self._read(gpu)
        if self._lacks(faults, "power"):
            return Power()
        rated = self.model.power_w
        return Power(
            _number(faults, "power_w", self._noisy(gpu, "power", rated / 3, 0.05)),
            _number(faults, "power_limit_w", rated),
            rated,
            cables=not faults.get("power_cables_missing"),
        )

    def clocks(self, gpu: Gpu) -> Clocks:
        """Held down by nothing but idleness."""
        faults = self._read(gpu)
        if self._lacks(faults, "clocks"):
            return Clocks()
        usual = [] if self.busy(gpu) else [ClockReason.IDLE.value]
        reasons = frozenset(map(ClockReason, _list(faults, "clock_reasons", usual)))
        return Clocks(reasons, 345.0 if ClockReason.IDLE in reasons else 1980.0, 1980.0)

    def ecc(self, gpu: Gpu) -> Ecc:
        """On, no errors."""
        faults = self._read(gpu)
        if self._lacks(faults, "ecc"):
            return Ecc()
        if faults.get("ecc_disabled"):
            return Ecc(enabled=False)
        return Ecc(
            True,
            _ecc_counts(faults, "ecc_volatile_"),
            _ecc_counts(faults, "ecc_aggregate_"),
            bool(faults.get("sram_threshold_exceeded")),
        )

    def remapped_rows(self, gpu: Gpu) -> RemappedRows | None:
        """None remapped."""
        faults = self._read(gpu)
        if self._lacks(faults, "remapped_rows") or self.model.model.startswith(_OLD):
            return None
        return RemappedRows(
            _count(faults, "remapped_corrected"),
            _count(faults, "remapped_uncorrected"),
            bool(faults.get("remap_pending")),
            bool(faults.get("remap_failed")),
        )

    def retired_pages(self, gpu: Gpu) -> RetiredPages | None:
        """Of old GPUs."""
        faults = self._read(gpu)
        if self._lacks(faults, "retired_pages") or not self.model.model.startswith(_OLD):
            return None
        return RetiredPages(
            _count(faults, "retired_single_bit"),
            _count(faults, "retired_double_bit"),
            bool(faults.get("retired_pending")),
        )

    def recovery_action(self, gpu: Gpu) -> RecoveryAction | None:
        """None asked for."""
        faults = self._read(gpu)
        if self._lacks(faults, "recovery_action"):
            return None
        return RecoveryAction[str(faults.get("recovery_action", "none")).upper()]

    def persistence(self, gpu: Gpu) -> bool | None:
        """On."""
        faults = self._read(gpu)
        return None if self._lacks(faults, "persistence") else not faults.get("persistence_off")

    def pcie_link(self, gpu: Gpu) -> PcieLink:
        """As the model is specified."""
        faults = self._read(gpu)
        if self._lacks(faults, "pcie_link"):
            return PcieLink()
        generation, width = self.model.pcie_generation, self.model.pcie_width
        return PcieLink(
            _count(faults, "pcie_generation", generation),
            _count(faults, "pcie_width", width),
            generation,
            width,
            generation,
        )

    def pcie_counters(self, gpu: Gpu) -> Mapping[str, int]:
        """Zero, or growing at the injected rate."""
        faults = self._read(gpu)
        if self._lacks(faults, "pcie_counters"):
            return {}
        return {
            "replays": self._grown(faults, "pcie_replays_per_s"),
            "aer_correctable": self._grown(faults, "aer_correctable_per_s"),
            "aer_nonfatal": _count(faults, "aer_nonfatal"),
            "aer_fatal": _count(faults, "aer_fatal"),
        }

    def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
        """All that the model has, active if there is a second GPU."""
        faults = self._read(gpu)
        if self._lacks(faults, "nvlinks"):
            return ()
        peer = NvLinkPeer.SWITCH if self._switched() else NvLinkPeer.GPU
        down = _list(faults, "nvlinks_down", [])
        errors = {
            "crc_flit": self._grown(faults, "nvlink_crc_per_s"),
            "recovery": self._grown(faults, "nvlink_recoveries_per_s"),
            "replay": 0,
        }
        active = active_links(self.model, self._count)
        return tuple(
            NvLink(index, index < active and index not in down, peer, errors if index == 0 else {})
            for index in range(self.model.nvlinks)
        )

    def fabric(self, gpu: Gpu) -> Fabric | None:
        """Joined, where the model joins one."""
        faults = self._read(gpu)
        joins = self._switched() and self.model.nvlinks >= 18
        if not joins or self._lacks(faults, "fabric"):
            return None
        return Fabric(
            FabricState[str(faults.get("fabric_state", "completed")).upper()],
            str(faults.get("fabric_status", "")),
            tuple(map(str, _list(faults, "fabric_problems", []))),
            "1f0c6a52-0000-4000-8000-000000000001" if self.model.form == "module" else "",
        )

    def processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
        """As injected."""
        rows: list[dict[str, Any]] = _list(self._read(gpu), "processes", [])
        return tuple(
            GpuProcess(row["pid"], row.get("state", ""), row.get("started", 0), row.get("instance"))
            for row in rows
        )

    def measured(self, name: str, gpu: Gpu) -> float:
        """What a tool would measure for "check/measurement" ("pcie-bandwidth/h2d", GB/s), with the
        injected faults. Raises CheckError for a name that is not known."""
        faults = self._read(gpu)
        link = self.pcie_link(gpu)
        good = healthy(
            name, self.model, self._hardware, count=self._count,
            generation=link.generation or 0, width=link.width or 0,
        )  # fmt: skip
        if good is None:
            raise CheckError(f"the fake backend measures no {name}")
        if name.endswith(("/errors", "/wrong")):
            wrong = "memory_errors" if name.startswith("gpu-memory/") else "wrong_results"
            return float(_count(faults, wrong))
        return self._noisy(gpu, name, good, _NOISE) * _number(faults, _factor_of(name), 1.0)

    def _all(self) -> list[Gpu]:
        made = random.Random(f"{self._seed}/{self.model.title}")  # noqa: S311 - made-up names
        return [
            Gpu(
                index=index,
                device=f"0000:{_bus(index):02x}:00",
                uuid=f"GPU-{made.getrandbits(32):08x}-0000-4000-8000-{made.getrandbits(48):012x}",
                name=self.model.names[0],
                serial=f"16{made.randrange(10**11):011d}",
                pci_id=self.model.pci_ids[0],
                memory_bytes=int(self.model.memory_gb * 10**9),
                numa_node=0 if index < self._count / 2 else 1,
                mig=bool(self._state.of_gpu(index, f"0000:{_bus(index):02x}:00").get("mig")),
            )
            for index in range(self._count)
        ]

    def _switched(self) -> bool:
        """Whether its NVLinks go to switches: boards with NVSwitches, seen on the bus or not."""
        newest = self.model.nvlink_gb_s >= 50
        return (
            self._count > 1 and self.model.form != "pcie" and (self.model.nvswitches > 0 or newest)
        )

    def _faults(self, gpu: Gpu) -> Mapping[str, object]:
        return self._state.of_gpu(gpu.index, gpu.device)

    def _read(self, gpu: Gpu) -> Mapping[str, object]:
        """Faults of a GPU that answers. Raises, or hangs, as injected."""
        self._driver_works()
        faults = self._faults(gpu)
        while faults.get("hang"):
            threading.Event().wait(0.1)
            faults = self._faults(gpu)
        if any(faults.get(each) for each in ("lost", "off_bus", "answers_lost")):
            raise GpuLost(f"GPU {gpu.index} at {gpu.device}: GPU is lost")
        if faults.get("error"):
            raise BackendError(f"GPU {gpu.index} at {gpu.device}: {faults['error']}")
        return faults

    def _driver_works(self) -> None:
        faults = self._state.of_node()
        if faults.get("driver_missing"):
            raise BackendMissing("fake: the driver is not loaded")
        if faults.get("library_mismatch"):
            raise DriverMismatch("fake: driver/library version mismatch")
        if faults.get("driver_wedged"):
            raise BackendTimeout("fake: the driver does not answer")
        if faults.get("no_permission"):
            raise NoPermission("fake: insufficient permissions")
        if faults.get("backend_error"):
            raise BackendError(f"fake: {faults['backend_error']}")

    def _lacks(self, faults: Mapping[str, object], reading: str) -> bool:
        return reading in _list(faults, "unsupported", [])

    def _grown(self, faults: Mapping[str, object], rate: str) -> int:
        seconds = max(0.0, self._clock() - rate_began(faults, rate))
        return int(_number(faults, rate, 0.0) * seconds)

    def _noisy(self, gpu: Gpu, what: str, value: float, share: float) -> float:
        moment = int(self._clock() // _NOISE_S)
        noise = random.Random(f"{self._seed}/{gpu.index}/{what}/{moment}")  # noqa: S311 - noise
        return value * (1 + noise.uniform(-share, share))


def _bus(index: int) -> int:
    return _BUSES[index] if index < len(_BUSES) else 0xDC + index - len(_BUSES)


def _factor_of(name: str) -> str:
    if name.startswith("pcie-bandwidth/"):
        return "pcie_bandwidth_factor"
    if name.startswith(("hbm-bandwidth/", "gpu-arithmetic/daxpy")):
        return "hbm_bandwidth_factor"
    return "compute_factor" if name.startswith("gpu-arithmetic/") else "nvlink_bandwidth_factor"


def _ecc_counts(faults: Mapping[str, object], prefix: str) -> EccCounts:
    places = ("dram_corrected", "dram_uncorrected", "sram_corrected", "sram_uncorrected")
    return EccCounts(*(_count(faults, prefix + place) for place in places))


def _number(faults: Mapping[str, object], name: str, usual: float) -> float:
    value = faults.get(name, usual)
    return float(value) if isinstance(value, int | float) else usual


def _count(faults: Mapping[str, object], name: str, usual: int = 0) -> int:
    value = faults.get(name, usual)
    return value if isinstance(value, int) else usual


def _list(faults: Mapping[str, object], name: str, usual: list[Any]) -> list[Any]:
    value = faults.get(name, usual)
    return value if isinstance(value, list) else usual
