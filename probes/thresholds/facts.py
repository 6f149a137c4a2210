"""Which hardware is a GPU on? What its thresholds depend on, read from the device.

Fabric classes: ``pcie`` (no NVLink in use), ``nvlink`` (GPU to GPU, bridges or a cube),
``nvswitch`` (one board), ``mnnvl`` (a fabric of several nodes). Limits of collectives depend on it,
not on the model alone (NVIDIA/aicr#1256).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from probes.backends.base import Gpu, GpuBackend
from probes.backends.readings import FabricState, NvLinkPeer
from probes.thresholds.hardware import Hardware, Model


@dataclass(frozen=True, slots=True)
class Facts:
    """What a threshold may depend on. None is not known."""

    model: Model | None
    pcie_generation: int | None
    pcie_width: int | None
    fabric: str | None
    gpus: int

    def conditions(self) -> Mapping[str, object]:
        """By the names that limits use (``hardware.CONDITIONS``)."""
        return {
            "model": self.model.model if self.model else None,
            "form": self.model.form if self.model else None,
            "pcie_generation": self.pcie_generation,
            "pcie_width": self.pcie_width,
            "fabric": self.fabric,
            "gpus": self.gpus,
        }

    def words(self) -> str:
        """For a person: "H100 SXM5 80 GB, PCIe 5 x16, nvswitch"."""
        parts = [self.model.title if self.model else "unknown GPU model"]
        if self.pcie_generation and self.pcie_width:
            parts.append(f"PCIe {self.pcie_generation} x{self.pcie_width}")
        if self.fabric:
            parts.append(self.fabric)
        return ", ".join(parts)


def facts_of(backend: GpuBackend, gpu: Gpu, hardware: Hardware) -> Facts:
    """Facts of one GPU. The link counts with the highest values that GPU and slot allow: a link
    that came up narrower is judged by what it should be. Raises BackendError."""
    link = backend.pcie_link(gpu)
    return Facts(
        model=hardware.model_of(gpu.pci_id, gpu.name),
        pcie_generation=link.max_generation,
        pcie_width=link.max_width,
        fabric=_fabric(backend, gpu),
        gpus=len(backend.gpus()),
    )


def _fabric(backend: GpuBackend, gpu: Gpu) -> str:
    fabric = backend.fabric(gpu)
    if fabric is not None and fabric.state is FabricState.COMPLETED and fabric.cluster_uuid:
        return "mnnvl"
    links = backend.nvlinks(gpu)
    if fabric is not None or any(link.peer is NvLinkPeer.SWITCH for link in links):
        return "nvswitch"
    return "nvlink" if any(link.active for link in links) else "pcie"
