"""What does a healthy GPU of a model measure? The fake backend's idea of good hardware.

Shares of the specified peak are those that healthy machines were measured at (PCIe 5: 55 of 63,
H200 NVLink: 396 of 450, all-reduce: 480 with NVLS on Hopper, 235 of 300 on A100).
"""

from __future__ import annotations

from collections.abc import Mapping

from probes.thresholds.hardware import Hardware, Model

#: Short names that people use, for the model that they mostly mean.
_SHORT: Mapping[str, str] = {
    "v100": "V100-SXM2-32GB",
    "a100": "A100-SXM-80GB",
    "h100": "H100-SXM",
    "h200": "H200-SXM",
    "gh200": "GH200-480GB",
}
_PCIE_SHARE = 0.88
_MEMORY_SHARE = 0.9
_COMPUTE_SHARE = 0.9
_NVLINK_SHARE = 0.88
_BUS_SHARES = {2: 0.87, 3: 0.78, 4: 1.05, 5: 0.93}
_LINK_GENERATIONS = {"V100": 2, "A100": 3, "A30": 3, "H": 4, "GH": 4, "B": 5, "GB": 5}
#: A bridge of NVL cards joins 12 of the 18 links (azurehpc-health-checks#162).
_BRIDGE_LINKS = 12


def model_named(hardware: Hardware, text: str) -> Model:
    """The model that a person means; a name that nobody knows is hardware that nobody knows."""
    wanted = _SHORT.get(text.strip().casefold(), text.strip())
    for model in hardware.models:
        if model.model.casefold() == wanted.casefold():
            return model
    return hardware.model_of("", wanted) or _unknown(wanted)


def active_links(model: Model, count: int) -> int:
    """How many NVLinks are in use on a node of so many GPUs."""
    if count < 2:
        return 0
    return min(model.nvlinks, _BRIDGE_LINKS) if model.form == "pcie" else model.nvlinks


def healthy(
    name: str, model: Model, hardware: Hardware, *, count: int, generation: int, width: int
) -> float | None:
    """What a good GPU measures for "check/measurement"; None for a name that is not known."""
    if name.startswith("pcie-bandwidth/"):
        one_way = hardware.pcie.get(generation, 0.0) or hardware.pcie[min(hardware.pcie)] / 4
        both = 1.8 if name.endswith("/bidirectional") else 1.0
        return one_way * width / 16 * _PCIE_SHARE * both
    links = active_links(model, count) * model.nvlink_gb_s
    without_links = hardware.pcie.get(generation, 1.0) * width / 16
    bus_share = _BUS_SHARES[_link_generation(model)]
    return {
        "hbm-bandwidth/hbm": model.memory_gb_s * _MEMORY_SHARE,
        "gpu-arithmetic/daxpy": model.memory_gb_s * _MEMORY_SHARE,
        "gpu-arithmetic/dgemm": model.fp64_tflops * _COMPUTE_SHARE,
        "gpu-arithmetic/sgemm": model.fp64_tflops * _COMPUTE_SHARE,
        "gpu-arithmetic/tensor": model.fp64_tflops * 10 * _COMPUTE_SHARE,
        "gpu-arithmetic/errors": 0.0,
        "gpu-memory/errors": 0.0,
        "p2p-bandwidth/p2p": links * _NVLINK_SHARE or without_links * 0.4,
        "nvlink-bandwidth/p2p": links * _NVLINK_SHARE,
        "nccl-node/busbw": links * bus_share or without_links * 0.25,
        "nccl-node/wrong": 0.0,
    }.get(name)


def _link_generation(model: Model) -> int:
    for prefix in sorted(_LINK_GENERATIONS, key=len, reverse=True):
        if model.model.startswith(prefix):
            return _LINK_GENERATIONS[prefix]
    return 2


def _unknown(name: str) -> Model:
    return Model(
        model="", title=name, pci_ids=("10de:ffff",), names=(name,), form="pcie", memory_gb=96,
        pcie_generation=5, pcie_width=16, nvlinks=0, nvlink_gb_s=0, nvswitches=0, memory_gb_s=2000,
        fp64_tflops=30, power_w=400, source="fake",
    )  # fmt: skip
