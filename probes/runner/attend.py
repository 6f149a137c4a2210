"""What has become of each check that a child runs? The parent's clock and reading.

Invariants: a check's time counts from its ``begin`` on the monotonic clock, and nothing that the
child writes makes it longer. After ``Broken`` nothing is believed of the child any more. A check
that the child was not told to run, or out of turn, breaks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from parsers.printable import printable
from probes.check import CheckSpec, Outcome
from probes.processes.seen import ProcessId
from probes.runner import messages
from probes.runner.messages import GarbageError, LineReader
from probes.runner.process import Child

#: How long a child may take to start, and between two checks.
PAUSE_S = 30.0


@dataclass(slots=True)
class Begun:
    """A check has begun."""

    spec: CheckSpec


@dataclass(slots=True)
class Attended:
    """What is known of a check when it has ended, or when its child broke."""

    spec: CheckSpec
    began: float  # monotonic
    findings: list[dict[str, Any]] = field(default_factory=list)
    keep: dict[str, object] | None = None
    left: list[ProcessId] = field(default_factory=list)
    ended: float = 0.0  # monotonic


@dataclass(slots=True)
class Broken:
    """The child is of no more use: late, ended, or not to be understood."""

    check: Attended | None  # the one that was running
    outcome: Outcome
    why: str


class Attendance:
    """Of one child. ``stopped`` is asked whenever ``waker`` is readable, and in between."""

    def __init__(
        self,
        child: Child,
        specs: Sequence[CheckSpec],
        *,
        monotonic: Callable[[], float],
        waker: int,
        stopped: Callable[[], bool],
    ) -> None:
        self._child, self._todo = child, list(specs)
        self._monotonic, self._waker, self._stopped = monotonic, waker, stopped
        self._running: Attended | None = None
        self.backend, self.fake = "", False

    def events(self) -> Iterator[Begun | Attended | Broken]:
        """Until the child has told the end of its run, broke, or the run was stopped."""
        lines, end = LineReader(), self._monotonic() + PAUSE_S
        while not self._stopped():
            left = end - self._monotonic()
            if left <= 0:
                yield self._late()
                return
            piece = self._child.read(left, self._waker)
            if piece is None:
                yield Broken(self._running, Outcome.ERROR, self._child.last_words())
                return
            try:
                for line in lines.feed(piece):
                    message = messages.decode(line)
                    if message["m"] == "end" and not self._todo and self._running is None:
                        return
                    event = self._take(message)
                    if event is not None:
                        yield event
                        allowed = event.spec.deadline_s if isinstance(event, Begun) else PAUSE_S
                        end = self._monotonic() + allowed
            except GarbageError as error:
                why = f"its process wrote {printable(str(error), 120)}"
                yield Broken(self._running, Outcome.ERROR, why)
                return

    def _take(self, message: dict[str, Any]) -> Begun | Attended | None:
        kind, running = message["m"], self._running
        if kind == "begin":
            if running is not None or not self._todo or self._todo[0].name != message["check"]:
                raise GarbageError("a check out of turn")
            spec = self._todo.pop(0)
            self._running = Attended(spec, self._monotonic())
            return Begun(spec)
        if running is None:
            raise GarbageError(f"{kind} while no check is running")
        if kind == "backend":
            self.backend, self.fake = printable(message["name"], 64), message["fake"]
        elif kind == "finding":
            if len(running.findings) > messages.MOST_FINDINGS:
                raise GarbageError("too many findings")
            running.findings.append(message["finding"])
        elif kind == "left":
            running.left = [_process(each) for each in message["processes"]]
        elif kind == "keep":
            running.keep = message["keep"]
        elif kind == "done":
            running.ended, self._running = self._monotonic(), None
            return running
        else:
            raise GarbageError(f"{kind} out of turn")
        return None

    def _late(self) -> Broken:
        running = self._running
        if running is None:
            return Broken(None, Outcome.ERROR, f"its process did nothing for {PAUSE_S:g} s")
        running.ended = self._monotonic()
        why = f"did not end within {running.spec.deadline_s:g} s"
        return Broken(running, Outcome.TIMEOUT, why)


def _process(value: object) -> ProcessId:
    if not isinstance(value, list) or len(value) != 2 or not all(type(n) is int for n in value):
        raise GarbageError("a process that is none")
    return ProcessId(*value)
