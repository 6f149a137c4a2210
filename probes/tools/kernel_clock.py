"""What does the kernel say of its clock? ``adjtimex(2)``, asked without changing anything.

Whoever disciplines the clock (chronyd with ``rtcsync``, systemd-timesyncd, ntpd, ptp4l with phc2sys
in some set-ups) tells the kernel that it is synchronised and how wrong it may be; without news the
kernel lets that bound grow by 0.5 ms a second and calls the clock unsynchronised at 16 s.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from probes.errors import CheckError

_STA_UNSYNC = 0x0040  # linux/timex.h
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """struct timex of 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "sec", "usec")),
        *((name, ctypes.c_long) for name in ("tick", "ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class KernelClock:
    """The clock as the kernel knows it."""

    synchronised: bool
    most_error_s: float  # how wrong it may be


def kernel_clock() -> KernelClock:
    """Ask the kernel. Raises CheckError."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex(modes=0)
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        raise CheckError(f"adjtimex: error {ctypes.get_errno()}")
    unsynchronised = state == _TIME_ERROR or bool(timex.status & _STA_UNSYNC)
    return KernelClock(not unsynchronised, timex.maxerror / 1e6)
