"""Which line is a rehearsed fault, and how does it get to where the controller reads?

The engine of ``konduktor-health inject``: builds a driver line as a GPU node would log it,
and says how to write it to this machine's kernel log, to a node's, or straight to Loki.
A line that a program writes to /dev/kmsg carries facility 1 (user) whatever it asks for: the
kernel reserves facility 0. Such a fault is marked ``injected``, and policy decides about it.

Invariant: the text is one printable line of at most TEXT_LIMIT bytes, and no shell ever
parses it.
"""

from __future__ import annotations

import errno
import json
import os
import re
from dataclasses import dataclass, field
from typing import Literal

from konduktor_health.errors import ConfigError, excerpt
from konduktor_health.timestamps import rfc3339_micro

#: The kernel takes 1024 bytes per write, priority prefix and line feed included.
TEXT_LIMIT = 900
#: Level warning, as the driver logs. The kernel adds facility 1 (user).
_PRIORITY = "<4>"

_PCI = re.compile(
    r"(?:(?P<domain>[0-9a-fA-F]{4,8}):)?(?P<bus>[0-9a-fA-F]{2}):(?P<device>[01][0-9a-fA-F])"
    r"(?:\.[0-7])?"
)
_UNKNOWN_PROCESS = "pid='<unknown>', name=<unknown>"
_PROCESS = "pid=4242, name=python3"

#: What follows the code, in the driver's words, for codes that people rehearse with.
_MESSAGES: dict[int, str] = {
    13: f"{_UNKNOWN_PROCESS}, Graphics SM Warp Exception on (GPC 9, TPC 1, SM 1): "
    "Out Of Range Address",
    31: f"{_PROCESS}, Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS faulted @ "
    "0x7f21_5c000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    43: f"{_PROCESS}, Ch 00000008",
    45: f"{_PROCESS}, Ch 00000008",
    48: f"{_UNKNOWN_PROCESS}, An uncorrectable double bit error (DBE) has been detected on GPU "
    "in the framebuffer at partition 6, subpartition 0.",
    63: f"{_UNKNOWN_PROCESS}, Row Remapper: New row marked for remapping, reset gpu to activate.",
    64: f"{_UNKNOWN_PROCESS}, Row Remapper Error: failed to record a row to remap",
    74: f"{_UNKNOWN_PROCESS}, NVLink: fatal error detected on link "
    "14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)",
    79: f"{_UNKNOWN_PROCESS}, GPU has fallen off the bus.",
    92: f"{_UNKNOWN_PROCESS}, High single-bit ECC error rate",
    94: f"{_PROCESS}, Contained: SM (0x1). RST: No, D-RST: No",
    95: f"{_UNKNOWN_PROCESS}, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No",
    119: f"{_PROCESS}, Timeout after 6s of waiting for RPC response from GPU0 GSP! "
    "Expected function 76 (GSP_RM_CONTROL) (0x20802a02 0x8).",
    120: f"{_UNKNOWN_PROCESS}, GSP task exception: load access fault (0x5)",
    140: f"{_UNKNOWN_PROCESS}, An uncorrectable ECC error detected (possible firmware handling "
    "failure) DRAM:1, LTC:0, MMU:0, PCIE:0",
    149: "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 "
    "(0x021425c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)",
    154: "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
}


def normal_pci(address: str) -> str:
    """``domain:bus:device`` in lower case, no function: ``3B:00.0`` is ``0000:3b:00``.

    Raises ConfigError for anything that is no PCI address.
    """
    found = _PCI.fullmatch(address.strip().removeprefix("PCI:"))
    if found is None:
        raise ConfigError(
            f"not a PCI address: {excerpt(address)!r}",
            hint="domain:bus:device, e.g. 0000:3b:00; nvidia-smi --query-gpu=pci.bus_id lists them",
        )
    domain = int(found["domain"] or "0", 16)
    return f"{domain:04x}:{found['bus'].lower()}:{found['device'].lower()}"


def build_line(xid: int = 79, pci: str = "0000:3b:00", line: str | None = None) -> str:
    """The text to inject: the given line, or what the driver logs for an Xid on a device.

    Raises ConfigError for a code that cannot be one, an address that is none, and a line
    that is empty, not printable, of several lines, or longer than TEXT_LIMIT bytes.
    """
    if line is not None:
        return _checked(line)
    if not 1 <= xid <= 999:
        raise ConfigError(f"not an Xid: {xid}", hint="the codes in use are 1 to 177, e.g. 79")
    message = _MESSAGES.get(xid, _UNKNOWN_PROCESS)
    return f"NVRM: Xid (PCI:{normal_pci(pci)}): {xid}, {message}"


