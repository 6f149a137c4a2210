"""What is a Fault? The vocabulary that every layer shares.

Invariants:
- A Fault is one decoded observation, never a conclusion: nothing here acts.
- Code, device and severity come only from the anchored head of a line, never from a
  process name or quoted text; ``text`` is evidence and is bounded and printable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

#: Longest evidence text that a Fault carries, in characters.
TEXT_LIMIT = 512


class Severity(Enum):
    """How bad an observation is, worst first."""

    FATAL = "fatal"  # cannot be trusted now
    DEGRADED = "degraded"
    UNKNOWN = "unknown"  # a code the catalog does not have: always visible, never acts alone
    APPLICATION = "application"  # the program's fault
    INFO = "info"

    # Members are compared by identity. Enum's own hash is Python that hashes the name each time,
    # and keys of sightings are hashed for every line.
    __hash__ = object.__hash__

    @property
    def rank(self) -> int:
        """0 is the worst; a total order for sorting and for 'the worst wins'."""
        return _RANK[self]


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Remedy(Enum):
    """What would repair it. The driver's own word (Xid 154) outranks the catalog."""

    NONE = "none"
    RESTART_APP = "restart_app"
    RESET_GPU = "reset_gpu"
    DRAIN_RESET = "drain_reset"
    DRAIN_INSPECT = "drain_inspect"
    REBOOT = "reboot"
    POWER_CYCLE = "power_cycle"
    INSPECT = "inspect"


class Trust(Enum):
    """Trust class of the evidence, strongest first."""

    ATTESTED = "attested"  # the node's own agent has seen this record in this node's ring
    KERNEL = "kernel"  # a kernel-log transport whose selector pins namespace and DaemonSet
    PROBE = "probe"
    POD = "pod"

    __hash__ = object.__hash__  # as Severity


@dataclass(slots=True)
class Fault:
    """One decoded observation.

    The parser fills what the text says; the observer that knows the stream fills
    ``node``, ``time_ns``, ``boot_id``, ``source`` and ``trust`` (``dataclasses.replace``).

    Not frozen: that would make it three times as slow to build. Only ``parsers.decode``, which
    had it built, changes it, and only before it hands it out.
    """

    fault_id: str  # "xid/79", "sxid/12028", "kernel/gpu-lost", "workload/invalid-device-ordinal"
    severity: Severity
    remedy: Remedy
    device: str = ""  # "0000:3b:00" (domain:bus:device, lower case, no function); "" is the node
    node: str = ""
    time_ns: int = 0  # log timestamp, Unix nanoseconds; 0 when unknown
    event_ns: int = 0  # event time: orders and guards, never identifies; 0 when unknown
    uptime_us: int | None = None  # kernel uptime of the line, microseconds
    boot_id: str = ""  # lower-case hex without dashes; "" when the line does not tell
    identity: str = ""  # counted once per identity (docs/concepts/vocabulary.md)
    injected: bool = False  # written into the kernel log by a program (facility other than 0)
    source: str = ""  # name of the log source
    trust: Trust = Trust.KERNEL
    text: str = ""  # the message without wrappers: printable, at most TEXT_LIMIT characters
    count: int = 1  # "message repeated N times" counts as N
    detail: dict[str, str] = field(default_factory=dict)  # link, process, pid, mig, unit, ...

    @property
    def key(self) -> tuple[str, str]:
        """What a record in the ledger is keyed by, within a node."""
        return (self.device, self.fault_id)
