"""RDMA adapters in a /sys as the kernel links it: class, bus, and the PCI function of both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_PORT = {
    "state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "400 Gb/sec (4X NDR)",
    "link_layer": "InfiniBand", "counters/symbol_error": "0", "counters/link_downed": "0",
    "counters/local_link_integrity_errors": "0", "counters/link_error_recovery": "0",
}  # fmt: skip


class RdmaTree:
    """Built piece by piece, under a folder of the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/class/infiniband").mkdir(parents=True)
        (root / "sys/bus/pci/devices").mkdir(parents=True)

    def function(
        self, address: str, *, driver: str = "mlx5_core", config: bytes = b"\xb3\x15\x21\x10"
    ) -> Path:
        """A PCI function, without an adapter that is shown."""
        here = self.root / "sys/devices/pci0000:00" / address
        here.mkdir(parents=True, exist_ok=True)
        (here / "config").write_bytes(config + bytes(60))
        (here / "current_link_width").write_text("16\n")
        (here / "current_link_speed").write_text("32.0 GT/s PCIe\n")
        if driver:
            (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
            (here / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
        link = self.root / "sys/bus/pci/devices" / address
        link.symlink_to(os.path.relpath(here, link.parent))
        return here

    def adapter(
        self,
        name: str,
        address: str,
        *,
        guid: str = "",
        kind: str = "MT4129",
        flags: str = "",
        **port: str,
    ) -> None:
        """An adapter with one port. ``flags`` of its network interface; members of the port with
        ``__`` for a slash."""
        here = self.function(address)
        adapter = here / "infiniband" / name
        files = {f"ports/1/{path}": value for path, value in _PORT.items()}
        files |= {f"ports/1/{path.replace('__', '/')}": value for path, value in port.items()}
        self._write(adapter, {**files, "hca_type": kind, "node_guid": guid or _guid(address)})
        (adapter / "device").symlink_to(f"../../../{address}")
        if flags:
            self._write(here / "net" / f"eth-{name}", {"flags": flags})
        link = self.root / "sys/class/infiniband" / name
        link.symlink_to(os.path.relpath(adapter, link.parent))

    def _write(self, folder: Path, files: Mapping[str, str]) -> None:
        for path, value in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(value + "\n")


def _guid(address: str) -> str:
    return f"506b:4b03:00cc:{address[5:7]}{address[8:10]}"
