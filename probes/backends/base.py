"""What is a GPU to the checks, and what can a backend be asked?

There is no silent fall-back from one backend to another: each report names the one it is from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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


class GpuBackend(Protocol):
    """Where facts about GPUs come from. There is no silent fall-back from one to another."""

    @property
    def name(self) -> str:
        """ "nvml", "sysfs" or "fake"; in each report."""
        ...

    @property
    def fake(self) -> bool:
        """What it says proves nothing."""
        ...

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs, in the driver's order. Raises BackendMissing, BackendError."""
        ...

    def busy(self, gpu: Gpu) -> bool:
        """Whether a process that is not ours uses it. Raises BackendError."""
        ...
