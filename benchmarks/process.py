"""What has a running process used? Memory and CPU time from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.controller import ControllerProcess


def pid_of(controller: ControllerProcess) -> int:
    """Its process id. Raises LookupError when it was not started."""
    if controller.process is None:
        raise LookupError("the controller was not started")
    return controller.process.pid


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """A memory field of /proc/PID/status in MiB: VmRSS now, VmHWM at its highest."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(f"/proc/{pid}/status has no {field}")


def cpu_s(pid: int) -> float:
    """User and system time used so far by all threads, seconds."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
