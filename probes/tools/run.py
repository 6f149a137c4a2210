"""How is a program run so that it ends, and what did it say?

Invariants: a program that is late is killed with its descendants; what a program that ended in time
has left behind is the runner's to end, after the check. Output is bounded. The locale is C, so that
a parser knows the words.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping

from probes.check import ToolOutput
from probes.errors import CheckError, ToolMissing, ToolTimeout
from probes.processes.ending import end_all
from probes.processes.seen import Processes

#: Most bytes of standard output, and of standard error, that are kept.
OUTPUT_LIMIT = 8 * 1024 * 1024
#: Where programs are looked for when the environment does not say.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LOOK_S = 0.05  # how often the end of the program is looked for while its pipes are open
_PIECE = 64 * 1024


class ProgramTool:
    """Runs programs, in the process group of the caller. It is a ``probes.check.Tool``."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        processes: Processes | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        output_limit: int = OUTPUT_LIMIT,
    ) -> None:
        self._path = environ.get("PATH") or DEFAULT_PATH
        kept = {name: value for name, value in environ.items() if name != "LANGUAGE"}
        self._environ = {**kept, "PATH": self._path, "LC_ALL": "C"}
        self._processes = processes or Processes()
        self._monotonic = monotonic
        self._output_limit = output_limit

    def __call__(
        self, arguments: tuple[str, ...], *, deadline_s: float, input_text: str = ""
    ) -> ToolOutput:
        """Run a program; ``arguments[0]`` is looked for in PATH unless it has a slash.

        Output beyond the limit is read and dropped. Raises ToolMissing (it says where it was
        looked for), ToolTimeout (it was killed), CheckError (it cannot be started).
        """
        end = self._monotonic() + deadline_s
        process = self._start(arguments)
        talk = _Talk(process, input_text.encode("utf-8", "replace"), self._output_limit)
        try:
            in_time = self._until(end, process, talk)
        finally:
            if process.poll() is None:
                self._end(process)
            talk.close()
        if not in_time:
            said = (talk.stderr() or talk.stdout()).strip()[-200:]
            what = f"{arguments[0]} did not end within {deadline_s:g} s"
            raise ToolTimeout(f"{what}; it said: {said}" if said else what)
        return ToolOutput(process.returncode, talk.stdout(), talk.stderr())

    def _start(self, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        import shutil  # with its archives it takes 5 ms to load; most checks run no program

        program = shutil.which(arguments[0], path=self._path)
        if program is None:
            where = "" if "/" in arguments[0] else f" in {self._path}"
            raise ToolMissing(f"there is no program {arguments[0]}{where}")
        try:
            return subprocess.Popen(  # noqa: S603 - no shell; what to run is the check's to say
                [program, *arguments[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environ,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise CheckError(f"{program} cannot be started: {error}") from error

    def _until(self, end: float, process: subprocess.Popen[bytes], talk: _Talk) -> bool:
        """Talk with it until it has ended (True) or its time is over (False)."""
        while (left := end - self._monotonic()) > 0:
            if process.poll() is not None:
                # What is in the pipes now is all: whoever else holds them is not waited for.
                while talk.go_on(0) and self._monotonic() < end:
                    pass
                return True
            if talk.is_open():
                talk.go_on(min(left, _LOOK_S))
            else:
                _wait(process, min(left, _LOOK_S))
        return False

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End it and its descendants; those that do not end are left to the runner."""
        it = self._processes.identify(process.pid)
        known = [] if it is None else [it]
        # Seen before it ends: its children are nobody's descendants after that.
        known += self._processes.descendants(process.pid)
        end_all(self._processes, lambda: known, monotonic=self._monotonic)
        process.poll()


class _Talk:
    """The three pipes of a program."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, limit: int) -> None:
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise ValueError("a program without pipes")
        self._stdin, self._stdout, self._stderr = stdin.fileno(), stdout.fileno(), stderr.fileno()
        self._pipes = {pipe.fileno(): pipe for pipe in (stdin, stdout, stderr)}
        self._given, self._limit = given, limit
        self._heard = {self._stdout: bytearray(), self._stderr: bytearray()}
        self._selector = selectors.DefaultSelector()
        for fd in self._pipes:
            os.set_blocking(fd, False)
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)
        self._selector.register(self._stdin, selectors.EVENT_WRITE)

    def go_on(self, seconds: float) -> bool:
        """Read and write what goes, waiting for at most ``seconds``; False: nothing went."""
        ready = [key.fd for key, _ in self._selector.select(seconds)]
        for fd in ready:
            if fd == self._stdin:
                self._write()
            else:
                self._read(fd)
        return bool(ready)

    def is_open(self) -> bool:
        """Whether there is still something to read or write."""
        return bool(self._selector.get_map())

    def stdout(self) -> str:
        """What it has said so far."""
        return self._heard[self._stdout].decode("utf-8", "replace")

    def stderr(self) -> str:
        """What it has complained of so far."""
        return self._heard[self._stderr].decode("utf-8", "replace")

    def close(self) -> None:
        """Close what is open."""
        self._selector.close()
        for pipe in self._pipes.values():
            pipe.close()

    def _write(self) -> None:
        try:
            self._given = self._given[os.write(self._stdin, self._given[:_PIECE]) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read, or has ended
            self._given = b""
        if not self._given:
            self._shut(self._stdin)

    def _read(self, fd: int) -> None:
        try:
            piece = os.read(fd, _PIECE)
        except BlockingIOError:
            return
        if not piece:
            self._shut(fd)
            return
        heard = self._heard[fd]
        heard += piece[: self._limit - len(heard)]

    def _shut(self, fd: int) -> None:
        self._selector.unregister(fd)
        self._pipes[fd].close()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
