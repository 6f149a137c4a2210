"""What does the kernel know of the GPUs, without the driver's library?

PCI devices, their links and error counters under /sys/bus/pci, the loaded module under
/proc/driver/nvidia, processes under /proc. As a backend of its own it has no health readings: they
are "not supported" there. The NVML backend asks it for what only the kernel tells.

Invariants: the root is an argument. Nothing here calls the driver. Text that is not what the kernel
writes is a BackendError that names the file, never a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from parsers.device import normalise
from parsers.printable import printable
from probes.backends.bare import NoReadings
from probes.backends.base import Gpu
from probes.backends.readings import Driver, PciDevice, PcieLink, Unopened
from probes.errors import BackendError, BackendMissing

_NVIDIA = "0x10de"
#: PCI classes: VGA and 3D controller are GPUs, an NVSwitch is a bridge of class "other".
_GPU_CLASSES = ("0x0300", "0x0302")
_BRIDGE_CLASS = "0x0680"
#: Transfers a second of each generation, as the kernel prints them ("16.0 GT/s PCIe").
_GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
#: A link that is down, or powered off, has no speed and up to 255 lanes.
_MOST_WIDTH = 32
_VERSION = re.compile(r"^NVRM version: .*?\b(\d{3,4}\.\d{1,4}(?:\.\d{1,4})?)\b", re.MULTILINE)
_STAT = re.compile(r"\A\d+ \(.*\) ([A-Za-z]) (?:\S+ ){18}(\d+)", re.DOTALL)
#: The kernel keeps 15 bytes of a process's name.
_FABRIC_MANAGER = "nv-fabricmanager"[:15]
_INIT = frozenset({"systemd", "init"})


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Of /proc/PID/stat."""

    state: str  # "R", "S", "D", "Z" ...
    started: int  # clock ticks after boot


