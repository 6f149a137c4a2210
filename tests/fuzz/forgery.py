"""Can text that a program chose change what a line of the driver says?

The oracle is the head: a line is built from a known code, device and word; names and tails are
hostile; wrapped in any wrapper, it must decode to what the head says and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from parsers import catalog
from parsers.decode import Decoder
from parsers.fault import Fault, Remedy, Severity
from parsers.record import unwrap
from tests.fuzz.lines import require
from tests.fuzz.mutation import Choices
from tests.support.wrapped_lines import WRAPPERS

_XID_HEADS = (
    ("NVRM: Xid (PCI:0000:3b:00): ", "0000:3b:00"),
    ("Xid (PCI:0000:3b:00): ", "0000:3b:00"),
    ("NVRM: Xid (0000:3b:00): ", "0000:3b:00"),
    ("NVRM: XID (PCI:0000:3B:00.0): ", "0000:3b:00"),
    ("NVRM: Xid (PCI:00000000:3b:00): ", "0000:3b:00"),
    ("NVRM: Xid (PCI:000d:00:00 GPU-I:05): ", "000d:00:00"),
    ("NVRM: Xid (PCI:0009:01:00 GPU-I:05 GPU-CI:02): ", "0009:01:00"),
)
_UNLISTED = (0, 178, 999, 4_000_000_000)
# The driver's own words, told by a line whose name is innocent; a name must not change them.
_OWN_WORDS = (
    (154, "GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"),
    (154, "GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"),
    (74, "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"),
    (145, "RLW_RXPIPE Nonfatal XC0 i0 Link 12 (0x040980c2 0x00000008 0x00000001 0x0 0x0 0x0)"),
    (149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6 0x00000000 0x00000000 0x00000000)"),
    (160, "Marking LTS 1 in FPB 2 for repair. A GPU reset is required to complete it"),
)
_READ = (74, *range(144, 151), 154, 160)  # codes whose text may change severity or remedy
_BODY = "Ch 00000008, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC0"
_COMM_BYTES = 15
_ON_GPUS = ("xid/", "sxid/", "kernel/gpu-lost")


_GPUS = ("0000:3b:00", "0000:af:00")
_LOST = (
    "NVRM: The NVIDIA GPU {}.0 (PCI ID: 10de:2330)",
    "NVRM: installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
)


@dataclass(frozen=True)
class Expected:
    """What the head says."""

    fault_id: str
    device: str
    severity: Severity
    remedy: Remedy


def xids(data: bytes) -> None:
    """An Xid line with a hostile process name or tail."""
    choices = Choices(data)
    wrap = choices.one(tuple(WRAPPERS.values()))
    head, device = choices.one(_XID_HEADS)
    code = choices.one(_codes())
    place = choices.number(5)
    own = choices.number(len(_OWN_WORDS))
    text = choices.rest()
    name = _comm(text)
    if place == 0:
        line = f"{head}{code}, pid=7, name={name}, {_BODY}"
    elif place == 1 and code not in _READ:
        line = f"{head}{code}, pid=7, name=x, {text}"
    elif place == 2 and code not in _READ:
        line = f"{head}{code}, {text}"
    elif place == 3 and code not in _READ:
        line = f"{head}{code} {text}"
    else:
        code, words = _OWN_WORDS[own]
        line = f"{head}{code}, pid='<unknown>', name={name}, {words}"
        severity, remedy = _by_own_words(own)
        _decodes(wrap(line), Expected(f"xid/{code}", device, severity, remedy))
        return
    _decodes(wrap(line), _from_catalog(code, device))


def sxids(data: bytes) -> None:
    """An SXid line with a hostile tail: the driver's word counts, else the catalog."""
    choices = Choices(data)
    wrap = choices.one(tuple(WRAPPERS.values()))
    entry = choices.one(tuple(catalog.sxids().values()))
    word = choices.number(4)
    text = choices.rest()
    head = f"nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): {entry.code}, "
    if word == 0:
        line, severity = f"{head}Fatal, Link 30 {text}", Severity.FATAL
    elif word == 1:
        line, severity = f"{head}Non-fatal, Link 30 {text}", entry.nonfatal
    elif word == 2:
        line, severity = f"{head}Correctable, Link 30 {text}", Severity.INFO
    else:
        line, severity = f"{head}x {text}", entry.severity
    fault = _only(wrap(line))
    told = (fault.fault_id, fault.device, fault.severity)
    require(told == (f"sxid/{entry.code}", "0000:c3:00", severity), f"{told} for {line[:300]!r}")


