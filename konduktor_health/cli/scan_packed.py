"""Is this stream packed, and how is it read then? gzip, xz and bzip2, of any size.

What is kept of a stream is bounded, however well it is packed. Damage raises what the libraries
raise: EOFError, OSError, zlib.error or lzma.LZMAError; what was unpacked before it is given first.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Protocol

from konduktor_health.errors import ConfigError

#: xz -9 needs 65 MiB to unpack; more is asked for by no tool's preset.
XZ_MEMORY = 256 << 20
_CHUNK = 1 << 16
_GZIP, _XZ, _BZIP2 = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh"
#: What no fault would be found in, though it may hold a log: how it begins, what it is, and what
#: to do.
_UNREADABLE = (
    (rb"\x28\xb5\x2f\xfd", "packed with zstd", "zstd -dc FILE"),
    (rb"\x04\x22\x4d\x18", "packed with lz4", "lz4 -dc FILE"),
    (rb"PK\x03\x04", "a zip archive", "unzip -p FILE"),
    (rb"LPKSHHRH", "a journal as journald keeps it", "journalctl --file FILE -o export"),
    (rb"\xff\xfe[\t\r\n -~]\0|\xfe\xff\0[\t\r\n -~]", "UTF-16", "iconv -f UTF-16 -t UTF-8 FILE"),
)
_LAYERS = 4


def unpacked(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    """The content of a stream, packed more than once or not. Raises ConfigError for forms that
    cannot be read here."""
    for _ in range(_LAYERS):
        within = _unpacked_once(stream)
        if within is None:
            break
        stream = within
    beginning = stream.peek(8)[:8]
    for begins, what, command in _UNREADABLE:
        if re.match(begins, beginning):
            hint = f"{command} | konduktor-health scan"
            raise ConfigError(f"{name}: {what}, which cannot be read here", hint=hint)
    return stream


def _unpacked_once(stream: io.BufferedReader) -> io.BufferedReader | None:
    beginning = stream.peek(6)[:6]
    if beginning.startswith(_GZIP):
        return io.BufferedReader(_Unpacked(stream, _Gzip))
    if beginning.startswith(_XZ):
        return io.BufferedReader(_Unpacked(stream, _xz))
    if beginning.startswith(_BZIP2) and beginning[3:4].isdigit():
        return io.BufferedReader(_Unpacked(stream, bz2.BZ2Decompressor))
    return None


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


class _Gzip:
    """zlib's decompressor of one gzip member, with the face of the other two."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)  # with gzip's header and checksum
        self._full = False  # there may be more of what was read

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not (self._full or self._zlib.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        content = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(content) == max_length
        return content


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Unpacked(io.RawIOBase):
    """One packed stream after another, as files that were joined; zeros between them are padding.

    Not lzma.LZMAFile, where a file decides how much memory that takes, nor gzip.GzipFile, which
    keeps what it has when it comes to damage.
    """

    def __init__(self, stream: io.BufferedReader, start: Callable[[], _Decompressor]) -> None:
        self._stream = stream
        self._start = start
        self._current = start()
        self._rest = b""  # read, and not given to a decompressor yet

    def readable(self) -> bool:
        """It is for reading."""
        return True

    # The stubs want any writable buffer; a BufferedReader gives a memoryview: no more is needed.
    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, 0 at the end. Raises EOFError where the file is cut."""
        while True:
            if self._current.eof and not self._next():
                return 0
            packed, self._rest = self._rest, b""
            if self._current.needs_input and not packed:
                packed = self._stream.read1(_CHUNK)
                if not packed:
                    raise EOFError("the file ends before its end marker")
            content = self._current.decompress(packed, len(buffer))
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _next(self) -> bool:
        """Begin with the next packed stream; False where there is none."""
        rest = self._current.unused_data.lstrip(b"\x00")
        while not rest:
            more = self._stream.read1(_CHUNK)
            if not more:
                return False
            rest = more.lstrip(b"\x00")
        self._current, self._rest = self._start(), rest
        return True
