"""What does an error of NVML mean to a check? One table, by the numbers of nvml.h.

Three kinds: the hardware or driver does not have it (``None``), the GPU is gone, or the driver as a
whole does not work. Everything else is an error of this one question, and never a value.
"""

from __future__ import annotations

from parsers.printable import printable
from probes.errors import (
    BackendError,
    BackendMissing,
    BackendTimeout,
    DriverMismatch,
    GpuLost,
    NoPermission,
)

INVALID_ARGUMENT = 2
NOT_FOUND = 6
INSUFFICIENT_POWER = 8

#: Not supported, no ECC on this virtual GPU, no such function in this library (older driver), a
#: structure that this library does not know (older or newer), and what was taken away.
NOT_SUPPORTED = frozenset({3, 13, 22, 25, 26})
_KINDS: dict[int, tuple[type[BackendError], str]] = {
    4: (NoPermission, "no permission: the probe has to run as root in a privileged container"),
    9: (BackendMissing, "the NVIDIA kernel module is not loaded"),
    10: (BackendTimeout, "the driver did not answer in time"),
    11: (BackendTimeout, "the driver has trouble with interrupts"),
    12: (BackendMissing, "the NVIDIA library (libnvidia-ml.so.1) is not on this node"),
    15: (GpuLost, "GPU is lost (fallen off the bus)"),
    16: (GpuLost, "GPU needs a reset before it answers"),
    17: (NoPermission, "the operating system blocked the request (cgroups)"),
    18: (DriverMismatch, "library and kernel module are of different versions: reload or reboot"),
    28: (GpuLost, "GPU is not found any more"),
}


def translated(code: int, text: str, what: str) -> BackendError:
    """The error to raise for an NVML code. ``text`` is NVML's own, ``what`` what was asked."""
    kind, words = _KINDS.get(code, (BackendError, printable(text, 120) or "no text"))
    return kind(f"{what}: {words} (NVML {code})", code)
