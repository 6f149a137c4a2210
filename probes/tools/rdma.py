"""What does the kernel say of the node's RDMA ports, and what does ``ibstat``?

``/sys/class/infiniband`` has InfiniBand adapters and those for RoCE. State and rate are told as in
``4: ACTIVE`` and ``400 Gb/sec (4X NDR)``; counters of a port without a performance agent are
``N/A (no PMA)``. Virtual functions (``device/physfn``) and subfunctions (``mlx5_core.sf.2``) are
left out: they are their owner's.

A name is no identity: udev renames ``mlx5_0`` to ``ibp24s0``, and the kernel counts from 0 again
when one is missing. The PCI address (the target of ``device``) and the node GUID are.

Invariant: a port of which state or rate is not understood is told as such (None, ""), never as
good.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.node_files import count, line, names
from probes.tools.reading import ending, excerpt

SYSFS = "sys/class/infiniband"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_RATE = re.compile(r"([0-9]{1,5}(?:\.[0-9])?) Gb/sec(?: \(([^)]{1,32})\))?", re.ASCII)
_STATE = re.compile(r"[0-9]{1,2}: ([A-Za-z_ -]{1,32})", re.ASCII)
_SPEED = re.compile(r"([0-9]{1,3}(?:\.[0-9])?) GT/s", re.ASCII)
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
_GUID = re.compile(r"(?:[0-9a-f]{4}:){3}[0-9a-f]{4}", re.ASCII)
_NO_GUID = "0000:0000:0000:0000"
_IFF_UP = 0x1  # linux/if.h
_MOST_PORTS = 256


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an adapter."""

    device: str  # "mlx5_0"
    number: int
    state: str = ""  # "ACTIVE", "DOWN", "INIT", "ARMED"; "" not understood
    physical: str = ""  # "LinkUp", "Polling", "Disabled"
    rate_gbps: float | None = None
    layer: str = ""  # "InfiniBand", "Ethernet" (RoCE)
    kind: str = ""  # "MT4129"
    firmware: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    pcie_width: int | None = None
    pcie_width_most: int | None = None  # of the adapter; the slot may be narrower
    pcie_speed: float | None = None  # GT/s
    pcie_speed_most: float | None = None
    address: str = ""  # "0000:3b:00.0"; "" not known (ibstat), or not on a PCI bus
    guid: str = ""  # "506b:4b03:00cc:8e2a"; "" not known
    #: Why a RoCE port may be down on purpose; "" nothing is known.
    set_down: str = ""

    @property
    def name(self) -> str:
        """The device's where it has one port, as nearly all have: "mlx5_0"; else "mlx5_0/2"."""
        return self.device if self.number == 1 else f"{self.device}/{self.number}"

    @property
    def active(self) -> bool:
        """It carries traffic."""
        return self.state == "ACTIVE" and self.physical in ("LinkUp", "")


def of_sysfs(root: str, counters: tuple[str, ...]) -> list[Port] | None:
    """All ports, with the counters that are asked for ("counters/symbol_error"); None where the
    kernel has no RDMA adapters at all."""
    folder = Path(root, SYSFS)
    if not folder.is_dir():
        return None
    found: list[Port] = []
    for device in names(folder):
        if not _NAME.fullmatch(device) or _of_an_owner(folder / device):
            continue
        for number in names(folder / device / "ports"):
            if number.isascii() and number.isdigit() and len(found) < _MOST_PORTS:
                found.append(_port(folder / device, device, int(number), counters))
    return found


def _of_an_owner(adapter: Path) -> bool:
    return (adapter / "device" / "physfn").exists() or ".sf." in _parent(adapter)


def _parent(adapter: Path) -> str:
    """Name of the device that an adapter is of: an address on the PCI bus, mostly."""
    try:
        return os.path.basename(os.readlink(adapter / "device"))
    except OSError:
        return ""