def quotations(data: bytes) -> None:
    """A line that only quotes the driver tells nothing of a GPU; a pod line never does."""
    choices = Choices(data)
    wrap = choices.one(tuple(WRAPPERS.values()))
    before = choices.one(("x ", "saw ", "app[7]: ", "usb 1-1: ", "'", "audit: "))
    record = unwrap(wrap(before + choices.rest()))
    decoder = Decoder()
    faults = decoder.feed(record)
    told = [fault.fault_id for fault in faults if fault.fault_id.startswith(_ON_GPUS)]
    require(not told, f"{told} for a quotation")
    told = [fault.fault_id for fault in decoder.feed_pod(record)]
    require(not any(each.startswith(_ON_GPUS) for each in told), f"{told} for a pod line")


def lost_gpus(data: bytes) -> None:
    """GPUs of several nodes lost in three records each, other lines in between: each is told of
    once, of its node, whatever stands between the records."""
    choices = Choices(data)
    left = {f"n{node}": [(gpu, part) for gpu in range(2) for part in range(3)] for node in range(3)}
    noise = choices.one(("x ", "usb 1-1: ", "NVRM: Xid (PCI:0000:01:00): 31, pid=7, name="))
    order = [choices.number(4) for _ in range(24)]
    between = noise + choices.rest()[:2000]
    decoder = Decoder()
    told: list[tuple[str, str]] = []
    for second, turn in enumerate(order + [node for node in range(3) for _ in range(6)]):
        node, line = f"n{turn % 3}", between
        if turn < 3 and left[node]:
            gpu, part = left[node].pop(0)
            line = _LOST[part].format(_GPUS[gpu])
        for fault in decoder.feed(unwrap(line), node, (second + 1) * 500_000_000):
            if fault.fault_id == "kernel/gpu-lost":
                told.append((fault.node, fault.device))
    expected = [(f"n{node}", device) for node in range(3) for device in _GPUS]
    require(sorted(told) == expected, f"{told} with {between[:300]!r} in between")


def _decodes(line: str, expected: Expected) -> None:
    fault = _only(line)
    told = Expected(fault.fault_id, fault.device, fault.severity, fault.remedy)
    require(told == expected, f"{told} instead of {expected} for {line[:300]!r}")


def _only(line: str) -> Fault:
    faults = Decoder().feed(unwrap(line))
    require(len(faults) == 1, f"{len(faults)} faults for {line[:300]!r}")
    return faults[0]


def _comm(text: str) -> str:
    """As much of it as the kernel keeps of a process name."""
    name = ""
    size = 0
    for character in text.replace("\x00", ""):
        size += len(character.encode("utf-8", "surrogatepass"))
        if size > _COMM_BYTES:
            break
        name += character
    return name


def _from_catalog(code: int, device: str) -> Expected:
    entry = catalog.xids().get(code)
    if entry is None:
        return Expected(f"xid/{code}", device, Severity.UNKNOWN, Remedy.NONE)
    return Expected(f"xid/{code}", device, entry.severity, entry.remedy)


@cache
def _codes() -> tuple[int, ...]:
    return (*catalog.xids(), *_UNLISTED)


@cache
def _by_own_words(own: int) -> tuple[Severity, Remedy]:
    code, words = _OWN_WORDS[own]
    fault = _only(f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=7, name=python3, {words}")
    return fault.severity, fault.remedy
