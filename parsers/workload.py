"""Which faults do programs, and the kernel on behalf of programs, report in plain words?

Rules are literal texts, so that the server-side filter is the rule. A pod line accuses nobody
by itself: its Fault is of severity application and asks for no remedy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers.fault import Fault, Remedy, Severity


@dataclass(frozen=True, slots=True)
class PodRule:
    """A text that a pod prints, anywhere in a line, and what it is called."""

    literal: str
    fault_id: str


#: In order: the first rule that fits names the Fault.
POD_RULES: tuple[PodRule, ...] = (
    PodRule("invalid device ordinal", "workload/invalid-device-ordinal"),
)

_PEERMEM = re.compile(
    r"nvidia-peermem nv_get_p2p_free_callback:[0-9]{1,6} ERROR detected invalid context"
)


def parse_pod(text: str) -> Fault | None:
    """The Fault of one unwrapped pod-log line, or None."""
    for rule in POD_RULES:
        if rule.literal in text:
            return Fault(rule.fault_id, Severity.APPLICATION, Remedy.NONE)
    return None


def parse_kernel(text: str) -> Fault | None:
    """nvidia-peermem was told to free memory of a process that is gone: harmless by itself."""
    if _PEERMEM.match(text):
        return Fault("kernel/peermem-invalid-context", Severity.INFO, Remedy.NONE)
    return None
