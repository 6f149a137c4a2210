"""What is a check, and what can come of it? The vocabulary of the node part.

A check asks one question of the node ("does each GPU have its PCIe width?"). It yields findings,
one for each device that it looked at, or one for the whole node. Who runs it, in which process, and
for how long, is not its business (``probes.runner``).

Invariants:
- Six outcomes, never confused. Only ``pass`` says that something was measured and is good. What was
  not measured is ``skip`` (there was a reason not to), ``error`` (the measuring failed) or
  ``timeout`` (it did not end); none of them is a pass, and none accuses the hardware by itself.
- A number is never judged without its threshold and the threshold's source beside it.
- Text that comes from the node is bounded and printable once it is in a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from parsers.printable import printable
from probes.backends.base import GpuBackend

#: Longest message of a finding, in characters.
MESSAGE_LIMIT = 512


class Outcome(Enum):
    """What came of a check."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"  # measured, and bad
    WARN = "warn"  # measured; near the limit, or bad in a way that does not accuse the node
    SKIP = "skip"  # not measured, for the reason that the message tells (GPUs busy, not there)
    TIMEOUT = "timeout"  # did not end within its deadline
    ERROR = "error"  # the measuring itself failed: tool missing, output not understood


class Tier(Enum):
    """How much a check asks of the node, and when it may run."""

    BOOT = "boot"  # once for each boot, and after the driver was loaded anew
    LIGHT = "light"  # beside any workload
    INVASIVE = "invasive"  # needs idle GPUs


class Cadence(Enum):
    """How often the agent runs a check by itself."""

    BOOT = "boot"
    LIGHT = "light"  # every 60 s
    HOURLY = "hourly"
    INVASIVE = "invasive"  # every 4 h when idle, and before clearing (Jobs)
    NEVER = "never"  # only when asked (pairs and rings, PVC)


class Bound(Enum):
    """On which side of its threshold a value is good."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a value is judged by."""

    value: float
    bound: Bound
    source: str  # "H100 SXM, PCIe 5 x16 (AzNHC)", "label override", "baseline of this node"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number that was measured."""

    name: str  # "h2d"; snake_case, the same for each run of the check
    value: float
    unit: str  # "GB/s" (10^9 bytes), "°C", "W", "count", "s", "%"; "" has none
    threshold: Threshold | None = None  # None: only told


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found on one device, or on the whole node."""

    outcome: Outcome
    message: str  # one line for a person: what, how much, against which limit
    device: str = ""  # "0000:3b:00" as ``parsers.fault.Fault.device``; NIC "mlx5_0"; "" is the node
    measurements: tuple[Measurement, ...] = ()
    severity: str = "degraded"  # of a fail: fatal or degraded (``parsers.fault.Severity``)
    remedy: str = "inspect"  # of a fail (``parsers.fault.Remedy``)
    busy: bool | None = None  # the GPU ran something meanwhile; None: not known or not a GPU
    under_load: bool = False  # measured while the check itself loaded the device
    detail: Mapping[str, str] = field(default_factory=dict)  # uuid, serial, link, peer ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, MESSAGE_LIMIT))


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """What is known of a check before it runs."""

    name: str  # "pcie-bandwidth": a fault of it is ``probe/pcie-bandwidth``
    title: str  # the question, for people
    tier: Tier
    cadence: Cadence
    deadline_s: float  # hard: then its whole process group is killed
    needs_idle_gpus: bool = False  # refused, as ``skip``, while a GPU is busy
    #: Options that a signed request may set. All others are of the agent's own configuration: what
    #: names a program to run, or a service to trust, is never taken from the network.
    request_options: frozenset[str] = frozenset()


class Check(Protocol):
    """One file of ``probes/checks``; listed in ``probes.places``."""

    @property
    def spec(self) -> CheckSpec:
        """Constant."""
        ...

    def run(self, context: Context) -> Iterable[Finding]:
        """Measure. At least one finding; an exception becomes ``error``, none of them a pass.
        It runs in a process of its own that may be killed at any time."""
        ...


class Tool(Protocol):
    """How a check runs a program (``probes.tools``)."""

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """Run it in the check's own process group. Raises ToolMissing, ToolTimeout."""
        ...


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a program said. Output is cut at 8 MiB."""

    returncode: int  # negative: the signal that ended it
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What only the controller knows of the node. Empty where there is no controller."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    expected_gpus: int | None = None
    #: Lower bounds and upper bounds that override the shipped thresholds, "check/measurement" to
    #: number; from node labels or the policy.
    thresholds: Mapping[str, float] = field(default_factory=dict)
    #: Addresses of agents on other nodes by interface: {"node-b": {"eth0": ("10.0.0.7",)}}
    peers: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What a check measures with. All that varies is here, so that a test gives its own."""

    backend: GpuBackend
    tool: Tool
    root: str = "/"  # where /sys, /proc, /dev and /etc of the node are
    #: What the controller told of this node: labels that matter, peers, expected GPUs.
    node: NodeFacts = field(default_factory=NodeFacts)
    #: Options of this check: from the agent's configuration, then from the signed request.
    options: Mapping[str, str] = field(default_factory=dict)
    #: What the check kept of its last run (counters, times), JSON values only.
    before: Mapping[str, object] = field(default_factory=dict)
    #: Filled by the check: what it wants to see as ``before`` next time. At most 64 KiB as JSON.
    keep: dict[str, object] = field(default_factory=dict)
    boot_id: str = ""  # lower-case hex without dashes
