"""Which faults of fake GPUs does the story of the probes show, where, and what comes of each?

An act is what is wrong with a node at one time: each fault on a GPU of its own, so that each has a
record of its own. Kinds of faults are those of docs/reference/gpu-backends.md. Words are those that
the evidence has to have: value, threshold and source where there is a number.

Invariant: every kind that accuses is shown; a test compares with what the fake backend knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.model import Severity
from konduktor_health.sandbox.agents import NODE, Cadences

#: Addresses of a board of eight fake GPUs.
GPUS = tuple(f"0000:{bus}:00" for bus in ("18", "2a", "3a", "5d", "9a", "ab", "ba", "db"))
#: The story waits for states that last minutes on a real node; here they count at once.
OPTIONS = (
    "--option=driver.start_s=0",
    "--option=nvlink-fabric.join_s=0",
    "--option=fabric-manager.start_s=0",
    "--option=gpu-processes.stuck_s=0",
)
ROUNDS = 3  # passes in a row that the policy of the story asks for


@dataclass(frozen=True, slots=True)
class Scene:
    """One fault, and the record that it becomes."""

    gpu: str  # its address, or NODE
    faults: Mapping[str, Any]  # as the fake backend takes them
    check: str  # that finds it
    severity: Severity
    words: tuple[str, ...]  # of the evidence
    on_node: bool = False  # the record is the node's, not the GPU's

    @property
    def key(self) -> tuple[str, str]:
        """Device and fault id of the record."""
        device = "" if self.on_node or self.gpu == NODE else self.gpu
        return (device, f"probe/{self.check}")


@dataclass(frozen=True, slots=True)
class Act:
    """What is wrong with a node at one time."""

    title: str
    scenes: tuple[Scene, ...]

    @property
    def is_fatal(self) -> bool:
        """Whether the node gets NoSchedule; else PreferNoSchedule."""
        return any(each.severity is Severity.FATAL for each in self.scenes)


@dataclass(frozen=True, slots=True)
class Part:
    """What happens on one node."""

    node: str
    acts: tuple[Act, ...] = ()
    cadences: Cadences = field(default_factory=Cadences)
    fake: Mapping[str, str] = field(default_factory=dict)  # variables of the fake backend


def _degraded(gpu: int, check: str, faults: Mapping[str, Any], *words: str) -> Scene:
    return Scene(GPUS[gpu], faults, check, Severity.DEGRADED, words)


def _fatal(gpu: int, check: str, faults: Mapping[str, Any], *words: str) -> Scene:
    return Scene(GPUS[gpu], faults, check, Severity.FATAL, words)


def _of_node(check: str, severity: Severity, faults: Mapping[str, Any], *words: str) -> Scene:
    return Scene(NODE, faults, check, severity, words)


_PAGES = "pages 62 count, wanted <= 61 count (AzNHC"
_DRIVER_GONE = "8 NVIDIA GPUs on the PCI bus, and no driver"

WORN = Act(
    "GPUs that are hot, slow, narrow, or that make errors",
    (
        _degraded(
            0, "gpu-temperature", {"temperature_c": 99},
            "gpu 99 °C", "wanted <= 88 °C (slow-down of the device)",
        ),
        _degraded(
            1, "gpu-temperature", {"memory_temperature_c": 110},
            "memory 110 °C", "wanted <= 105 °C (JEDEC JESD238",
        ),
        _degraded(2, "gpu-clocks", {"clock_reasons": ["hw_slowdown"]}, "hardware slow-down lasts"),
        _degraded(
            3, "pcie-link", {"pcie_width": 8},
            "x8 of 5 x16", "width 8 lanes, wanted >= 16 lanes (highest of GPU and slot)",
        ),
        _degraded(4, "nvlink-state", {"nvlinks_down": [3, 7]}, "down: 3, 7", "wanted >= 18"),
        _degraded(5, "gpu-remapped-rows", {"remap_pending": True}, "pending 1, wanted = 0"),
        _degraded(
            6, "gpu-ecc", {"ecc_volatile_dram_uncorrected": 2},
            "dram_uncorrected 2 count, wanted <= 0 count (GCM)",
        ),
        _degraded(
            7, "pcie-errors", {"pcie_replays_per_s": 5},
            "replays a minute, 3 runs in a row", "wanted <= 8 1/min (DCGM hardware limits)",
        ),
        _degraded(7, "gpu-power", {"power_w": 900}, "draw 900 W, wanted <= 770 W"),
    ),
)  # fmt: skip
LOST = Act(
    "GPUs that are lost, or that cannot be trusted any more",
    (
        _fatal(0, "gpu-count", {"lost": True}, "the driver does not open it"),
        _fatal(1, "gpu-count", {"off_bus": True}, "gone from the PCI bus since this boot"),
        _fatal(2, "gpu-count", {"answers_lost": True}, "GPU is lost"),
        _fatal(3, "gpu-remapped-rows", {"remap_failed": True}, "failed 1, wanted = 0"),
        _fatal(
            4, "gpu-ecc", {"ecc_volatile_sram_uncorrected": 1},
            "sram_uncorrected 1 count, wanted <= 0 count (AzNHC)",
        ),
        _fatal(
            5, "gpu-ecc", {"sram_threshold_exceeded": True},
            "sram_threshold_exceeded 1, wanted = 0 (the driver's own word)",
        ),
        _fatal(
            5, "gpu-recovery-action", {"recovery_action": "gpu_reset"},
            "recovery_action 1, wanted = 0",
        ),
        _fatal(6, "gpu-power", {"power_cables_missing": True}, "power cables are missing"),
        _fatal(7, "pcie-errors", {"aer_fatal": 1}, "fatal 1 count, wanted <= 0 count (PCIe AER)"),
    ),
)  # fmt: skip
FABRIC = Act(
    "GPUs outside their fabric, and a link that is slow while the GPU works",
    (
        _of_node(
            "fabric-manager", Severity.DEGRADED, {"fabric_manager_down": True},
            "nv-fabricmanager does not run",
        ),
        _fatal(0, "nvlink-fabric", {"fabric_state": "in_progress"}, "state 2, wanted = 3 (NVML)"),
        _fatal(1, "nvlink-fabric", {"fabric_status": "error 5"}, "fabric: error 5"),
        _degraded(
            2, "nvlink-fabric", {"fabric_problems": ["degraded bandwidth"]},
            "fabric: degraded bandwidth",
        ),
        _degraded(
            4, "pcie-link", {"busy": True, "pcie_generation": 1},
            "though the GPU is busy", "generation 1, wanted >= 5",
        ),
    ),
)  # fmt: skip
SLOW = Act(
    "GPUs that are slower than they should be, or that compute wrong",
    (
        _degraded(
            0, "pcie-bandwidth", {"pcie_bandwidth_factor": 0.4},
            "GB/s, below 48: H100 SXM5 80 GB, PCIe 5 x16",
        ),
        _degraded(1, "hbm-bandwidth", {"hbm_bandwidth_factor": 0.3}, "below 1905: H100 SXM5"),
        _fatal(2, "gpu-arithmetic", {"wrong_results": 3}, "errors 3 count, wanted <= 0"),
        _fatal(3, "gpu-memory", {"memory_errors": 1}, "bit 8", "errors 1 count, wanted <= 0"),
        _degraded(
            4, "gpu-arithmetic", {"compute_factor": 0.4},
            "TFLOPS, below", "baseline of this node",
        ),
        _degraded(5, "p2p-bandwidth", {"nvlink_bandwidth_factor": 0.5}, "below 335: H100 SXM5"),
        _degraded(
            7, "nvlink-errors", {"nvlink_crc_per_s": 500},
            "CRC errors a second", "wanted <= 100 1/s (DCGM hardware limits)",
        ),
        _of_node(
            "fabric-manager", Severity.FATAL, {"nvswitches": 3},
            "3 of 4 NVSwitches", "wanted >= 4",
        ),
    ),
)  # fmt: skip
OLD = Act(
    "GPUs of a generation that retires pages, and a process that does not let go",
    (
        _fatal(0, "gpu-retired-pages", {"retired_double_bit": 62}, _PAGES),
        _fatal(1, "gpu-retired-pages", {"retired_single_bit": 62}, _PAGES),
        _degraded(2, "gpu-retired-pages", {"retired_pending": True}, "pending 1, wanted = 0"),
        _degraded(
            3, "gpu-processes", {"processes": [{"pid": 4242, "state": "Z", "started": 1}]},
            "process 4242 is a zombie", "wanted <= 0 s (GCM)",
        ),
    ),
)  # fmt: skip
NO_DRIVER = Act(
    "no driver",
    (_of_node("driver", Severity.FATAL, {"driver_missing": True}, _DRIVER_GONE),),
)
WEDGED = Act(
    "a driver that does not answer",
    (_of_node("driver", Severity.FATAL, {"driver_wedged": True}, "the driver is wedged"),),
)
MISMATCH = Act(
    "a driver library of another version than the kernel module",
    (_of_node("driver", Severity.FATAL, {"library_mismatch": True}, "version mismatch"),),
)

#: What measures slowly runs on one node only: each run costs a process.
PARTS = (
    Part("gpu-node-1", (WORN, NO_DRIVER)),
    Part("gpu-node-2", (LOST, FABRIC)),
    Part("gpu-node-3", (SLOW, MISMATCH), Cadences(hourly=5.0, invasive=5.0)),
    Part("gpu-node-4", (OLD, WEDGED), fake={"KONDUKTOR_GPU_TYPE": "V100"}),
)
#: The node on which a GPU hangs.
HANGING = Part("gpu-node-5")
