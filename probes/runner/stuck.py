"""Which checks must not be started, since a process of theirs cannot be ended?

Kept in a file, ``{"boot_id": ..., "stuck": [{"check", "pid", "start", "since_ns"}]}``, so that a
restart of the agent does not put a second process beside a hung one. Invariants: what the file says
of another boot counts for nothing; a process that has ended meanwhile is forgotten.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from parsers.printable import printable
from probes.processes.seen import Processes, ProcessId

_MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Stuck:
    """A process that outlived SIGKILL."""

    check: str
    process: ProcessId
    since_ns: int  # Unix nanoseconds


class StuckProcesses:
    """Remembers them, for any thread. ``path`` "": in memory only."""

    def __init__(
        self,
        path: str,
        boot_id: str,
        *,
        processes: Processes,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._path, self._boot_id = path, boot_id
        self._processes, self._log = processes, log
        self._lock = threading.Lock()
        self._stuck = self._read() if path else ()

    def of(self, check: str) -> Stuck | None:
        """The oldest process of a check that still lives."""
        return next((each for each in self.living() if each.check == check), None)

    def living(self) -> tuple[Stuck, ...]:
        """All that still live, oldest first. What has ended is forgotten."""
        with self._lock:
            living = tuple(each for each in self._stuck if self._processes.alive(each.process))
            if living != self._stuck:
                self._stuck = living
                self._write()
            return living

    def names(self) -> tuple[str, ...]:
        """Checks that are not started, each once."""
        return tuple(dict.fromkeys(each.check for each in self.living()))

    def add(self, check: str, processes: Iterable[ProcessId], since_ns: int) -> None:
        """These processes of a check do not end."""
        with self._lock:
            known = {(each.check, each.process) for each in self._stuck}
            new = [Stuck(check, each, since_ns) for each in processes if (check, each) not in known]
            if new:
                self._stuck += tuple(new)
                self._write()

    def _read(self) -> tuple[Stuck, ...]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                content = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._log(f"stuck processes are not known from before: {error}")
            return ()
        try:
            value = json.loads(content)
            if value["boot_id"] != self._boot_id:
                return ()
            return tuple(_stuck(entry) for entry in value["stuck"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = printable(str(error), 100)
            self._log(f"stuck processes are not known from before: {self._path}: {why}")
            return ()

    def _write(self) -> None:
        if not self._path:
            return
        content = {
            "boot_id": self._boot_id,
            "stuck": [
                {
                    "check": each.check,
                    "pid": each.process.pid,
                    "start": each.process.start,
                    "since_ns": each.since_ns,
                }
                for each in self._stuck
            ],
        }
        part = f"{self._path}.{os.getpid()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError as error:  # they are still known here, until a restart
            self._log(f"stuck processes cannot be remembered: {error}")
            with contextlib.suppress(OSError):
                os.unlink(part)


def _stuck(entry: dict[str, object]) -> Stuck:
    check, numbers = entry["check"], (entry["pid"], entry["start"], entry["since_ns"])
    pid, start, since_ns = (n for n in numbers if type(n) is int and n >= 0)
    if not isinstance(check, str):
        raise TypeError("check is no text")
    return Stuck(check, ProcessId(pid, start), since_ns)
