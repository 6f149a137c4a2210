"""Which Xid does a kernel message report, about which GPU, and how bad is it?

Code and device come from the head, which is anchored at the start of the message; severity
from the catalog, or from the driver's own word where the code defers to it. The process name
is text that any program may choose: it is told as detail and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from parsers import gsp, nvlink4, nvlink5
from parsers.catalog import Entry, directives
from parsers.device import normalise
from parsers.fault import Fault, Remedy, Severity
from parsers.printable import printable

# Group 1 is the address as the driver prints it, group 2 any other text in the parenthesis, then
# code, pid and whether a process name follows.
_HEAD = re.compile(
    r"(?:NVRM: |nvrm: )?(?:Xid|XID|xid) "
    r"\((?:PCI:([0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f])|([^()]{1,64}))\): "
    r"([0-9]{1,10})(?=,|[ \t]|\.?\Z)"
    # Pid and process name; all of it may be missing, so that it never decides about the head.
    r",?[ \t]*(?:pid='?(?:<[^<>,]{1,16}>|([0-9]{1,10}))'?,?[ \t]*)?(name=)?"
)
_INSIDE = re.compile(
    r"((?:PCI:)?[0-9a-fA-F:.]{4,20})"
    r"(?: \[?GPU-I:([0-9]{1,3})\]?(?: \[?GPU-CI:([0-9]{1,3})\]?)?)?"
)
# A head this short fits into a process name, with which some of the kernel's messages begin; and
# what is behind a line feed in one is a line of its own in /proc/kmsg and syslog(2). The driver's
# own heads are longer.
_FORGEABLE = 15
# Behind a short name the driver's channel fits into the bound on names as well.
_CHANNEL = re.compile(r", Ch [0-9a-f]{8}\Z")
_COMM_LENGTH = 15  # the kernel's TASK_COMM_LEN without its final zero

_RECOVERY = re.compile(
    r"GPU recovery action changed from 0x([0-9a-fA-F]{1,8}) \([^()]{0,64}\)"
    r" to 0x([0-9a-fA-F]{1,8}) \(([^()]{0,64})\)"
)
_SM = re.compile(
    r"Graphics SM [A-Za-z ]{1,40}\(GPC ([0-9]{1,3}), TPC ([0-9]{1,3})(?:, SM ([0-9]{1,3}))?\)"
)
_MMU = re.compile(
    r"MMU Fault: ENGINE ([A-Z0-9_]{1,16})(?: GPC([0-9]{1,3}))?(?: ([A-Z0-9_]{1,32}))? faulted"
    r"(?: @ 0x[0-9a-fA-F_]{1,20}\. Fault is of type ([A-Z_]{1,40}))?"
)
_TPC = re.compile(r"(?:Retiring|Unable to retire) TPC ([0-9]{1,3}) from GPC ([0-9]{1,3})")
_REPAIR = re.compile(r"Marking (LTS|Channel) ([0-9]{1,3}) in (FPB|FBPA) ([0-9]{1,3})\b")
_ROOT = re.compile(r"previous Xid:? ([0-9]{1,5})\.?\Z", re.IGNORECASE)
_SEARCHED = 512  # characters of a body in which a unit is looked for

#: Severity and remedy that a body tells, or None where the catalog decides.
_Judgement = tuple[Severity, Remedy] | None


def parse(text: str, catalog: Mapping[int, Entry]) -> Fault | None:
    """The Fault of one unwrapped kernel message, or None if it is no Xid line.

    An unlisted code, or a numeric code behind an address that cannot be read, gives a Fault
    of severity unknown: visible, and never acting alone.
    """
    head = _HEAD.match(text)
    if head is None:
        return None
    device, inside, digits, pid, named = head.groups()
    code = int(digits)
    detail: dict[str, str] = {"pid": pid} if pid else {}
    body = text[head.end() :].rstrip()
    if named:
        name, body = _split_name(body)
        if name and name != "<unknown>":
            detail["process"] = printable(_CHANNEL.sub("", name), 64)
    if device is None:
        device = _address(inside, detail)
    entry = catalog.get(code)
    if entry is None or not device or head.end(3) <= _FORGEABLE:
        return Fault(f"xid/{code}", Severity.UNKNOWN, Remedy.NONE, device=device, detail=detail)
    severity, remedy = entry.severity, entry.remedy
    reader = _READERS.get(code)
    if reader is not None and (judged := reader(entry, body, detail)) is not None:
        severity, remedy = judged
    return Fault(entry.fault_id, severity, remedy, device, detail=detail)


def _address(inside: str, detail: dict[str, str]) -> str:
    """The device in the parenthesis, "" when it cannot be read; MIG parts go to ``detail``."""
    match = _INSIDE.fullmatch(inside.strip())
    address = normalise(match[1]) if match else None
    if match is None or address is None:
        detail["address"] = printable(inside, 64)
        return ""
    for name, value in (("function", address.function), ("mig", match[2]), ("ci", match[3])):
        if value:
            detail[name] = value
    return address.device


def _split_name(text: str) -> tuple[str, str]:
    """A process name and what follows. The name may hold any text, ", " too: the separator
    is the last one that the kernel's bound on names allows."""
    text = text.removesuffix(",")
    end = text.rfind(", ", 0, _COMM_LENGTH + 2)
    if end < 0:
        end = text.find(", ")
        if end < 0:
            return text, ""
    # All of it may be the name: too short to tell a name from words, so it decides nothing.
    body = text[end + 2 :].strip() if len(text) > _COMM_LENGTH else ""
    return text[:end], body


