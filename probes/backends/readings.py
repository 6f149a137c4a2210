"""What can be read of a GPU? One small value for each question that a check asks.

Invariants:
- ``None`` means that this hardware, driver or backend does not have the value ("not supported").
  It is never a number that could not be read: that raises.
- Numbers are in the unit that the name says; counters only grow until the driver is loaded anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

#: Kernel modules that hold a GPU for a virtual machine; the last is that of Grace superchips
#: (drivers/vfio/pci/nvgrace-gpu of Linux).
_LENT = frozenset({"vfio-pci", "pci-stub", "nvgrace-gpu-vfio-pci"})


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device on the PCI bus, as the kernel sees it, whether its driver works or not."""

    device: str  # "0000:3b:00"
    pci_id: str  # "10de:2330", lower case
    driver: str = ""  # kernel module that holds it: "nvidia", "vfio-pci"; "" is none
    numa_node: int | None = None

    @property
    def lent(self) -> bool:
        """Whether it is given to a virtual machine: then it is not this node's."""
        return self.driver in _LENT

    @property
    def foreign(self) -> bool:
        """Whether another driver than NVIDIA's holds it: a virtual machine's, ``nouveau``."""
        return self.driver not in ("", "nvidia", "nvgpu")


@dataclass(frozen=True, slots=True)
class Driver:
    """Which driver is loaded, in the library and in the kernel."""

    version: str  # of the library, "580.95.05"
    module_version: str = ""  # of the kernel module; "" where it cannot be read
    cuda: str = ""  # newest CUDA version that it supports, "13.0"


@dataclass(frozen=True, slots=True)
class Unopened:
    """A GPU that the driver counts and does not open."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Temperatures:
    """Degrees Celsius. Up to Ampere the limits are temperatures. From Ada on they are distances:
    ``margin_c`` is how far the GPU is from its limit, and it slows down at ``slowdown_margin_c``
    (zero or below)."""

    gpu_c: float | None = None
    memory_c: float | None = None
    gpu_max_c: float | None = None  # highest for steady operation
    slowdown_c: float | None = None  # the hardware halves its clocks here
    memory_max_c: float | None = None
    margin_c: float | None = None
    slowdown_margin_c: float | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """Watts."""

    draw_w: float | None = None
    limit_w: float | None = None  # enforced now
    default_limit_w: float | None = None  # as shipped
    cables: bool = True  # False: the driver says that external power is missing


class ClockReason(Enum):
    """Why the clocks are not at their highest (NVML, "clocks event reasons")."""

    IDLE = "idle"
    APPLICATION_SETTING = "application_setting"
    SW_POWER_CAP = "sw_power_cap"
    HW_SLOWDOWN = "hw_slowdown"
    SYNC_BOOST = "sync_boost"
    SW_THERMAL = "sw_thermal"
    HW_THERMAL = "hw_thermal"
    HW_POWER_BRAKE = "hw_power_brake"
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks in MHz, and what holds them down."""

    reasons: frozenset[ClockReason] | None = None
    sm_mhz: float | None = None
    sm_max_mhz: float | None = None


@dataclass(frozen=True, slots=True)
class EccCounts:
    """Errors that ECC has met, by place. Corrected ones did no harm."""

    dram_corrected: int | None = None
    dram_uncorrected: int | None = None
    sram_corrected: int | None = None
    sram_uncorrected: int | None = None


@dataclass(frozen=True, slots=True)
class Ecc:
    """ECC: volatile counts since the driver was loaded, aggregate ones of the GPU's whole life."""

    enabled: bool | None = None
    volatile: EccCounts = field(default_factory=EccCounts)
    aggregate: EccCounts = field(default_factory=EccCounts)
    sram_threshold_exceeded: bool | None = None  # the driver's own word: replace the GPU


@dataclass(frozen=True, slots=True)
class RemappedRows:
    """Rows of the memory that spare rows stand for (Ampere and later)."""

    corrected: int
    uncorrected: int
    pending: bool  # takes effect with the next reset
    failed: bool  # a row could not be remapped


@dataclass(frozen=True, slots=True)
class RetiredPages:
    """Pages of memory that are no longer used (before Ampere)."""

    single_bit: int
    double_bit: int
    pending: bool


class RecoveryAction(Enum):
    """What the driver asks for (NVML recovery action; Xid 154 tells of a change). Numbers: NVML."""

    NONE = 0
    GPU_RESET = 1
    NODE_REBOOT = 2
    DRAIN_P2P = 3
    DRAIN_AND_RESET = 4
    RECOVER_IMEX_DOMAIN = 5
    BUS_RESET = 6
    SYSTEM_REBOOT = 7


@dataclass(frozen=True, slots=True)
class PcieLink:
    """The link of a GPU. The highest values are the lower ones of GPU and slot."""

    generation: int | None = None
    width: int | None = None
    max_generation: int | None = None
    max_width: int | None = None
    gpu_max_generation: int | None = None  # of the GPU alone


class NvLinkPeer(Enum):
    """What is at the other end of an NVLink."""

    GPU = "gpu"
    SWITCH = "switch"
    CPU = "cpu"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NvLink:
    """One NVLink of a GPU."""

    index: int
    active: bool
    peer: NvLinkPeer = NvLinkPeer.UNKNOWN
    errors: Mapping[str, int] = field(default_factory=dict)  # counter to count; see nvlink-errors


class FabricState(Enum):
    """How far the GPU is in joining its NVLink fabric. Numbers: NVML."""

    NOT_STARTED = 1
    IN_PROGRESS = 2
    COMPLETED = 3


@dataclass(frozen=True, slots=True)
class Fabric:
    """The GPU's place in the NVLink fabric (Hopper and later, behind NVSwitches)."""

    state: FabricState
    status: str = ""  # why it did not complete; "" is no error
    problems: tuple[str, ...] = ()  # of the health mask: "degraded bandwidth" ...
    cluster_uuid: str = ""  # "" where all zero: no multi-node fabric


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that uses a GPU."""

    pid: int
    state: str = ""  # of /proc/PID/stat: "R", "S", "D", "Z"; "" where it cannot be seen
    started: int = 0  # clock ticks after boot: with the pid, an identity
    instance: int | None = None  # MIG instance
