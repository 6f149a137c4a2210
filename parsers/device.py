"""Which PCI device does an address name? One spelling for all of a driver's.

The same GPU appears as ``0000:3b:00``, ``00000000:3B:00.0`` or ``3b:00.0``; compared as text
these would be three devices, and a cut domain would name another GPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_ADDRESS = re.compile(
    r"(?:PCI:)?(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([01]?[0-9a-f])(?:\.([0-7]))?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class PciAddress:
    """``device`` is domain:bus:device in lower case; the function is told apart."""

    device: str
    function: str = ""


def normalise(text: str) -> PciAddress | None:
    """The device that ``text`` names, or None if it is not a PCI address.

    A missing domain is 0. The domain has four digits, or eight when it needs more than four.
    """
    return _normalised(text) if len(text) <= 32 else None


@lru_cache(maxsize=1024)  # a cluster's lines name the same few devices again and again
def _normalised(text: str) -> PciAddress | None:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    domain = int(match[1] or "0", 16)
    width = 4 if domain <= 0xFFFF else 8
    device = f"{domain:0{width}x}:{int(match[2], 16):02x}:{int(match[3], 16):02x}"
    return PciAddress(device=device, function=match[4] or "")
