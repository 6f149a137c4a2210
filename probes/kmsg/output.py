"""What does the node's log stream look like, and how does a line get to stdout?

One JSON object per line, ``{"konduktor":"kmsg","v":1,"kind":...}``; kinds are ``record``,
``heartbeat`` (the stream is alive; carries the boot time) and ``missed`` (records that the
kernel overwrote before they were read). Writing to a pipe that nobody empties never blocks
past the stop signal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from probes.kmsg.hostclock import PrintkClock, rfc3339_micro
from probes.kmsg.record import KernelRecord
from probes.kmsg.waiting import Waker

#: poll() promises room for this much in a pipe that is writable (PIPE_BUF).
_PIPE_CHUNK = 4096


class Line(NamedTuple):
    """One line of the stream."""

    text: str  # JSON without a line feed
    time_ns: int  # event time, Unix nanoseconds
    seq: int  # everything up to this record is delivered once this line is


class LineFormat:
    """Builds the lines of one node in one boot."""

    def __init__(self, boot_id: str, node: str, clock: PrintkClock) -> None:
        self._boot_id = boot_id
        self._node = node
        self._clock = clock

    def record(self, record: KernelRecord) -> Line:
        """A kernel record as it is."""
        return self._line(
            "record",
            record.seq,
            record.uptime_us,
            {"facility": record.facility, "priority": record.priority},
            record.text,
        )

    def missed(self, count: int, before: KernelRecord) -> Line:
        """``count`` records directly before the given one are lost."""
        text = f"{count} kernel log records were overwritten before they could be read"
        return self._line("missed", before.seq - 1, before.uptime_us, {"missed": count}, text)

    def heartbeat(self, seq: int) -> Line:
        """Alive, and read up to ``seq``."""
        boot_time = rfc3339_micro(self._clock.boot_ns())
        return self._line(
            "heartbeat",
            seq,
            self._clock.uptime_us(),
            {"boot_time": boot_time},
            "konduktor-health heartbeat",
        )

    def _line(self, kind: str, seq: int, uptime_us: int, more: dict[str, Any], text: str) -> Line:
        time_ns = self._clock.event_ns(uptime_us)
        fields = {
            "konduktor": "kmsg",
            "v": 1,
            "kind": kind,
            "boot_id": self._boot_id,
            "seq": max(0, seq),
            "uptime_us": uptime_us,
            **more,
            "time": rfc3339_micro(time_ns),
            "node": self._node,
            "text": text,
        }
        return Line(json.dumps(fields, ensure_ascii=False, separators=(",", ":")), time_ns, seq)


class Sink(Protocol):
    """Takes lines, in order."""

    def has_room(self) -> bool:
        """False: hand over nothing now; the waker is woken when that changes."""
        ...

    def put(self, line: Line) -> None:
        """Take a line. Raises OutputClosed when nobody will ever read it."""
        ...

    def delivered(self) -> int | None:
        """Sequence number up to which all is delivered; None while nothing is."""
        ...


class OutputClosed(Exception):
    """The reader of stdout has gone."""


class StdoutSink:
    """Writes lines to a descriptor, each at once."""

    def __init__(self, fd: int, waker: Waker) -> None:
        self._fd = fd
        self._waker = waker
        self._delivered: int | None = None
        self._given_up = False

    def has_room(self) -> bool:
        """Always: ``put`` waits."""
        return True

    def put(self, line: Line) -> None:
        """Write the line, waiting for a slow reader, unless the program is to stop."""
        data = memoryview(line.text.encode("utf-8", "replace") + b"\n")
        while data and not self._given_up:
            if not self._waker.wait_writable(self._fd):
                # Stopping: this line and all after it come again after a restart.
                self._given_up = True
                return
            try:
                data = data[os.write(self._fd, data[:_PIPE_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise OutputClosed(f"stdout: {error.strerror}") from error
        if not self._given_up:
            self._delivered = line.seq

    def delivered(self) -> int | None:
        """The last line written completely."""
        return self._delivered


class BothSinks:
    """Stdout and the outbox; what counts as delivered is the outbox's.

    When stdout's reader goes, the push goes on alone.
    """

    def __init__(self, stdout: Sink, outbox: Sink, log: Callable[[str], None]) -> None:
        self._stdout: Sink | None = stdout
        self._outbox = outbox
        self._log = log

    def has_room(self) -> bool:
        """Room in the outbox."""
        return self._outbox.has_room()

    def put(self, line: Line) -> None:
        """To the outbox first: stdout may wait for its reader."""
        self._outbox.put(line)
        if self._stdout is None:
            return
        try:
            self._stdout.put(line)
        except OutputClosed as closed:
            self._stdout = None
            self._log(f"{closed}; pushing goes on without it")

    def delivered(self) -> int | None:
        """What Loki has acknowledged."""
        return self._outbox.delivered()
