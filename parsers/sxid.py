"""Which SXid does an NVSwitch message report, about which switch, and how bad is it?

The severity word that the driver prints outranks the catalog. SXid codes are never looked up
among the Xids, nor the reverse. The driver follows each error with ``Severity`` and ``Data``
lines of the same code: those are continuations, told apart here and folded by the decoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from parsers.catalog import Entry
from parsers.device import normalise
from parsers.fault import Fault, Remedy, Severity
from parsers.printable import printable

_HEAD = re.compile(
    r"(?:nvidia-nvswitch([0-9]{0,4}): )?(?:SXid|SXID|sxid|Sxid) \(([^()]{1,64})\): "
    r"([0-9]{1,10})(?=,|[ \t]|\.?\Z)"
)
_WORD = re.compile(r"(fatal|non-?fatal|correctable)\b", re.IGNORECASE)
_LINK = re.compile(r", Link ([0-9]{1,3})\b")
_CONTINUATION = re.compile(r"Severity [0-9]|Data \{")


@dataclass(frozen=True, slots=True)
class SxidLine:
    """A Fault, and whether the line only continues an error told before."""

    fault: Fault
    continuation: bool


def parse(text: str, catalog: Mapping[int, Entry]) -> SxidLine | None:
    """What one unwrapped kernel message reports, or None if it is no SXid line."""
    head = _HEAD.match(text)
    if head is None:
        return None
    code = int(head[3])
    detail = {"switch": head[1]} if head[1] else {}
    address = normalise(head[2].strip())
    body = text[head.end() :].removeprefix(",").strip()
    if _CONTINUATION.match(body):
        severity, remedy, continuation = Severity.UNKNOWN, Remedy.NONE, True
    else:
        severity, remedy = _judge(body, catalog.get(code), detail)
        continuation = False
    if address is None:
        detail["address"] = printable(head[2], 64)
        severity, remedy = Severity.UNKNOWN, Remedy.NONE
    elif address.function:
        detail["function"] = address.function
    device = address.device if address else ""
    fault = Fault(f"sxid/{code}", severity, remedy, device=device, detail=detail)
    return SxidLine(fault, continuation)


def _judge(body: str, entry: Entry | None, detail: dict[str, str]) -> tuple[Severity, Remedy]:
    match = _WORD.match(body)
    word = match[1].lower().replace("-", "") if match else ""
    if match:
        detail["word"] = word
        if link := _LINK.match(body, match.end()):
            detail["link"] = str(int(link[1]))
    if entry is None:
        return Severity.UNKNOWN, Remedy.NONE
    if word == "fatal":
        reboot = entry.remedy is Remedy.REBOOT  # the code concerns the whole switch
        return Severity.FATAL, Remedy.REBOOT if reboot else Remedy.RESET_GPU
    if word == "nonfatal":
        degraded = entry.nonfatal is Severity.DEGRADED
        return entry.nonfatal, Remedy.INSPECT if degraded else Remedy.NONE
    if word == "correctable":
        return Severity.INFO, Remedy.NONE
    return entry.severity, entry.remedy
