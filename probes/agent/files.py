"""How does the agent keep something on its disk, so that a damaged file does not damage the agent?

Invariants: a file is replaced whole or not at all; what cannot be read is set aside with a line in
the log, and the agent goes on as if it had never been there; nothing that was set aside fills the
disk. Only the agent writes here: the directory is its own (0700), and one agent holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from parsers.printable import printable
from probes.agent.log import Log
from probes.errors import ProbeError

T = TypeVar("T")

_ASIDE = "aside"
_MOST_ASIDE = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LOCK = "lock"
_POLL_S = 0.1


class StateError(ProbeError):
    """The state directory cannot be used. ``str()`` says why and what to do."""


class StateDir:
    """A directory of small files. Raises StateError when it cannot be made or written."""

    def __init__(self, path: str, log: Log, *, wait_s: float = 0.0) -> None:
        """``wait_s``: how long to wait for another agent to let go of it."""
        self.path = path
        self._log = log
        self._number = 0
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(path, _ASIDE), mode=0o700, exist_ok=True)
            self._lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        except OSError as error:
            raise StateError(
                f"the state directory {path} cannot be used: {error.strerror}"
                " (give another with --state, or mount one that can be written)"
            ) from error
        self._hold(wait_s)

    def sub(self, name: str) -> str:
        """A directory in it, made when it is not there. Raises StateError."""
        folder = os.path.join(self.path, name)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StateError(f"{folder} cannot be made: {error.strerror}") from error
        return folder

    def read(self, name: str, parse: Callable[[bytes], T], *, most_bytes: int) -> T | None:
        """What ``parse`` makes of a file (a path in the directory); None when there is none, or
        when it is damaged: ``parse`` raised ValueError, TypeError or KeyError."""
        path = os.path.join(self.path, name)
        try:
            content = _content(path, most_bytes)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._log.warning("a file of the state cannot be read", file=name, why=error.strerror)
            return None
        if len(content) > most_bytes:
            self.set_aside(path, f"more than {most_bytes} bytes")
            return None
        try:
            return parse(content)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.set_aside(path, str(error) or type(error).__name__)
            return None

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        """Replace a file. ``durable``: it is on the disk when this returns. Raises OSError."""
        path = os.path.join(self.path, name)
        part = f"{path}.part"
        try:
            with open(part, "wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        if durable:
            _sync_directory(os.path.dirname(path))

    def set_aside(self, path: str, why: str) -> None:
        """Move a damaged file away, for a person to look at."""
        self._number += 1
        safe = "".join(_NAME.findall(os.path.basename(path)))[:100]
        target = os.path.join(self.path, _ASIDE, f"{time.time_ns()}-{self._number}-{safe}")
        self._log.warning(
            "a damaged file is set aside", file=path, why=printable(why, 200), now=target
        )
        try:
            os.replace(path, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._drop_oldest_aside()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._lock)

    def _hold(self, wait_s: float) -> None:
        end, pause = time.monotonic() + wait_s, threading.Event()
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() < end:
                    pause.wait(_POLL_S)
                    continue
                os.close(self._lock)
                raise StateError(
                    f"another agent uses the state directory {self.path}"
                    " (end it, or give this one another with --state)"
                ) from error
            return

    def _drop_oldest_aside(self) -> None:
        folder = os.path.join(self.path, _ASIDE)
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder))[:-_MOST_ASIDE]:
                os.unlink(os.path.join(folder, name))


def _content(path: str, most_bytes: int) -> bytes:
    # A link or a pipe in the state directory is not ours: neither followed nor waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        return file.read(most_bytes + 1)


def _sync_directory(path: str) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
