"""What is a GPU to the checks, and what can a backend be asked?

There is no silent fall-back from one backend to another: each report names the one it is from.

Invariants, for every method:
- A value that the hardware does not have is None ("not supported", see ``readings``). What could
  not be read raises: GpuLost for this GPU, BackendMissing when there is no driver that works,
  BackendError for the rest.
- A call may hang with the driver. Checks run in a process that can be killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from probes.backends.readings import (
    Clocks,
    Driver,
    Ecc,
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


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as a backend knows it."""

    index: int  # the driver's; changes when one is lost
    device: str  # "0000:3b:00": domain:bus:device, lower case, no function
    uuid: str
    name: str  # "NVIDIA H100 80GB HBM3"
    serial: str = ""
    pci_id: str = ""  # "10de:2330", lower case; "" where not known
    memory_bytes: int = 0
    numa_node: int | None = None
    mig: bool = False
    vgpu: bool = False  # a share of a GPU in a virtual machine: others have the rest


class GpuBackend(Protocol):
    """Where facts about GPUs come from."""

    @property
    def name(self) -> str:
        """ "nvml", "sysfs" or "fake"; in each report."""
        ...

    @property
    def fake(self) -> bool:
        """What it says proves nothing."""
        ...

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs that the driver opens, in its order. Raises BackendMissing, BackendError."""
        ...

    def unopened(self) -> tuple[Unopened, ...]:
        """GPUs that the driver counts and does not open (lost ones)."""
        ...

    def busy(self, gpu: Gpu) -> bool:
        """Whether a process that is not ours uses it. Raises BackendError."""
        ...

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA GPUs on the PCI bus, with or without a driver. Never asks the driver."""
        ...

    def nvswitches(self) -> tuple[PciDevice, ...]:
        """NVSwitches on the PCI bus. Newer ones (NVLink 5) are not to be seen there."""
        ...

    def fabric_manager(self) -> bool | None:
        """Whether its process runs; None: the node's processes cannot be seen."""
        ...

    def driver(self) -> Driver:
        """Versions. Raises BackendMissing, and DriverMismatch when library and module differ."""
        ...

    def temperatures(self, gpu: Gpu) -> Temperatures:
        """Temperatures and their limits."""
        ...

    def power(self, gpu: Gpu) -> Power:
        """Power draw and its limits."""
        ...

    def clocks(self, gpu: Gpu) -> Clocks:
        """Clocks and what holds them down."""
        ...

    def ecc(self, gpu: Gpu) -> Ecc:
        """ECC mode and counts."""
        ...

    def remapped_rows(self, gpu: Gpu) -> RemappedRows | None:
        """Row remapping; None before Ampere."""
        ...

    def retired_pages(self, gpu: Gpu) -> RetiredPages | None:
        """Page retirement; None from Ampere on."""
        ...

    def recovery_action(self, gpu: Gpu) -> RecoveryAction | None:
        """What the driver asks for; None with drivers before R565."""
        ...

    def persistence(self, gpu: Gpu) -> bool | None:
        """Whether the driver stays loaded without users."""
        ...

    def pcie_link(self, gpu: Gpu) -> PcieLink:
        """Generation and width of the link now, and at most."""
        ...

    def pcie_counters(self, gpu: Gpu) -> Mapping[str, int]:
        """Errors of the link by kind: "replays", "aer_correctable", "aer_nonfatal", "aer_fatal".
        Kinds that are not counted are not in it."""
        ...

    def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
        """All NVLinks that the GPU has; empty where it has none."""
        ...

    def fabric(self, gpu: Gpu) -> Fabric | None:
        """Its place in the NVLink fabric; None where it joins none."""
        ...

    def processes(self, gpu: Gpu) -> tuple[GpuProcess, ...]:
        """Processes that use it, ours too, of all MIG instances."""
        ...
