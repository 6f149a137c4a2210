"""Who does the asking? A dispatcher that finds what is due, and a bounded number of workers.

Invariants: what is urgent is done first, else first come, first served; an error of one task is
told and costs that task alone; all threads are daemons and end with ``stop``.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from loguru import logger

from konduktor_health.clock import Clock

_LOOK_S = 1.0


class Crew:
    """Threads that work off names. ``wake`` and ``put`` may be called from any thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        workers: int,
        find: Callable[[], float],
        work: Callable[[str], None],
        failed: Callable[[str], None],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        """``find``: puts what is due, and returns when to look again (monotonic seconds).
        ``failed``: what ``work`` raised for. ``end``: called once at the end."""
        self._clock = clock
        self._workers = workers
        self._find = find
        self._work = work
        self._failed = failed
        self._end = end
        self._woken = threading.Event()
        self._tasks: queue.PriorityQueue[tuple[int, int, str]] = queue.PriorityQueue()
        self._order = 0

    def start(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        threading.Thread(target=self._look, args=(stop,), name="agents-due", daemon=True).start()
        for number in range(self._workers):
            threading.Thread(
                target=self._do, args=(stop,), name=f"agents-{number}", daemon=True
            ).start()

    def wake(self) -> None:
        """Look for what is due now."""
        self._woken.set()

    def put(self, name: str, *, urgent: bool) -> None:
        """Have this done. Only ``find`` may call it."""
        self._order += 1
        self._tasks.put((0 if urgent else 1, self._order, name))

    def _look(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            next_s = self._clock.monotonic() + _LOOK_S
            try:
                next_s = min(next_s, self._find())
            except Exception as error:  # a bug must not end the asking unseen
                logger.opt(exception=error).error(f"bug: agents are not looked for: {error!r}")
            self._clock.wait(self._woken, max(0.0, next_s - self._clock.monotonic()))
        for _ in range(self._workers):
            self._tasks.put((-1, 0, ""))
        self._end()

    def _do(self, stop: threading.Event) -> None:
        while not stop.is_set():
            urgency, _, name = self._tasks.get()
            if urgency < 0:
                return
            try:
                self._work(name)
            except Exception as error:
                logger.bind(node=name).opt(exception=error).error(f"bug: agent left: {error!r}")
                self._failed(name)