def _directive(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    """Xid 154 is an order; the new value counts. A cut line orders nothing."""
    match = _RECOVERY.match(body)
    if match is None:
        return None
    before, now = int(match[1], 16), int(match[2], 16)
    detail.update({"from": str(before), "to": str(now), "action": printable(match[3], 64)})
    known = directives().get(now)
    return (known.severity, known.remedy) if known else (Severity.UNKNOWN, Remedy.INSPECT)


def _unit(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    """Where in the GPU: repeats in the same place are counted together."""
    if match := _SM.match(body):
        detail["gpc"], detail["tpc"] = match[1], match[2]
        if match[3]:
            detail["sm"] = match[3]
    elif match := _MMU.search(body, 0, _SEARCHED):
        detail["engine"] = match[1]
        for name, value in (("gpc", match[2]), ("client", match[3]), ("mmu_fault", match[4])):
            if value:
                detail[name] = value
    return None


def _root(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    """Xid 45 follows another Xid; newer drivers name it at the end of the line."""
    if match := _ROOT.search(body, max(0, len(body) - 32)):
        detail["root"] = f"xid/{int(match[1])}"
    return None


def _retired(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    if match := _TPC.match(body):
        detail["tpc"], detail["gpc"] = match[1], match[2]
    return None


def _repair(entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    """Xid 160 says what makes the repair take effect."""
    if match := _REPAIR.match(body):
        detail["repairs"] = f"{match[1]} {match[2]} in {match[3]} {match[4]}"
    said = body[:_SEARCHED].lower()
    if "node reboot" in said:
        return entry.severity, Remedy.REBOOT
    return (entry.severity, Remedy.RESET_GPU) if "gpu reset" in said else None


def _timeout(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    gsp.tell_timeout(body, detail)
    return None


def _nvlink4(_entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    return nvlink4.judge(body, detail)


def _nvlink5(entry: Entry, body: str, detail: dict[str, str]) -> _Judgement:
    return nvlink5.judge(entry.code, body, detail)


_Reader = Callable[[Entry, str, dict[str, str]], _Judgement]

#: Codes whose lines tell more than the code.
_READERS: dict[int, _Reader] = {
    13: _unit,
    31: _unit,
    45: _root,
    74: _nvlink4,
    119: _timeout,
    **dict.fromkeys(range(144, 151), _nvlink5),
    154: _directive,
    156: _retired,
    157: _retired,
    160: _repair,
}
