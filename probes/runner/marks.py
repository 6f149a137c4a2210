"""Whose run does a process belong to?

Each child, and what it starts, carries a mark in its environment (RUN_VARIABLE): the process that
owns the run and, for a program that a check has started, the check. So what an owner that was
killed has left behind can be found and ended by the next one. A process that clears its environment
is found only while its child lives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from probes.processes.ending import end_all
from probes.processes.seen import Processes, ProcessId
from probes.runner.job import RUN_VARIABLE


@dataclass(frozen=True, slots=True)
class Mark:
    """As text: NAMESPACE/PID/START/NONCE, and /CHECK where there is one."""

    namespace: str  # in which the number of the process counts
    owner: ProcessId
    nonce: str
    check: str = ""

    @classmethod
    def of_this_process(cls, processes: Processes) -> Mark:
        """A new one. Raises OSError: there is no /proc."""
        owner = processes.identify(os.getpid())
        if owner is None:
            raise OSError("this process is not in /proc: the checks need it mounted")
        return cls(_namespace(), owner, os.urandom(4).hex())

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """None: it is no mark."""
        namespace, _, rest = text.partition("/")
        pid, start, nonce, *check = rest.split("/", 3) if rest.count("/") >= 2 else ("", "", "")
        if not (pid.isdecimal() and start.isdecimal() and len(pid + start) < 40):
            return None
        return cls(namespace, ProcessId(int(pid), int(start)), nonce, check[0] if check else "")

    def __str__(self) -> str:
        owner = f"{self.namespace}/{self.owner.pid}/{self.owner.start}/{self.nonce}"
        return f"{owner}/{self.check}" if self.check else owner

    def covers(self, text: str) -> bool:
        """Whether a process with this text is of the same run."""
        other = Mark.parse(text)
        return other is not None and replace(other, check=self.check) == self


def with_check(mark: str, check: str) -> str:
    """The mark of what a check starts."""
    return f"{mark}/{check}"


def end_leftovers(processes: Processes) -> tuple[tuple[str, ProcessId], ...]:
    """End what owners that are gone have left behind; returns what does not end, and its check
    ("" where that is not known)."""
    here = _namespace()
    found: dict[ProcessId, str] = {}

    def leftovers() -> list[ProcessId]:
        for process, text in processes.carriers(RUN_VARIABLE):
            mark = Mark.parse(text)
            if mark is None or mark.namespace != here or process.pid == os.getpid():
                continue
            if not processes.alive(mark.owner):
                found[process] = mark.check
        return list(found)

    return tuple((found[process], process) for process in end_all(processes, leftovers))


def _namespace() -> str:
    return os.readlink("/proc/self/ns/pid")
