"""Which records are in a journal that ``journalctl -o export`` wrote?

Entries are separated by empty lines. A field is a line ``NAME=value``, or, where the value holds a
line feed or is no text, the line ``NAME``, its length in eight bytes (little-endian), the value and
a line feed (systemd: Journal Export Formats). Each entry is told as a line of ``journalctl -o
json``, with the fields that say something here. Fields are cut and skipped as they are read, so
that memory is bounded by the fields that are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from konduktor_health.errors import ConfigError, excerpt
from parsers.blocks import Read
from parsers.record import LINE_LIMIT

#: Fields that parsers.envelopes looks at.
_FIELDS = frozenset({
    b"MESSAGE", b"PRIORITY", b"SYSLOG_FACILITY", b"SYSLOG_IDENTIFIER", b"_BOOT_ID", b"_COMM",
    b"_EXE", b"_HOSTNAME", b"_PID", b"_SOURCE_MONOTONIC_TIMESTAMP", b"_SOURCE_REALTIME_TIMESTAMP",
    b"_SYSTEMD_UNIT", b"_TRANSPORT", b"_UID", b"__REALTIME_TIMESTAMP",
})  # fmt: skip
_BEGINS = (b"__CURSOR=", b"__REALTIME_TIMESTAMP=")
_BUFFER = 1 << 18
#: Of a line with its name; a character takes four bytes at most.
_KEPT = 4 * LINE_LIMIT + 64
#: What journald accepts as one field (DATA_SIZE_MAX); a longer one is no export.
_LONGEST = 768 << 20
_NAME = re.compile(rb"[A-Z0-9_]{1,64}")


def begins(content: bytes) -> bool:
    """Whether a stream that begins so is a journal export."""
    return content.startswith(_BEGINS)


def lines(read: Read, name: str) -> Iterator[str]:
    """One JSON line an entry. Raises ConfigError for what is no export, or is cut."""
    source, entry, number = _Source(read), dict[str, str](), 1
    while (line := source.line(_KEPT)) is not None:
        if not line:
            if entry:
                yield json.dumps(entry)
                number += 1
            entry = {}
            continue
        field, equals, value = line.partition(b"=")
        if field not in _FIELDS and not _NAME.fullmatch(field):
            raise ConfigError(
                f"{name}: entry {number} of a journal export: not a field: {excerpt(line[:64])!r}",
                hint="write it with journalctl -o export, or -o json",
            )
        if not equals:
            value = _binary(source, f"{name}: entry {number} of a journal export", field)
        if field in _FIELDS:
            entry[field.decode()] = value.decode("utf-8", "replace")
    if entry:
        yield json.dumps(entry)


def _binary(source: _Source, where: str, field: bytes) -> bytes:
    length = source.take(8, 8)
    size = int.from_bytes(length or b"", "little")
    if length is not None and size > _LONGEST:
        hint = "a line without = is followed by eight bytes of length"
        raise ConfigError(f"{where}: {excerpt(field)} is {size} bytes long", hint=hint)
    value = source.take(size, _KEPT) if length is not None else None
    if value is None or source.take(1, 1) != b"\n":
        raise ConfigError(
            f"{where} ends inside {excerpt(field)}", hint="it was cut: export it again"
        )
    return value


class _Source:
    """Lines and counted bytes of a stream, of which a bounded part is kept."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._buffer = bytearray(_BUFFER)
        self._at = self._end = 0

    def line(self, most: int) -> bytes | None:
        """The next line without its line feed, cut to ``most`` bytes; None at the end."""
        if self._at == self._end and not self._fill():
            return None
        stop = self._buffer.find(b"\n", self._at, self._end)
        if stop >= 0:  # all of it is here, as nearly always
            start, self._at = self._at, stop + 1
            return bytes(self._buffer[start : min(stop, start + most)])
        found = bytearray()
        while stop < 0:
            found += self._buffer[self._at : min(self._end, self._at + most - len(found))]
            self._at = self._end
            if not self._fill():
                return bytes(found)
            stop = self._buffer.find(b"\n", 0, self._end)
        found += self._buffer[: min(stop, most - len(found))]
        self._at = stop + 1
        return bytes(found)

    def take(self, count: int, most: int) -> bytes | None:
        """The next ``count`` bytes, cut to ``most``; None where the stream ends before."""
        found = bytearray()
        while count:
            if self._at == self._end and not self._fill():
                return None
            stop = min(self._end, self._at + count)
            found += self._buffer[self._at : min(stop, self._at + most - len(found))]
            count -= stop - self._at
            self._at = stop
        return bytes(found)

    def _fill(self) -> bool:
        self._at, self._end = 0, self._read(memoryview(self._buffer)) or 0
        return self._end > 0
