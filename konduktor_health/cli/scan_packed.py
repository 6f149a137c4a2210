"""Is this stream packed, and how is it read then? gzip, xz and bzip2, of any size.

What is kept of a stream is bounded, however well it is packed. Damage raises what the libraries
raise: EOFError, OSError, zlib.error or lzma.LZMAError.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Protocol

from konduktor_health.errors import ConfigError

#: xz -9 needs 65 MiB to unpack; more is asked for by no tool's preset.
XZ_MEMORY = 256 << 20
_CHUNK = 1 << 16
_GZIP, _XZ, _BZIP2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"


def unpacked(stream: io.BufferedReader, name: str) -> io.BufferedReader:
    """The content of a stream. Raises ConfigError for zstd, which is not known here."""
    beginning = stream.peek(6)[:6]
    if beginning.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=stream))
    if beginning.startswith(_XZ):
        return io.BufferedReader(_Unpacked(stream, _xz))
    if beginning.startswith(_BZIP2) and beginning[3:4].isdigit():
        return io.BufferedReader(_Unpacked(stream, bz2.BZ2Decompressor))
    if beginning.startswith(_ZSTD):
        hint = "zstd -dc FILE | konduktor-health scan"
        raise ConfigError(f"{name}: packed with zstd, which cannot be read here", hint=hint)
    return stream


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


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

    Not lzma.LZMAFile: a file decides how much memory that takes.
    """

    def __init__(self, stream: io.BufferedReader, start: Callable[[], _Decompressor]) -> None:
        self._stream = stream
        self._start = start
        self._current = start()
        self._rest = b""  # read, and not given to a decompressor yet

    def readable(self) -> bool:
        """It is for reading."""
        return True

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