class Sysfs(NoReadings):
    """The node's /sys and /proc, under ``root``."""

    name = "sysfs"
    fake = False

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._pci = os.path.join(root, "sys/bus/pci/devices")

    def gpus(self) -> tuple[Gpu, ...]:
        """GPUs on the bus that the NVIDIA driver holds, in the order of the bus, which is mostly
        the driver's. Their UUID is from /proc, or made of the address. Raises BackendMissing."""
        if not self._loaded():
            raise BackendMissing("the NVIDIA kernel module is not loaded (/proc/driver/nvidia)")
        held = [each for each in self.pci_gpus() if each.driver == "nvidia"]
        return tuple(self._gpu(index, device) for index, device in enumerate(held))

    def unopened(self) -> tuple[Unopened, ...]:
        """Nothing is opened here."""
        return ()

    def busy(self, gpu: Gpu) -> bool:
        """Which processes use a GPU is not to be seen here."""
        raise BackendError(f"{gpu.device}: sysfs does not tell whether a GPU is in use")

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        """NVIDIA's VGA and 3D controllers."""
        return tuple(device for kind, device in self._nvidia() if kind in _GPU_CLASSES)

    def nvswitches(self) -> tuple[PciDevice, ...]:
        """NVIDIA's bridges that are NVSwitches (up to Hopper)."""
        return tuple(device for kind, device in self._nvidia() if kind == _BRIDGE_CLASS)

    def fabric_manager(self) -> bool | None:
        """Looks for the process; None when only a container's own processes are to be seen."""
        if self._read("proc/1/comm") not in _INIT:
            return None
        return any(self._read(f"proc/{pid}/comm") == _FABRIC_MANAGER for pid in self._pids())

    def driver(self) -> Driver:
        """Of the kernel module. Raises BackendMissing when none is loaded."""
        version = self.module_version()
        if not version:
            raise BackendMissing("the NVIDIA kernel module is not loaded (/proc/driver/nvidia)")
        return Driver(version, version)

    def module_version(self) -> str:
        """Version of the loaded kernel module; "" when none is. Raises BackendError."""
        text = self._read("proc/driver/nvidia/version")
        if not text:
            return ""
        found = _VERSION.search(text)
        if found is None:
            raise BackendError(f"/proc/driver/nvidia/version: no version in {printable(text, 80)}")
        return found[1]

    def pcie_link(self, gpu: Gpu) -> PcieLink:
        """What the kernel reads from the device's link registers. The slot's own highest values
        are those of the port above."""
        here = self._device(gpu.device)
        port = os.path.dirname(os.path.realpath(here)) if os.path.islink(here) else ""
        own, own_width = self._link(here, "max")
        slot, slot_width = self._link(port, "max") if port else (None, None)
        generation, width = self._link(here, "current")
        return PcieLink(generation, width, _lower(own, slot), _lower(own_width, slot_width), own)

    def pcie_counters(self, gpu: Gpu) -> Mapping[str, int]:
        """Totals of advanced error reporting; none where the kernel does not count."""
        counters = {}
        for kind, total in (
            ("correctable", "TOTAL_ERR_COR"),
            ("nonfatal", "TOTAL_ERR_NONFATAL"),
            ("fatal", "TOTAL_ERR_FATAL"),
        ):
            path = os.path.join(self._device(gpu.device), f"aer_dev_{kind}")
            text = self._text(path)
            if not text:
                continue
            found = re.search(rf"^{total} (\d{{1,19}})$", text, re.MULTILINE)
            if found is None:
                raise BackendError(f"{path}: no {total}")
            counters[f"aer_{kind}"] = int(found[1])
        return counters

    def process(self, pid: int) -> ProcessState | None:
        """State of a process; None when it cannot be seen (gone, or another pid namespace)."""
        found = _STAT.match(self._read(f"proc/{int(pid)}/stat"))
        return ProcessState(found[1].upper(), int(found[2])) if found else None

    def numa_node(self, device: str) -> int | None:
        """NUMA node of a device; None where the machine has none."""
        text = self._text(os.path.join(self._device(device), "numa_node"))
        return int(text) if text.isdecimal() else None

    def _loaded(self) -> bool:
        return os.path.isdir(os.path.join(self._root, "proc/driver/nvidia"))

    def _gpu(self, index: int, device: PciDevice) -> Gpu:
        facts = dict(_pairs(self._read(f"proc/driver/nvidia/gpus/{device.device}.0/information")))
        return Gpu(
            index=index,
            device=device.device,
            uuid=facts.get("GPU UUID", "") or f"PCI-{device.device}",
            name=facts.get("Model", "") or device.pci_id,
            pci_id=device.pci_id,
            numa_node=device.numa_node,
        )

    def _nvidia(self) -> Iterator[tuple[str, PciDevice]]:
        """PCI class and device of all of NVIDIA's, function 0."""
        try:
            names = sorted(os.listdir(self._pci))
        except FileNotFoundError:
            return
        except OSError as error:
            raise BackendError(f"{self._pci}: {error.strerror}") from error
        for name in names:
            path = os.path.join(self._pci, name)
            address = normalise(name)
            if address is None or address.function != "0":
                continue
            if os.path.lexists(os.path.join(path, "physfn")):
                continue  # a virtual function: its GPU is there itself (vGPU hosts)
            if self._text(os.path.join(path, "vendor")) != _NVIDIA:
                continue
            pci_id = f"10de:{self._text(os.path.join(path, 'device')).removeprefix('0x')}"
            held = os.path.join(path, "driver")
            driver = os.path.basename(os.path.realpath(held)) if os.path.islink(held) else ""
            numa = self._text(os.path.join(path, "numa_node"))
            yield (
                self._text(os.path.join(path, "class"))[:6],
                PciDevice(address.device, pci_id, driver, int(numa) if numa.isdecimal() else None),
            )

    def _link(self, path: str, which: str) -> tuple[int | None, int | None]:
        speed = self._text(os.path.join(path, f"{which}_link_speed"))
        width = self._text(os.path.join(path, f"{which}_link_width"))
        generation = _GENERATIONS.get(speed.split(" ")[0])
        if speed and generation is None and not speed.lower().startswith("unknown"):
            raise BackendError(f"{path}/{which}_link_speed: {printable(speed, 40)}")
        if not width:
            return generation, None
        if not width.isdecimal():
            raise BackendError(f"{path}/{which}_link_width: {printable(width, 40)}")
        return generation, int(width) if 0 <= int(width) <= _MOST_WIDTH else None

    def _device(self, device: str) -> str:
        return os.path.join(self._pci, f"{device}.0")

    def _pids(self) -> Iterator[str]:
        try:
            yield from filter(str.isdecimal, os.listdir(os.path.join(self._root, "proc")))
        except OSError:
            return

    def _read(self, path: str) -> str:
        return self._text(os.path.join(self._root, path))

    def _text(self, path: str) -> str:
        """A small file without blanks around it; "" when it is not there (or its process went)."""
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(65536).strip()
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            return ""
        except OSError as error:
            raise BackendError(f"{path}: {error.strerror}") from error


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), printable(value, 96)


def _lower(one: int | None, other: int | None) -> int | None:
    return min(each for each in (one, other) if each is not None) if one or other else None