def of_ibstat(output: ToolOutput) -> list[Port]:
    """The ports that ``ibstat`` tells. Raises CheckError, also where it ends with an error after
    some of them: the others are not known."""
    found: list[dict[str, str]] = []
    device: dict[str, str] = {}
    for text in output.stdout.splitlines():
        if opened := re.fullmatch(r"CA '([A-Za-z0-9_.-]{1,64})'", text.strip()):
            device = {"device": opened[1]}
        elif opened := re.fullmatch(r"Port ([0-9]{1,3}):", text.strip()):
            if not device:
                raise CheckError("ibstat: a port that belongs to no adapter")
            found.append({**device, "number": opened[1]})
        elif (told := re.fullmatch(r"([A-Za-z ]{1,32}): (.{0,64})", text.strip())) and device:
            (found[-1] if text[:1].isspace() and _of_port(found, device) else device)[
                told[1].lower()
            ] = told[2].strip()
    if not found or output.returncode != 0:
        said = excerpt(output.stderr.strip() or output.stdout)
        raise CheckError(f"ibstat ({ending(output)}): {len(found)} ports, then {said}")
    if len({(each.get("device"), each["number"]) for each in found}) != len(found):
        raise CheckError("ibstat: one port is there twice")
    return [_told(each) for each in found[:_MOST_PORTS]]


def _of_port(found: list[dict[str, str]], device: dict[str, str]) -> bool:
    return bool(found) and found[-1].get("device") == device.get("device")


def _told(port: dict[str, str]) -> Port:
    rate = port.get("rate", "")
    return Port(
        port["device"],
        int(port["number"]),
        port.get("state", "").upper(),
        port.get("physical state", ""),
        float(rate) if re.fullmatch(r"[0-9]{1,5}(\.[0-9])?", rate, re.ASCII) else None,
        port.get("link layer", ""),
        port.get("ca type", ""),
        port.get("firmware version", ""),
    )


def _port(adapter: Path, device: str, number: int, counters: tuple[str, ...]) -> Port:
    folder = adapter / "ports" / str(number)
    rate = _RATE.fullmatch(line(folder / "rate"))
    counted = {name: count(folder / name) for name in counters}
    return Port(
        device,
        number,
        _word(line(folder / "state")),
        _word(line(folder / "phys_state")),
        float(rate[1]) if rate else None,
        line(folder / "link_layer")[:32],
        line(adapter / "hca_type")[:32],
        line(adapter / "fw_ver")[:32],
        {name: value for name, value in counted.items() if value is not None},
        _lanes(adapter / "device" / "current_link_width"),
        _lanes(adapter / "device" / "max_link_width"),
        _gigatransfers(adapter / "device" / "current_link_speed"),
        _gigatransfers(adapter / "device" / "max_link_speed"),
        parent if _ADDRESS.fullmatch(parent := _parent(adapter)) else "",
        guid if _GUID.fullmatch(guid := line(adapter / "node_guid")) and guid != _NO_GUID else "",
        _set_down(adapter / "device" / "net"),
    )


def _set_down(interfaces: Path) -> str:
    """Of the network interfaces of a function: a port without carrier is ``Disabled`` as well, so
    that only the interface tells whether somebody wants it so."""
    if not interfaces.is_dir():
        return ""
    found = names(interfaces)
    if not found:
        return "its interface is in another network namespace"
    flags = [line(interfaces / name / "flags") for name in found]
    known = [int(each, 16) for each in flags if re.fullmatch(r"0x[0-9a-f]{1,8}", each, re.ASCII)]
    down = len(known) == len(found) and not any(each & _IFF_UP for each in known)
    return f"its interface {found[0][:16]} is set down" if down else ""


def _word(said: str) -> str:
    found = _STATE.fullmatch(said)
    return found[1] if found else ""


def _lanes(path: Path) -> int | None:
    lanes = count(path)
    return lanes if lanes in (1, 2, 4, 8, 12, 16, 32) else None


def _gigatransfers(path: Path) -> float | None:
    found = _SPEED.match(line(path))
    return float(found[1]) if found else None
