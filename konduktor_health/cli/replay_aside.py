"""Large files are read, decoded and parted into polls by a process of its own, while this one plays
what it tells.

The other process is this module, run by the same Python, which finds modules where this one does
(and nowhere else: not in the folder that somebody happens to be in). It has our open files, for a
path may be the name of one, like that of ``<(...)``. It writes packed passages to a pipe
(``runtime.replay.passage``, by ``marshal`` between two ends of one program). The polls that come
out here are those of one process (tested).

Invariants: the reader never outlives its purpose. It is killed when nobody takes its lines any
more; where this process dies, its next frame finds no reader and it ends, and it writes a frame
now and then even where it finds nothing. Ctrl-C is for this process alone. Errors of the files are
raised here, after what could be read; a reader that ends without a word is an error too.
"""

from __future__ import annotations

import io
import json
import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from konduktor_health.cli.replay_input import from_files
from konduktor_health.cli.scan import STDIN, Watch
from konduktor_health.errors import ConfigError, HealthError
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import Told, batches
from konduktor_health.runtime.replay.passage import Packer, Passage, Poll, one_by_one, unpacked
from parsers import tables
from parsers.tables import Tables

#: Smaller files are played before another process has begun.
LEAST_BYTES = 8 << 20
_MODULE = "konduktor_health.cli.replay_aside"
_FRAME_LINES = 2000
_SIGN_OF_LIFE_S = 0.25
_LENGTH_BYTES = 8  # of a frame's length
_PIPE_BYTES = 1 << 20  # five frames; what anybody may ask of Linux
_MOST_BYTES = 1 << 34  # far more than the lines of one poll can be
_LINES, _ERROR, _END = range(3)  # kinds of frames


@dataclass(frozen=True, slots=True)
class Polls:
    """How lines are parted into polls: ``runtime.replay.heard.batches``."""

    interval_ns: int
    start_ns: int | None = None
    end_ns: int | None = None

    def of(self, entries: Iterable[LogEntry], told: Told) -> Iterator[Poll]:
        """The polls that these lines make. ``told``: takes up what they were."""
        return batches(
            entries,
            told,
            interval_ns=self.interval_ns,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
        )


def passages_of(
    paths: Sequence[str],
    stdin: BinaryIO,
    watch: Watch | None,
    read: Tables,
    rules: Path | None,
    polls: Polls,
    told: Told,
) -> Generator[Passage, None, None]:
    """What these files tell, read in whichever way is the faster. ``rules``: the file by which
    ``read`` was made; None: the shipped tables are. ``told``: takes up what the lines were. Raises
    ConfigError for a file that cannot be read, after what could be read of it."""
    if is_worth_it(paths):
        yield from passages_aside(paths, rules, watch, polls, told)
    else:
        yield from one_by_one(polls.of(from_files(paths, stdin, watch, read), told))


def is_worth_it(paths: Sequence[str]) -> bool:
    """The files are large, there is a processor for it, and somebody else can open them."""
    if not sys.executable or (os.cpu_count() or 1) < 2 or STDIN in paths:
        return False
    return sum(map(_size, paths)) >= LEAST_BYTES


def passages_aside(
    paths: Sequence[str], rules: Path | None, watch: Watch | None, polls: Polls, told: Told
) -> Generator[Passage, None, None]:
    """As ``passages_of``, by the tables that a rules file makes (None: the shipped ones). Raises
    ConfigError as that does, and HealthError where somebody has ended the reader."""
    asked = json.dumps([None if rules is None else str(rules), *astuple(polls)])
    command = [sys.executable, "-P", "-m", _MODULE, asked, *paths]
    places = os.pathsep.join(each or os.curdir for each in sys.path)
    with subprocess.Popen(  # noqa: S603 - this program itself
        command,
        stdout=subprocess.PIPE,
        close_fds=False,
        env=os.environ | {"PYTHONPATH": places},
    ) as reader:
        try:
            _widen(reader.stdout)
            yield from _passages(reader.stdout or io.BytesIO(), watch, told)
        finally:
            reader.kill()


def _widen(pipe: IO[bytes] | None) -> None:
    """Let the reader be some frames ahead, where the system allows it: what is quick to read may be
    slow to play, and the other way round."""
    if pipe is not None and sys.platform == "linux":
        import fcntl  # not everywhere

        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _passages(stream: IO[bytes], watch: Watch | None, told: Told) -> Iterator[Passage]:
    """What the frames tell, up to the last one."""
    while (frame := _frame(stream)) is not None:
        kind, *content = frame
        if kind == _END:
            return
        if kind == _ERROR:
            message, hint = content
            raise ConfigError(message, hint=hint)
        position, counts, packed = content
        if watch is not None and position is not None:
            watch(*position)
        for name, count in zip(Told.__slots__, counts, strict=True):
            setattr(told, name, count)
        passage = unpacked(packed)
        if len(passage):
            yield passage
    raise HealthError("the process that reads the files was ended", hint="is there memory enough?")


def _frame(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """The next frame; None where there is none, or not all of it."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    content = stream.read(length) if length <= _MOST_BYTES else b""
    if not content or len(content) < length:
        return None
    frame: tuple[Any, ...] = marshal.loads(content)  # noqa: S302 - written by our own reader
    return frame


class _Writer:
    """The reader's end of the pipe."""

    def __init__(self, pipe: IO[bytes], told: Told) -> None:
        self._pipe = pipe
        self._told = told
        self._position: tuple[int, int] | None = None
        self._packer = Packer()
        self._told_at = 0.0

    def watch(self, done: int, size: int) -> None:
        """So much was read: a sign of life, where there is nothing else to write."""
        self._position = (done, size)
        if time.monotonic() - self._told_at > _SIGN_OF_LIFE_S:
            self.flush()

    def add(self, poll: Poll) -> None:
        """One more poll."""
        self._packer.add(*poll)
        if len(self._packer) >= _FRAME_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the polls there are. Raises BrokenPipeError when nobody reads them."""
        counts = astuple(self._told)
        packed, self._packer = self._packer.packed(), Packer()
        self.write((_LINES, self._position, counts, packed))
        self._told_at = time.monotonic()

    def write(self, frame: tuple[Any, ...]) -> None:
        """Write a frame. Raises as above."""
        content = marshal.dumps(frame)
        self._pipe.write(len(content).to_bytes(_LENGTH_BYTES, "big") + content)
        self._pipe.flush()


def _read(asked: str, paths: Sequence[str], pipe: IO[bytes]) -> None:
    """The reader: write all that these files tell. ``asked``: JSON of the rules file, and of how
    lines are parted into polls."""
    from konduktor_health.cli import options

    rules, *polls = json.loads(asked)
    told = Told()
    writer = _Writer(pipe, told)
    try:
        site = options.rules(Path(rules) if rules else None)
        read = tables.recorded() if site is None else site.recorded
        for poll in Polls(*polls).of(from_files(paths, io.BytesIO(), writer.watch, read), told):
            writer.add(poll)
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
