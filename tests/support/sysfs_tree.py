"""A /sys and /proc as a GPU node has them, under a folder of the test."""

from __future__ import annotations

from pathlib import Path


class SysfsTree:
    """Built piece by piece."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def gpu(
        self,
        address: str,
        *,
        pci_id: str = "0x2330",
        pci_class: str = "0x030200",
        driver: str = "nvidia",
        vendor: str = "0x10de",
        slot: tuple[str, str] = ("32.0 GT/s PCIe", "16"),
        **files: str,
    ) -> Path:
        """A device behind a port of its own, as the kernel links them."""
        port = self.root / f"sys/devices/pci0000:00/port-{address}"
        here = port / address
        here.mkdir(parents=True)
        (port / "max_link_speed").write_text(slot[0] + "\n")
        (port / "max_link_width").write_text(slot[1] + "\n")
        content = {
            "vendor": vendor, "device": pci_id, "class": pci_class, "numa_node": "1",
            "current_link_speed": "32.0 GT/s PCIe", "current_link_width": "16",
            "max_link_speed": "32.0 GT/s PCIe", "max_link_width": "16", **files,
        }  # fmt: skip
        for name, text in content.items():
            (here / name).write_text(text + "\n")
        if driver:
            module = self.root / f"sys/bus/pci/drivers/{driver}"
            module.mkdir(parents=True, exist_ok=True)
            (here / "driver").symlink_to(module)
        devices = self.root / "sys/bus/pci/devices"
        devices.mkdir(parents=True, exist_ok=True)
        (devices / address).symlink_to(here)
        return here

    def module(self, version: str) -> None:
        """The open kernel module, as NVIDIA/open-gpu-kernel-modules 565.57.01 prints itself."""
        self.write(
            "proc/driver/nvidia/version",
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  "
            "(dvs-builder@U16-A24-9-2)  Thu Oct 10 12:15:00 UTC 2024\n"
            "GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)\n",
        )

    def process(self, pid: int, name: str, state: str, started: int) -> None:
        rest = " ".join(["1"] * 18 + [str(started), "2393184", "394"])
        self.write(f"proc/{pid}/stat", f"{pid} ({name}) {state} {rest}\n")
        self.write(f"proc/{pid}/comm", name[:15] + "\n")
