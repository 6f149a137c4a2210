"""Which Xid does a kernel message report, about which GPU, and how bad is it?

Code and device come from the head, which is anchored at the start of the message; severity
from the catalog, or from the driver's own word where the code defers to it. The process name
is text that any program may choose: it is told as detail and decides nothing.
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
    r"(?:NVRM: |nvrm: )?(?:Xid|XID|xid) \(([^()]{1,64})\): ([0-9]{1,10})(?=,|[ \t]|\.?\Z)"
)
_INSIDE = re.compile(
    r"((?:PCI:)?[0-9a-fA-F:.]{4,20})"
    r"(?: \[?GPU-I:([0-9]{1,3})\]?(?: \[?GPU-CI:([0-9]{1,3})\]?)?)?"
)
_PID = re.compile(r"pid='?(?:<unknown>|([0-9]{1,10}))'?")
_COMM_LENGTH = 15  # the kernel's TASK_COMM_LEN without its final zero

_RECOVERY = re.compile(
    r"GPU recovery action changed from 0x([0-9a-fA-F]{1,8}) \([^()]{0,64}\)"
    r" to 0x([0-9a-fA-F]{1,8}) \(([^()]{0,64})\)"
)
#: Values of Xid 154 (docs/reference/faults.md): the driver's directive.
_DIRECTIVES = {
    0: (Severity.INFO, Remedy.NONE),
    1: (Severity.FATAL, Remedy.RESET_GPU),
    2: (Severity.FATAL, Remedy.REBOOT),
    3: (Severity.DEGRADED, Remedy.DRAIN_INSPECT),
    4: (Severity.FATAL, Remedy.DRAIN_RESET),
    5: (Severity.DEGRADED, Remedy.INSPECT),
}
_NVLINK4 = re.compile(
    r"NVLink: (non-?)?fatal error(?: detected on link ([0-9]{1,3}))?", re.IGNORECASE
)
_NVLINK5 = re.compile(
    r"([A-Za-z0-9_/]{1,48}(?: [A-Za-z]{1,16})?) {1,8}(Fatal|Non-?fatal)"
    r"(?:\Z| {1,8}XC ?[0-9]{1,2}(?: i ?([0-9]{1,2}))?(?: {1,4}Link (-?[0-9]{1,3}))?)",
    re.IGNORECASE,
)
_ROOT = re.compile(r"previous Xid:? ([0-9]{1,5})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Line:
    code: int
    body: str  # what the driver says after pid and name; "" when the line ends before
    detail: dict[str, str]


def parse(text: str, catalog: Mapping[int, Entry]) -> Fault | None:
    """The Fault of one unwrapped kernel message, or None if it is no Xid line.

    An unlisted code, or a numeric code behind an address that cannot be read, gives a Fault
    of severity unknown: visible, and never acting alone.
    """
    head = _HEAD.match(text)
    if head is None:
        return None
    code = int(head[2])
    fault_id = f"xid/{code}"
    inside = _INSIDE.fullmatch(head[1].strip())
    address = normalise(inside[1]) if inside else None
    line = _read(code, text[head.end() :])
    if inside is None or address is None:
        detail = {**line.detail, "address": printable(head[1], 64)}
        return Fault(fault_id, Severity.UNKNOWN, Remedy.NONE, detail=detail)
    for name, value in (("function", address.function), ("mig", inside[2]), ("ci", inside[3])):
        if value:
            line.detail[name] = value
    severity, remedy = _judge(line, catalog.get(code))
    return Fault(fault_id, severity, remedy, device=address.device, detail=line.detail)


def _read(code: int, rest: str) -> _Line:
    """Split what follows the code into pid, process name and the driver's own words."""
    detail: dict[str, str] = {}
    body = rest.removeprefix(",").strip()
    if pid := _PID.match(body):
        if pid[1]:
            detail["pid"] = pid[1]
        body = body[pid.end() :].removeprefix(",").strip()
    if body.startswith("name="):
        name, body = _split_name(body[len("name=") :])
        if name and name != "<unknown>":
            detail["process"] = printable(name, 64)
    return _Line(code, body, detail)


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


def _judge(line: _Line, entry: Entry | None) -> tuple[Severity, Remedy]:
    """The driver's word where there is one, else the catalog, else unknown."""
    if entry is None:
        return Severity.UNKNOWN, Remedy.NONE
    if line.code == 154:
        return _directive(line) or (entry.severity, entry.remedy)
    if line.code == 74:
        return _nvlink4(line) or (entry.severity, entry.remedy)
    if 144 <= line.code <= 150:
        return _nvlink5(line) or (entry.severity, entry.remedy)
    if line.code == 160:
        return entry.severity, _repair(line.body) or entry.remedy
    if line.code == 45 and (root := _ROOT.search(line.body)):
        line.detail["root"] = f"xid/{root[1]}"
    return entry.severity, entry.remedy


def _directive(line: _Line) -> tuple[Severity, Remedy] | None:
    match = _RECOVERY.match(line.body)
    if match is None:
        return None
    before, now = int(match[1], 16), int(match[2], 16)
    line.detail.update({"from": str(before), "to": str(now), "action": printable(match[3], 64)})
    return _DIRECTIVES.get(now, (Severity.UNKNOWN, Remedy.INSPECT))


def _nvlink4(line: _Line) -> tuple[Severity, Remedy] | None:
    match = _NVLINK4.match(line.body)
    if match is None:
        return None
    if match[2]:
        line.detail["link"] = str(int(match[2]))
    return _by_word(nonfatal=bool(match[1]), line=line)


def _nvlink5(line: _Line) -> tuple[Severity, Remedy] | None:
    match = _NVLINK5.match(line.body)
    if match is None:
        return None
    line.detail["unit"] = match[1]
    if match[3] and int(match[3]):
        line.detail["nvlink_injected"] = str(int(match[3]))
    if match[4]:
        line.detail["link"] = str(int(match[4]))
    return _by_word(nonfatal=match[2].lower() != "fatal", line=line)


def _by_word(*, nonfatal: bool, line: _Line) -> tuple[Severity, Remedy]:
    line.detail["word"] = "nonfatal" if nonfatal else "fatal"
    if nonfatal:
        return Severity.DEGRADED, Remedy.INSPECT
    return Severity.FATAL, Remedy.RESET_GPU


def _repair(body: str) -> Remedy | None:
    """Xid 160 says what makes the repair take effect."""
    said = body[:512].lower()
    if "node reboot" in said:
        return Remedy.REBOOT
    return Remedy.RESET_GPU if "gpu reset" in said else None
