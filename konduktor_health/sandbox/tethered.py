"""Run a module as a program that ends with whoever started it.

``python -m konduktor_health.sandbox.tethered STARTER MODULE ARGUMENT...``: the kernel sends SIGTERM
when the thread that started this process ends, in whatever way (prctl(2), PR_SET_PDEATHSIG). So a
demo that was killed leaves no agents behind.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str], starter: int) -> None:
    """Become the module. ``starter``: process id of whoever started this."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != starter:  # it has ended before it could be watched
        return
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[2:], int(sys.argv[1]))
