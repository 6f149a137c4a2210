"""How does the process end? SIGTERM and SIGINT set an event; a hard deadline stands behind it.

Every wait in the program is on that event, so the end takes milliseconds; the deadline is for
a call that hangs in the kernel or a library. It lies below Kubernetes' grace period.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

DEADLINE_S = 4.0  # the product's promise is 5 s
HUNG_EXIT_CODE = 70  # EX_SOFTWARE


def on_signal(*events: threading.Event, deadline_s: float = DEADLINE_S) -> Callable[[], None]:
    """Set the events on SIGTERM or SIGINT; end hard when the program has not ended by itself.

    Returns a function that disarms the deadline once everything has been put down.
    """
    ended = threading.Event()

    def watch() -> None:
        if not ended.wait(deadline_s):
            os._exit(HUNG_EXIT_CODE)

    def handle(_signal: int, _frame: object) -> None:
        if not events[0].is_set():
            threading.Thread(target=watch, name="shutdown-deadline", daemon=True).start()
        for event in events:
            event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return ended.set
