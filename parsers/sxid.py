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

# Groups 2 and 3 are device and function as the driver prints them, group 4 any other text.
_HEAD = re.compile(
    r"(?:nvidia-nvswitch([0-9]{0,4}): )?(?:SXid|SXID|sxid|Sxid) "
    r"\((?:PCI:([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f])\.([0-7])|([^()]{1,64}))\): "
    r"([0-9]{1,10})(?=,|[ \t]|\.?\Z)"
)
_WORD = re.compile(
    r"(fatal|non-?fatal|correctable)\b(?:(?-i:, Link )([0-9]{1,3})\b)?", re.IGNORECASE
)
_INSTANCE = re.compile(r", instance=([0-9]{1,4}), chiplet=([0-9]{1,4})\Z")
_CONTINUATION = re.compile(r"Severity [0-9]|Data \{")


@dataclass(slots=True)
class SxidLine:
    """A Fault, and whether the line only continues an error told before."""

    fault: Fault
    continuation: bool


def parse(text: str, catalog: Mapping[int, Entry]) -> SxidLine | None:
    """What one unwrapped kernel message reports, or None if it is no SXid line."""
    head = _HEAD.match(text)
    if head is None:
        return None
    switch, device, function, inside, digits = head.groups()
    code = int(digits)
    detail: dict[str, str] = {"switch": switch} if switch else {}
    if device is None:
        address = normalise(inside.strip())
        device, function = (address.device, address.function) if address else ("", "")
        if address is None:
            detail["address"] = printable(inside, 64)
    if function:
        detail["function"] = function
    body = text[head.end() :].removeprefix(",").strip()
    severity, remedy = Severity.UNKNOWN, Remedy.NONE
    said = _WORD.match(body)
    continuation = said is None and _CONTINUATION.match(body) is not None
    if not continuation:
        judged = _judge(said, catalog.get(code), detail)
        if device:
            severity, remedy = judged
    fault = Fault(f"sxid/{code}", severity, remedy, device=device, detail=detail)
    return SxidLine(fault, continuation)


def _judge(
    said: re.Match[str] | None, entry: Entry | None, detail: dict[str, str]
) -> tuple[Severity, Remedy]:
    word = ""
    if said is not None:
        printed, link = said.groups()
        detail["word"] = word = printed.lower().replace("-", "")
        if link:
            detail["link"] = str(int(link))
        elif where := _INSTANCE.search(said.string, max(said.end(), len(said.string) - 40)):
            detail["instance"], detail["chiplet"] = where[1], where[2]
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
