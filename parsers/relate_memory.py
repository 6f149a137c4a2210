"""What do the memory faults of one GPU come to? Row remapping and error containment.

The faults since the last reset count together, in any order: what a reset activates stays pending
until then. Sources: NVIDIA's Xid workbook (WORKFLOW_XID_48, buckets of 63, 64, 94, 95, 140) and
docs/design/relations.md.
"""

from __future__ import annotations

from parsers.fault import Fault, Remedy, Severity
from parsers.finding import Finding, Kind
from parsers.instant import Recent

#: Faults that count together.
ABOUT_MEMORY = frozenset(f"xid/{code}" for code in (48, 63, 64, 94, 95, 140, 160, 171, 172, 177))
#: Of this one what the line says counts too.
_SPEAKS = "xid/160"
_DEVICES = 64  # GPUs of one node that are remembered

_Comes = tuple[Severity, Remedy, str]


class MemoryFaults:
    """The memory faults of the GPUs of one node since their last reset."""

    def __init__(self) -> None:
        self._gpus: Recent[str, dict[str, Fault]] = Recent(_DEVICES)

    def forget(self) -> None:
        """A reset or a reboot was seen: nothing is pending any more."""
        self._gpus = Recent(_DEVICES)

    def feed(self, fault: Fault) -> list[Finding]:
        """What the faults come to, where this one changes it."""
        if fault.fault_id not in ABOUT_MEMORY or not fault.device:
            return []
        faults = self._gpus.get(fault.device)
        if faults is None:
            faults = {}
            self._gpus.put(fault.device, faults)
        elif fault.fault_id in faults and fault.fault_id != _SPEAKS:
            faults[fault.fault_id] = fault  # what they come to rests on which there are
            return []
        before = comes_to(faults) if faults else None
        faults[fault.fault_id] = fault
        now = comes_to(faults)
        return [] if now == before else [Finding(Kind.MEMORY, fault, *now)]


def comes_to(faults: dict[str, Fault]) -> _Comes:
    """Severity, remedy and the reason, of the memory faults of one GPU by fault id."""

    def any_of(*codes: int) -> bool:
        return any(f"xid/{code}" in faults for code in codes)

    if any_of(64):
        first = Remedy.DRAIN_RESET if any_of(48) else Remedy.RESET_GPU
        why = "a memory repair failed (Xid 64): reset, and have the GPU inspected if it returns"
        return Severity.FATAL, first, f"{why}{'; drain first, for Xid 48' if any_of(48) else ''}"
    if any_of(48) and any_of(63, 177):
        why = "uncorrectable error, and its repair waits for a reset: drain first, then reset"
        return Severity.FATAL, Remedy.DRAIN_RESET, why
    if any_of(95):
        why = "not contained: any program on this GPU may be hit; stop them all, then reset"
        return Severity.FATAL, Remedy.RESET_GPU, why
    if any_of(140):
        why = "an uncorrectable error was seen late: results since then may be wrong; reset"
        return Severity.FATAL, Remedy.RESET_GPU, why
    if any_of(48, 171, 172):
        flag = "; SRAM: look at the threshold flag, then field diagnostics" * any_of(172)
        why = f"uncorrectable error, no repair recorded: reset{flag}"
        return Severity.FATAL, Remedy.RESET_GPU, why
    if any_of(94):
        why = "contained: only the program that was hit ends; restart it, reset when idle"
        return Severity.DEGRADED, Remedy.DRAIN_RESET, why
    if any_of(160):
        return _marked(faults[_SPEAKS])
    why = "a memory repair waits for the next reset: reset when idle, evict nothing"
    return Severity.DEGRADED, Remedy.DRAIN_RESET, why


def _marked(fault: Fault) -> _Comes:
    """Xid 160 says itself what activates the repair."""
    what = fault.detail.get("repairs", "a part of the memory")
    if fault.remedy is Remedy.REBOOT:
        why = f"{what} is marked for repair: reboot the node when it is idle"
        return fault.severity, Remedy.REBOOT, why
    why = f"{what} is marked for repair: reset when idle"
    return fault.severity, Remedy.DRAIN_RESET, why
