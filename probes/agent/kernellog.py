"""What has the kernel logged in this boot, as far as it is remembered?

Reads the ring now and then and keeps the records' texts in the form in which they are compared
(``compared``), bounded by memory; so it may reach further back than the kernel's own ring.

Invariants: records are in the order of their sequence numbers; whatever was missed, overwritten or
dropped is known as a stretch of uptime that nothing can be denied for; a step is bounded, however
fast programs write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from parsers.record import unwrap
from probes.kmsg.record import KernelRecord
from probes.kmsg.ring import RingCursor, RingError

#: Memory for records: about 11,000 of them. A ring of 1 MiB holds about 8,000.
MOST_BYTES = 4 * 1024 * 1024
_RECORD_BYTES = 200  # of a record beside its text: tuple, numbers, entry in a list
#: printk stamps a record before it gets its place in the ring: neighbours may be out of order.
SLACK_US = 1_000_000
_MOST_HOLES = 64
_LINES = re.compile(r"(?:\\x0a|\n)")
_NOT_ASCII = re.compile(r"[^!-~]+")


class Known(NamedTuple):
    """A record as it is compared."""

    seq: int
    uptime_us: int
    injected: bool  # written by a program
    texts: tuple[str, ...]  # its lines


class KernelLog:
    """One thread at a time (``attest`` holds a lock)."""

    def __init__(self, cursor: RingCursor, *, most_bytes: int = MOST_BYTES) -> None:
        self._cursor = cursor
        self._most_bytes = most_bytes
        self._bytes = 0
        self._records: list[Known] = []
        #: Stretches of uptime (from, to), microseconds, of which records are missing.
        self._holes: list[tuple[int, int]] = []
        self._newest_us = 0
        self.trouble = ""  # why the kernel log cannot be read

    def __iter__(self) -> Iterator[Known]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def follow(self, *, most: int = 20_000, more: Callable[[], bool] = lambda: True) -> bool:
        """Read what is new, at most so many records, and while there is time (``more``). True:
        all that is logged is known now."""
        for number in range(most):
            if number % 64 == 0 and not more():
                return False
            try:
                read = self._cursor.step()
            except RingError as error:
                self.trouble = str(error)
                return False
            self.trouble = ""
            if read.record is not None:
                self._keep(read.record, read.missed)
            elif read.drained:
                return True
        return False

    def reaches(self, uptime_us: int) -> bool:
        """Whether a record with this stamp would be known."""
        near = ((begin - SLACK_US, end + SLACK_US) for begin, end in self._holes)
        return bool(self._records) and not any(begin <= uptime_us <= end for begin, end in near)

    def has_number(self, seq: int) -> bool | None:
        """Whether the record of this number is known; None: it may be, or may have been."""
        if not self._records or seq < self._records[0].seq:
            return None
        if seq > self._records[-1].seq:
            return False
        low, high = 0, len(self._records)
        while low < high:
            middle = (low + high) // 2
            if self._records[middle].seq < seq:
                low = middle + 1
            else:
                high = middle
        return True if self._records[low].seq == seq else None

    def _keep(self, record: KernelRecord, missed: int) -> None:
        if self._records and record.seq <= self._records[-1].seq:
            self._forget()  # a machine restored from a snapshot: its log has gone back
        first = not self._records and not self._holes
        if missed or (first and record.seq > 0):
            self._hole(self._newest_us if self._records else 0, record.uptime_us)
        self._newest_us = max(self._newest_us, record.uptime_us)
        texts = lines_of(record)
        self._records.append(Known(record.seq, record.uptime_us, record.facility != 0, texts))
        self._bytes += _size(texts)
        if self._bytes > self._most_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        dropped = self._records[: len(self._records) // 8 + 1]
        del self._records[: len(dropped)]
        self._bytes -= sum(_size(each.texts) for each in dropped)
        self._hole(0, max(each.uptime_us for each in dropped))

    def _hole(self, begin: int, end: int) -> None:
        """Bounded: when there are many, two neighbours become one with what is between them."""
        self._holes = [each for each in self._holes if not begin <= each[0] <= each[1] <= end]
        self._holes.append((min(begin, end), max(begin, end)))
        self._holes.sort()
        if len(self._holes) > _MOST_HOLES:
            (first, _), (_, last) = self._holes[0], self._holes[1]
            self._holes[:2] = [(first, last)]

    def _forget(self) -> None:
        self._records.clear()
        self._holes.clear()
        self._bytes = self._newest_us = 0


def lines_of(record: KernelRecord) -> tuple[str, ...]:
    """The texts by which a record may be known: the whole, and each line of one that has several
    (dmesg and syslog print them one by one)."""
    text = record.text
    whole = compared(text)
    if "\\x0a" not in text:
        return (whole,)
    parts = (compared(part) for part in _LINES.split(text))
    return (whole, *dict.fromkeys(part for part in parts if part and part != whole))


def compared(text: str) -> str:
    """A message as it is compared: without what shippers and the kernel print differently.

    Escapes, colours and stamps come off as the decoder takes them off what a shipper has printed
    (``parsers.record``); what is left outside printable ASCII, and each stretch of blanks, is one
    blank. A cut mark at the end goes with it.
    """
    # Behind a stamp nothing counts as a shipper's wrapper: a program may write one into the ring.
    inner = unwrap("[    0.000000] " + text).text
    return _NOT_ASCII.sub(" ", inner).strip()


def _size(texts: tuple[str, ...]) -> int:
    return _RECORD_BYTES + sum(len(text) + 57 for text in texts)
