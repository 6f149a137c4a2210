"""Large files are read and decoded by a process of its own, while this one plays what it tells.

The other process is this module, run by the same Python, which finds modules where this one does
(and nowhere else: not in the folder that somebody happens to be in). It has our open files, for a
path may be the name of one, like that of ``<(...)``. It writes frames to a pipe: what lines say
once for each frame, and of each line what is its own (``marshal``, between two ends of one
program). What comes out here is what ``replay_input.from_files`` gives in one process (tested).

Invariants: the reader never outlives its purpose. It is killed when nobody takes its lines any
more; where this process dies, its next frame finds no reader and it ends, and it writes a frame
now and then even where it finds nothing. Ctrl-C is for this process alone. Errors of the files are
raised here, after what could be read; a reader that ends without a word is an error too.
"""

from __future__ import annotations

import io
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from konduktor_health.cli.replay_input import from_files
from konduktor_health.cli.scan import STDIN, Watch
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.model import Fault, Remedy, Severity, Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import DecodedRecord, record_of
from parsers import tables
from parsers.tables import Tables

#: Smaller files are played before another process has begun.
LEAST_BYTES = 8 << 20
_MODULE = "konduktor_health.cli.replay_aside"
_FRAME_LINES = 2000
_SIGN_OF_LIFE_S = 0.25
_LENGTH_BYTES = 8  # of a frame's length
_MOST_BYTES = 1 << 28  # far more than a frame's lines can be
_LINES, _ERROR, _END = range(3)  # kinds of frames

#: What many lines have in common: node, source, boot id, and the fault.
_Said = tuple[Any, ...]
#: Which of these it is, and what is the line's own: time, uptime and its stamp, count, identity.
_Line = tuple[int, int, int | None, str, int, str]


def entries_of(
    paths: Sequence[str], stdin: BinaryIO, watch: Watch | None, read: Tables, rules: Path | None
) -> Generator[LogEntry, None, None]:
    """``from_files``, in whichever way is the faster. ``rules``: the file by which ``read`` was
    made; None: the shipped tables are."""
    if is_worth_it(paths):
        yield from from_files_aside(paths, rules, watch)
    else:
        yield from from_files(paths, stdin, watch, read)


def is_worth_it(paths: Sequence[str]) -> bool:
    """The files are large, there is a processor for it, and somebody else can open them."""
    if not sys.executable or (os.cpu_count() or 1) < 2 or STDIN in paths:
        return False
    return sum(map(_size, paths)) >= LEAST_BYTES


def from_files_aside(
    paths: Sequence[str], rules: Path | None, watch: Watch | None
) -> Generator[LogEntry, None, None]:
    """As ``from_files``, by the tables that a rules file makes (None: the shipped ones). Raises
    ConfigError as that does, and HealthError where somebody has ended the reader."""
    command = [sys.executable, "-P", "-m", _MODULE, str(rules or ""), *paths]
    places = os.pathsep.join(each or os.curdir for each in sys.path)
    with subprocess.Popen(  # noqa: S603 - this program itself
        command,
        stdout=subprocess.PIPE,
        close_fds=False,
        env=os.environ | {"PYTHONPATH": places},
    ) as reader:
        try:
            yield from _entries(reader.stdout or io.BytesIO(), watch)
        finally:
            reader.kill()


def _entries(stream: IO[bytes], watch: Watch | None) -> Iterator[LogEntry]:
    """What the frames tell, up to the last one."""
    while (frame := _frame(stream)) is not None:
        kind, *content = frame
        if kind == _END:
            return
        if kind == _ERROR:
            message, hint = content
            raise ConfigError(message, hint=hint)
        position, said, lines = content
        if watch is not None and position is not None:
            watch(*position)
        common = [(*each[:3], [_fault_of(each)]) for each in said]
        for which, time_ns, uptime_us, stamp, count, name in lines:
            node, source, boot_id, faults = common[which]
            record = record_of(faults, time_ns, uptime_us, stamp, boot_id, count)
            trust = faults[0].trust
            yield LogEntry(node, time_ns, record, name, source, trust, trust is Trust.POD)
    raise HealthError("the process that reads the files was ended", hint="is there memory enough?")


def _frame(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """The next frame; None where there is none, or not all of it."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    content = stream.read(length) if length <= _MOST_BYTES else b""
    if not content or len(content) < length:
        return None
    frame: tuple[Any, ...] = marshal.loads(content)  # noqa: S302 - written by our own reader
    return frame


def _fault_of(said: _Said) -> Fault:
    fault_id, severity, remedy, device, injected, trust, text, detail = said[3:]
    return Fault(
        fault_id,
        Severity(severity),
        Remedy(remedy),
        device,
        injected=injected,
        trust=Trust(trust),
        text=text,
        detail=dict(detail),
    )


def _said_by(entry: LogEntry, fault: Fault) -> _Said:
    return (
        entry.node_name,
        entry.source,
        fault.boot_id,
        fault.fault_id,
        fault.severity.value,
        fault.remedy.value,
        fault.device,
        fault.injected,
        fault.trust.value,
        fault.text,
        tuple(fault.detail.items()),
    )


class _Writer:
    """The reader's end of the pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._position: tuple[int, int] | None = None
        self._said: dict[_Said, int] = {}
        self._lines: list[_Line] = []
        self._told_at = 0.0

    def watch(self, done: int, size: int) -> None:
        """So much was read: a sign of life, where there is nothing else to write."""
        self._position = (done, size)
        if time.monotonic() - self._told_at > _SIGN_OF_LIFE_S:
            self.flush()

    def add(self, entry: LogEntry) -> None:
        """One more line."""
        record = entry.record
        if not isinstance(record, DecodedRecord):
            raise TypeError("not decoded")
        said = _said_by(entry, record.faults[0])
        which = self._said.setdefault(said, len(self._said))
        stamp = record.uptime_stamp
        line = (which, entry.time_ns, record.uptime_us, stamp, record.repeated, entry.identity)
        self._lines.append(line)
        if len(self._lines) >= _FRAME_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the lines there are. Raises BrokenPipeError when nobody reads them."""
        self.write((_LINES, self._position, tuple(self._said), self._lines))
        self._said, self._lines = {}, []
        self._told_at = time.monotonic()

    def write(self, frame: tuple[Any, ...]) -> None:
        """Write a frame. Raises as above."""
        content = marshal.dumps(frame)
        self._pipe.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)
        self._pipe.flush()


def _read(rules: str, paths: list[str], pipe: IO[bytes]) -> None:
    """The reader: write all that these files tell."""
    from konduktor_health.cli import options

    writer = _Writer(pipe)
    try:
        site = options.rules(Path(rules) if rules else None)
        read = tables.recorded() if site is None else site.recorded
        for entry in from_files(paths, io.BytesIO(), writer.watch, read):
            writer.add(entry)
        writer.flush()
        writer.write((_END,))
    except ConfigError as error:
        writer.flush()
        writer.write((_ERROR, str(error), error.hint))


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return 0  # what is wrong with it is told when it is opened


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _read(sys.argv[1], sys.argv[2:], sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)  # nobody reads it any more, and nothing is left to flush
