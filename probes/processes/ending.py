"""How is a group of processes ended, and what if one does not end?

SIGKILL waits for a process in uninterruptible sleep (state D) until the kernel lets go of it. Such
a one is told, not waited for.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable

from probes.processes.seen import Processes, ProcessId

#: How long a process may take to end after SIGKILL before it counts as stuck.
PATIENCE_S = 0.3
_ROUND_S = 0.01


def end_all(
    processes: Processes,
    find: Callable[[], Iterable[ProcessId]],
    *,
    patience_s: float = PATIENCE_S,
    monotonic: Callable[[], float] = time.monotonic,
) -> tuple[ProcessId, ...]:
    """Kill what ``find`` finds until it finds nothing that lives; returns what did not die.

    It looks again after each round, since a process that was not killed yet may have started
    others meanwhile. Takes at most ``patience_s``, and a round more where new ones still come.
    """
    end = monotonic() + patience_s
    killed: set[ProcessId] = set()
    while True:
        found = set(find())
        for process in found - killed:
            kill(processes, process)
        new = found - killed
        killed |= found
        left = [process for process in killed if processes.alive(process)]
        if not left and not new:
            return ()
        if monotonic() >= end:
            return tuple(sorted(left))
        pause(_ROUND_S)


def kill(processes: Processes, process: ProcessId) -> None:
    """SIGKILL; nothing where it has ended already."""
    if processes.alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)


def pause(seconds: float) -> None:
    """Wait; a signal's handler runs meanwhile."""
    select.select((), (), (), seconds)
