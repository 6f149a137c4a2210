"""How are several effects run at once without anyone having to wait for one that hangs?

Threads are daemons: a call that hangs keeps neither the loop nor the process. What has not been
begun when ``give_up`` says so is not begun; what runs then is waited for a moment longer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

POLL_S = 0.1
GRACE_S = 1.0


class _Batch:
    def __init__(self, count: int) -> None:
        self.lock = threading.Lock()
        self.left = count
        self.cancelled = False
        self.error: BaseException | None = None
        self.over = threading.Event()

    def run(self, job: Callable[[], None]) -> None:
        try:
            if not self.cancelled:
                job()
        except BaseException as error:  # raised again where the batch is waited for
            self.error = self.error or error
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.over.set()


class Writers:
    """A fixed number of threads, started when first needed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: queue.SimpleQueue[tuple[_Batch, Callable[[], None]] | None] = (
            queue.SimpleQueue()
        )
        self._threads: list[threading.Thread] = []

    def run(self, jobs: Sequence[Callable[[], None]], give_up: Callable[[], bool]) -> None:
        """Run all jobs; returns when they are done, or given up. Raises what a job raised."""
        if not jobs or give_up():
            return
        self._start()
        batch = _Batch(len(jobs))
        for job in jobs:
            self._queue.put((batch, job))
        while not batch.over.wait(POLL_S):
            if give_up():
                batch.cancelled = True
                batch.over.wait(GRACE_S)
                break
        if batch.error is not None:
            raise batch.error

    def close(self) -> None:
        """Let the threads end once their jobs are done; nobody is waited for."""
        for _ in self._threads:
            self._queue.put(None)
        self._threads = []

    def _start(self) -> None:
        while len(self._threads) < self._count:
            name = f"writer-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            batch, job = item
            batch.run(job)
