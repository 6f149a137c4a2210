"""How does a test run a server process that starts with a deadline and never outlives pytest?

Invariants: one process group per server; the group ends when stop() is called, when the object
is dropped, and when pytest dies in any way (a watcher in the group holds the other end of a pipe
that only pytest keeps open). Logs go to a file whose tail is part of every error.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.servers import build

# The watcher reads from the pipe that pytest holds: end of file means pytest is gone (or has
# dropped the server), so it kills its whole group. SIGTERM is for the server, not for it.
_WATCHED = """exec 3<&0 </dev/null
(trap '' TERM INT HUP; read -r _ <&3; kill -KILL 0) &
exec 3<&-
exec "$@"
"""
_POLL_S = 0.02
_TAIL_BYTES = 4000


class ServerError(Exception):
    """A server did not start, ended early or was not ready in time; holds its log's tail."""


def missing_binaries(suite: str = "e2e") -> list[str]:
    """Names of the servers that a suite's tests need built first (``make servers``)."""
    return [server.name for server in build.needed(suite) if build.find(server) is None]


def binary(name: str) -> str:
    """Path of a built server. Raises ServerError when it has to be built first."""
    for server in build.SERVERS:
        if server.name == name:
            found = build.find(server)
            if found is not None:
                return str(found)
    raise ServerError(f"{name} is not built: make servers")


def free_port() -> int:
    """A loopback port that nobody listens on now and that no other call hands out.

    Below the ephemeral range: no outgoing connection takes it while its server is restarted.
    A lock file per port, held until this process ends, keeps pytest's workers apart: a port is
    free from being handed out until its server listens.
    """
    lowest = 32768
    with contextlib.suppress(OSError, ValueError):
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
        lowest = int(text.split()[0])
    first, last = (12000, lowest - 1) if lowest > 14000 else (20000, 60000)
    for _ in range(200):
        port = random.SystemRandom().randint(first, last)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _claim(port):
            return port
    raise ServerError("no free loopback port found in 200 attempts")


_claims: list[int] = []  # descriptors of the lock files, open as long as this process lives


def _claim(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"konduktor-health-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _claims.append(descriptor)
    return True


class ServerProcess:
    """One server: start() waits until ready, stop() is SIGTERM then SIGKILL, kill() is SIGKILL.

    ``ready`` is asked every 20 ms; exceptions of the OSError family count as "not yet".
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        *,
        ready: Callable[[], bool],
        start_s: float = 45.0,
        stop_s: float = 10.0,
    ) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        self.started_in_s = 0.0  # how long the last start took until ready
        self._ready = ready
        self._start_s = start_s
        self._stop_s = stop_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server's own process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process id. Raises ServerError when it was never started or has ended."""
        if self._process is None or not self.running:
            raise ServerError(f"{self.name} does not run")
        return self._process.pid

    def start(self, argv: Sequence[str]) -> None:
        """Start and wait until ready. Raises ServerError with the log's tail otherwise."""
        if self.running:
            raise ServerError(f"{self.name} runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHED, "sh", *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.directory)},
                start_new_session=True,
            )
        try:
            self._wait(began + self._start_s)
        except BaseException:
            self.kill()
            raise
        self.started_in_s = time.monotonic() - began

    def _wait(self, deadline: float) -> None:
        pause = threading.Event()
        while not self._is_ready():
            if not self.running:
                raise ServerError(f"{self.name} ended while starting\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.name} was not ready within {self._start_s:g} s\n{self.log_tail()}"
                )
            pause.wait(_POLL_S)

    def _is_ready(self) -> bool:
        try:
            return self.running and self._ready()
        except OSError:  # requests' exceptions are OSErrors too
            return False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after ``stop_s``. Nothing happens when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL at once: a crash."""
        self._end(signal.SIGKILL)

    def _end(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.send_signal(first)
            process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(self._stop_s)
        finally:
            # The watcher is still in the group, so its number cannot be anybody else's yet.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdin is not None:
                process.stdin.close()

    def log_tail(self) -> str:
        """The last few kilobytes of the log, with the file's name."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return f"--- end of {self.log.name}\n{text}"


class Server:
    """The verbs that all servers share."""

    process: ServerProcess

    def argv(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start and wait until ready (ServerError with the log's tail otherwise)."""
        self.process.start(self.argv())

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL: a crash."""
        self.process.kill()

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self.process.running

    @property
    def started_in_s(self) -> float:
        """How long the last start took until ready."""
        return self.process.started_in_s

    def log_tail(self) -> str:
        """The last few kilobytes of its log."""
        return self.process.log_tail()
