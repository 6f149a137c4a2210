"""Which processes are there, and which descend from one of them? Read from /proc.

Invariants: a process is named by its number and its start time, so that a number which was given
away again is another process. One that has ended but was not yet waited for counts as gone; one
whose first thread has ended while another is stuck in the kernel does not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

_GONE = "ZX"  # states of /proc/PID/stat: zombie, dead


class ProcessId(NamedTuple):
    """A process of this boot."""

    pid: int
    start: int  # clock ticks after boot: field 22 of /proc/PID/stat (proc_pid_stat(5))


class _Stat(NamedTuple):
    parent: int
    state: str
    start: int


class Processes:
    """A view of /proc. Each answer is of the moment it is asked for."""

    def __init__(self, folder: str = "/proc") -> None:
        self._folder = folder

    def identify(self, pid: int) -> ProcessId | None:
        """None: there is no such process."""
        stat = self._stat(pid)
        return None if stat is None else ProcessId(pid, stat.start)

    def alive(self, process: ProcessId) -> bool:
        """Whether it has not ended."""
        stat = self._stat(process.pid)
        return stat is not None and stat.start == process.start and self._lives(process.pid, stat)

    def descendants(self, pid: int) -> tuple[ProcessId, ...]:
        """Living children of a process, their children, and so on; not itself."""
        children: dict[int, list[int]] = {}
        stats = dict(self._all())
        for each, stat in stats.items():
            children.setdefault(stat.parent, []).append(each)
        found: list[ProcessId] = []
        waiting = list(children.get(pid, ()))
        while waiting:
            each = waiting.pop()
            waiting += children.get(each, ())
            if self._lives(each, stats[each]):
                found.append(ProcessId(each, stats[each].start))
        return tuple(found)

    def carriers(self, variable: str) -> Iterator[tuple[ProcessId, str]]:
        """Living processes that were started with an environment variable, and its value. Those
        of other users cannot be read, unless by root."""
        name = variable.encode() + b"="
        for pid, stat in self._all():
            try:
                with open(f"{self._folder}/{pid}/environ", "rb") as file:
                    content = file.read(1024 * 1024)
            except OSError:
                continue
            for entry in content.split(b"\0"):
                if entry.startswith(name) and self._lives(pid, stat):
                    yield ProcessId(pid, stat.start), entry[len(name) :].decode("utf-8", "replace")
                    break

    def _all(self) -> Iterator[tuple[int, _Stat]]:
        for name in os.listdir(self._folder):
            if name.isdigit() and (stat := self._stat(int(name))) is not None:
                yield int(name), stat

    def _stat(self, pid: int) -> _Stat | None:
        try:
            with open(f"{self._folder}/{pid}/stat", "rb") as file:
                content = file.read(4096)
        except OSError:
            return None
        # The name, in brackets, may hold blanks and brackets itself.
        fields = content[content.rfind(b")") + 1 :].split()
        try:
            return _Stat(int(fields[1]), fields[0].decode("ascii"), int(fields[19]))
        except (IndexError, ValueError):
            return None

    def _lives(self, pid: int, stat: _Stat) -> bool:
        if stat.state not in _GONE:
            return True
        try:
            return len(os.listdir(f"{self._folder}/{pid}/task")) > 1
        except OSError:
            return False
