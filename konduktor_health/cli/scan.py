"""Which faults are in these log files? The engine of ``scan``.

Pure of the command line: the typer command opens nothing itself and calls these functions.
What is read is hostile: memory is bounded, and a broken file is one clear ConfigError. What a
stream is shows in its first bytes, never in its name:

=======================  =====================================================================
gzip, xz, bzip2          unpacked, and looked at again
``__CURSOR=``            a journal as ``journalctl -o export`` writes it (``scan_export``)
a JSON object or list    an answer of Loki, or Grafana's export of it (``scan_answers``)
anything else            lines, each in any form that ``parsers.record`` knows
=======================  =====================================================================
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from konduktor_health.adapters.hyperscan_search import fastest
from konduktor_health.cli import scan_answers, scan_export, scan_packed
from konduktor_health.errors import ConfigError
from parsers.blocks import Read
from parsers.scan import ScanHit, scan, scan_stream
from parsers.tables import Tables

STDIN = "-"
_TOLD = 5  # files that could not be read
_HINT = "give a readable log file, packed with gzip, xz or bzip2 or not, or - for standard input"
#: Told now and then how many bytes of how many were read.
Watch = Callable[[int, int], None]


def scan_files(
    paths: Sequence[str],
    stdin: BinaryIO,
    watch: Watch | None = None,
    rules: Tables | None = None,
) -> Iterator[tuple[str, ScanHit]]:
    """The faults of several files, one after the other, each with the file's name ("" where there
    is only one). ``watch`` is told of all files together. A file that cannot be read, or not to its
    end, does not keep the others from being read. Raises ConfigError for all such, at the end."""
    sizes = [_file_size(path) for path in paths]
    before, total = 0, sum(sizes)
    failed: list[ConfigError] = []
    for path, size in zip(paths, sizes, strict=True):
        try:
            for hit in scan_file(path, stdin, _shifted(watch, before, total), rules):
                yield (path if len(paths) > 1 else ""), hit
        except ConfigError as error:
            failed.append(error)
        before += size
    if failed:
        more = f"; and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
        told = "; ".join(map(str, failed[:_TOLD]))
        raise ConfigError(told + more, hint=failed[0].hint) from failed[0]


def scan_file(
    path: str, stdin: BinaryIO, watch: Watch | None = None, rules: Tables | None = None
) -> Iterator[ScanHit]:
    """The faults in a file, or in ``stdin`` for "-"; unpacked where its content is packed.

    Line numbers are those of the (unpacked) text; of a journal export they count its entries, of
    a Loki answer its entries in time order. ``watch`` is called for a regular file only. Raises
    ConfigError when the file cannot be read or is damaged, after the faults before the damage.
    """
    name = "standard input" if path == STDIN else path or "''"
    try:
        if path == STDIN:
            yield from _hits(_peekable(stdin), name, watch, rules)
        else:
            with open(path, "rb") as file:  # Path("") would be the folder here
                yield from _hits(file, name, watch, rules)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ConfigError(f"cannot read {name}: {reason}", hint=_HINT) from error
    except ValueError as error:  # an embedded NUL in the path
        raise ConfigError(f"cannot read {name!r}: {error}", hint=_HINT) from error


def _peekable(stream: BinaryIO) -> io.BufferedReader:
    if isinstance(stream, io.BufferedReader):
        return stream
    return io.BufferedReader(cast(io.RawIOBase, stream))


def _hits(
    file: io.BufferedReader, name: str, watch: Watch | None, rules: Tables | None
) -> Iterator[ScanHit]:
    size = _size(file)
    stream = scan_packed.unpacked(file, name)
    beginning = stream.peek(256)[:256]
    read = _reading(stream, file, size, watch)
    if scan_answers.begins(beginning):
        yield from scan(scan_answers.lines(stream, name), rules)
    elif scan_export.begins(beginning):
        yield from scan(scan_export.lines(read, name), rules)
    else:
        yield from scan_stream(read, rules, at_once=not size, finder=fastest)


def _reading(
    stream: io.BufferedReader, file: io.BufferedReader, size: int, watch: Watch | None
) -> Read:
    """How the stream is read into a buffer."""

    def read(buffer: memoryview) -> int:
        if size:
            if watch is not None:
                watch(file.tell(), size)
            if stream is file:
                return stream.readinto(buffer)
        # What a pipe has so far is read at once, so that a fault shows when it happens, and so is
        # what was unpacked, so that nothing of it is lost where damage follows. readinto1 would
        # wait for more when it finds the beginning in its own buffer.
        content = stream.read1(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    return read


def _size(stream: io.BufferedReader) -> int:
    """Bytes of a regular file; 0 for anything else."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file at all
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _file_size(path: str) -> int:
    """The same by name; what is wrong with it is told when it is opened."""
    try:
        status = Path(path).stat() if path != STDIN else None
    except (OSError, ValueError):
        return 0
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0


def _shifted(watch: Watch | None, before: int, total: int) -> Watch | None:
    if watch is None:
        return None
    return lambda done, size: watch(before + done, max(total, size))