def write_local(text: str, kmsg_path: str = "/dev/kmsg") -> None:
    """Write one line to this machine's kernel log. Raises ConfigError when that cannot be.

    The device is opened for each line: the kernel limits a writer that keeps it open to ten
    lines in five seconds. The line feed is part of the write: without it readers see the
    record only once the next one is logged.
    """
    data = _kmsg_bytes(text)
    try:
        fd = os.open(kmsg_path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(
            f"cannot write to {kmsg_path}: {error.strerror}", hint=_write_hint(error)
        ) from error


def _write_hint(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "writing the kernel log needs root; or inject with --loki"
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return "this machine shows no kernel log (a container?); use --node or --loki"
    return "use --node or --loki"


@dataclass(frozen=True, slots=True)
class PodCommand:
    """What to exec in a pod. ``argv`` is given to the container runtime as it is."""

    argv: tuple[str, ...]
    stdin: bytes = b""


def node_command(text: str) -> PodCommand:
    """The command that writes the line in a privileged pod of the node.

    The text is an argument of a fixed script, so no shell parses it, and no stdin is needed
    (an exec stream cannot signal its end on every cluster). Any image with ``sh`` will do.
    Raises ConfigError for a text that may not be injected.
    """
    script = 'printf "%s\\n" "$1" > /dev/kmsg'
    return PodCommand(("sh", "-c", script, "sh", _PRIORITY + _checked(text)))


#: Whose stream an entry pretends to be from (the presets of the Loki reader).
Style = Literal["konduktor-otel", "kmsg"]


@dataclass(frozen=True, slots=True)
class LokiEntry:
    """One line to push."""

    labels: dict[str, str]
    time_ns: int  # Unix nanoseconds
    line: str
    metadata: dict[str, str] = field(default_factory=dict)  # structured metadata


def loki_entry(
    text: str,
    node: str,
    now_ns: int,
    *,
    uptime_us: int | None,
    boot_id: str = "",
    style: Style = "konduktor-otel",
    labels: dict[str, str] | None = None,
) -> LokiEntry:
    """A line as the shipper of a node would push it; ``labels`` adds to the stream's.

    ``uptime_us`` is the kernel uptime to stamp it with, microseconds; None: not known, and a
    line of style ``konduktor-otel`` then has no stamp. Style ``kmsg`` says facility 1, as a
    program's record does; ``konduktor-otel`` lines cannot say it.
    Raises ConfigError for a text that may not be injected.
    """
    text = _checked(text)
    more = labels or {}
    if style == "kmsg":
        line = _kmsg_line(text, node, now_ns, uptime_us or 0, boot_id)
        return LokiEntry({"job": "konduktor-kmsg", "node": node, **more}, now_ns, line)
    stamp = f"[{uptime_us // 1_000_000:5d}.{uptime_us % 1_000_000:06d}] " if uptime_us else ""
    stream = {
        "k8s_namespace_name": "dmesg-logging",
        "k8s_daemonset_name": "dmesg",
        "k8s_container_name": "dmesg",
        "service_name": "dmesg",
        **more,
    }
    return LokiEntry(stream, now_ns, f"{stamp}{text}", {"k8s_node_name": node})


def _kmsg_line(text: str, node: str, now_ns: int, uptime_us: int, boot_id: str) -> str:
    """A record as ``konduktor-probe kmsg`` writes it (a test holds the two together)."""
    fields = {
        "konduktor": "kmsg",
        "v": 1,
        "kind": "record",
        "boot_id": boot_id,
        "seq": uptime_us,  # no ring numbered it: as unique as its stamp
        "uptime_us": uptime_us,
        "facility": 1,
        "priority": 4,
        "time": rfc3339_micro(now_ns),
        "node": node,
        "text": text,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _kmsg_bytes(text: str) -> bytes:
    return f"{_PRIORITY}{_checked(text)}\n".encode()


def _checked(text: str) -> str:
    if not text.strip():
        raise ConfigError("nothing to inject: the line is empty", hint="--line TEXT or --xid N")
    if not text.isprintable():
        raise ConfigError(
            "the line holds a line feed or a control character",
            hint="inject one line at a time",
        )
    size = len(text.encode())
    if size > TEXT_LIMIT:
        raise ConfigError(
            f"the line is too long: {size} bytes", hint=f"at most {TEXT_LIMIT} bytes of UTF-8"
        )
    return text
