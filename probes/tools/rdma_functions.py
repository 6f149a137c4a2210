"""What became of an RDMA adapter that the host does not show any more? Asked of its PCI function.

``/sys/class/infiniband`` shows the adapters of one network namespace. In the exclusive mode
(``rdma system set netns exclusive``) an adapter that a pod gets is not in the host's any more. Its
PCI function is still there, and the folder ``infiniband`` in it: for as long as an adapter is
registered, and empty for those who do not share its namespace (``rdma_dev_change_netns`` of
drivers/infiniband/core/device.c; ``get_device_parent`` of drivers/base/core.c).

Invariant: what the kernel does not tell is UNKNOWN, never GONE.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from probes.tools.node_files import names

_DEVICES = "sys/bus/pci/devices"
#: Drivers that hold a function for somebody else: a virtual machine, or a program of a user.
LENDING = frozenset({"vfio-pci", "mlx5_vfio_pci", "pci-stub", "xen-pciback", "uio_pci_generic"})
#: What reads from a function that is not there: all ones (PCI Express base specification).
_NOTHING = b"\xff\xff\xff\xff"


class Whereabouts(Enum):
    """Of an adapter that is not shown."""

    GONE = "gone"  # no such function on the PCI bus
    SILENT = "silent"  # the function is listed, and does not answer on the bus
    UNBOUND = "unbound"  # no driver holds it
    LENT = "lent"  # a driver for virtual machines holds it
    ELSEWHERE = "elsewhere"  # registered, in another network namespace
    UNREGISTERED = "unregistered"  # its driver holds it and offers no RDMA: bonded, or switched off
    UNKNOWN = "unknown"


def whereabouts(root: str, address: str) -> Whereabouts:
    """Of the function at an address ("0000:3b:00.0"); UNKNOWN where there is no address."""
    devices = Path(root, _DEVICES)
    if not address or not names(devices):
        return Whereabouts.UNKNOWN
    function = devices / address
    if not function.is_dir():
        return Whereabouts.GONE
    driver = driver_of(function)
    if driver in LENDING:
        return Whereabouts.LENT
    if _silent(function):
        return Whereabouts.SILENT
    if not driver:
        return Whereabouts.UNBOUND
    if (function / "infiniband").is_dir():
        return Whereabouts.ELSEWHERE
    return Whereabouts.UNREGISTERED


def elsewhere(root: str) -> frozenset[str]:
    """Addresses of all functions whose adapter is in another network namespace, virtual functions
    left out."""
    devices = Path(root, _DEVICES)
    return frozenset(
        address
        for address in names(devices)
        if (devices / address / "infiniband").is_dir()
        and not names(devices / address / "infiniband")
        and not (devices / address / "physfn").exists()
    )


def driver_of(function: Path) -> str:
    """Name of the driver that holds a function; "" where none does."""
    try:
        return os.path.basename(os.readlink(function / "driver"))
    except OSError:
        return ""


def _silent(function: Path) -> bool:
    try:
        with (function / "config").open("rb") as file:
            return file.read(4) == _NOTHING
    except OSError:
        return False
