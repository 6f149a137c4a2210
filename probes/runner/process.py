"""How is a child started, listened to, and ended with all that it started?

Invariants: nothing of it is left when ``end`` has returned, but what the kernel does not let go of
(those processes are told), and what another user's processes hide from a parent that is not root.
Reading never waits for a descendant that holds a pipe open.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from parsers.printable import printable
from probes.processes.ending import PATIENCE_S, end_all, pause
from probes.processes.seen import Processes, ProcessId
from probes.runner.job import RUN_VARIABLE, Job
from probes.runner.marks import Mark

_PIECE = 64 * 1024
_NOISE_KEPT = 2048  # bytes of what it wrote on stdout and stderr
_LOOK_S = 0.1  # how often the end of the child is looked for


class Child:
    """A running ``probes.runner.child``, in a session of its own. Close it after ``end``."""

    def __init__(
        self, job: Job, environ: Mapping[str, str], mark: Mark, processes: Processes
    ) -> None:
        """Starts it. ``mark`` is what its descendants carry in RUN_VARIABLE. Raises OSError."""
        self._mark, self._processes = mark, processes
        self._noise, self._noisy = b"", True
        self._ended: set[int] = set()  # descendants that were ended
        order = os.memfd_create("konduktor-probe-job")  # no pipe: it takes the whole at once
        self._messages, messages = os.pipe2(os.O_CLOEXEC)
        self._noises, noises = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._messages, False)
        os.set_blocking(self._noises, False)
        try:
            with os.fdopen(os.dup(order), "wb") as file:
                file.write(job.to_bytes())
            os.lseek(order, 0, os.SEEK_SET)
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                # -P: a file of the working directory is no module of ours.
                [sys.executable, "-P", "-m", "probes.runner.child", str(messages)],
                stdin=order,
                stdout=noises,
                stderr=noises,
                pass_fds=(messages,),
                start_new_session=True,
                env={**environ, RUN_VARIABLE: str(mark)},
            )
        except OSError:
            self.close()
            raise
        finally:
            for fd in (order, messages, noises):
                os.close(fd)
        self._id = processes.identify(self._process.pid)

    def read(self, seconds: float, waker: int) -> bytes | None:
        """A piece of its messages; empty: none within ``seconds``, or ``waker`` is readable;
        None: it has ended, and all that it said was read."""
        poller = select.poll()
        for fd in (self._messages, waker, *([self._noises] if self._noisy else [])):
            poller.register(fd, select.POLLIN)
        ended = self._has_ended()
        wait_s = 0.0 if ended else min(max(seconds, 0.0), _LOOK_S)
        ready = {fd for fd, _ in poller.poll(wait_s * 1000)}
        if self._noises in ready:
            self._hear_noise()
        piece = os.read(self._messages, _PIECE) if self._messages in ready else b""
        if ended and not piece:
            return None
        if not piece and self._messages in ready:
            pause(0.01)  # it has closed the pipe, and will end
        return piece

    def last_words(self) -> str:
        """How it ended, and the end of what it wrote on stdout and stderr."""
        self._hear_noise()
        code = self._process.poll()
        how = "its process has not ended" if code is None else f"its process exited with {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"its process was ended by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += " (the kernel does that when memory runs out)"
        noise = printable(self._noise.decode("utf-8", "replace")[-300:], 300)
        return f"{how}; it wrote: {noise}" if noise else how

    def end(self) -> tuple[ProcessId, ...]:
        """End it and all that it started; returns what outlives SIGKILL, the child included.

        The child is stopped first: it starts nothing more, and stays the one that orphans among
        its descendants come to, until they are found and ended.
        """
        left: set[ProcessId] = set()
        if not self._has_ended():
            self._signal(os.kill, signal.SIGSTOP)
            left |= set(self._end_below())
        # Its number is nobody else's until it is waited for.
        self._signal(os.killpg, signal.SIGKILL)
        if not self.wait(PATIENCE_S) and self._id is not None:
            left.add(self._id)
        # Those that it lost sight of, where it ended by itself.
        left |= set(end_all(self._processes, lambda: self._carriers(left)))
        self.reap()
        return tuple(sorted(left))

    def reap(self) -> bool:
        """Wait for what has ended, without waiting; False: the child itself has not.

        Orphans come to the first process of a container, which may well be this one.
        """
        for pid in self._ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within ``seconds``."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Close the pipes."""
        for fd in (self._messages, self._noises):
            os.close(fd)

    def _end_below(self) -> tuple[ProcessId, ...]:
        def below() -> tuple[ProcessId, ...]:
            found = self._processes.descendants(self._process.pid)
            self._ended |= {process.pid for process in found}
            return found

        return end_all(self._processes, below)

    def _carriers(self, known: set[ProcessId]) -> list[ProcessId]:
        found = self._processes.carriers(RUN_VARIABLE)
        new = [each for each, mark in found if self._mark.covers(mark) and each not in known]
        self._ended |= {process.pid for process in new} - {self._process.pid}
        return new

    def _signal(self, send: Callable[[int, int], None], number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(self._process.pid, number)

    def _has_ended(self) -> bool:
        if self._process.returncode is not None:
            return True
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, options) is not None

    def _hear_noise(self) -> None:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self._noises, _PIECE)
            self._noise = (self._noise + piece)[-_NOISE_KEPT:]
            self._noisy = bool(piece)
