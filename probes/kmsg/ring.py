"""Which kernel records come next, and how many were overwritten before they were read?

``RingCursor`` survives what /dev/kmsg may answer: EAGAIN (nothing new), EPIPE (records were
overwritten), EINVAL (a record larger than the buffer) and errors nobody expects (the device
is opened again and read from the start, past what was seen).

Invariants: records come out in sequence order, each at most once; every hole in the sequence
numbers is reported as missed exactly once; a re-opened device loses nothing that the ring
still holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from probes.kmsg.record import KernelRecord, parse

#: A read buffer smaller than a record makes the kernel skip it; its largest is 8 KiB.
READ_SIZE = 16 * 1024
_BAD_READS = 16  # this many failed reads in a row: open the device again


class RingError(Exception):
    """The kernel log cannot be opened or read. ``str()`` says why and what to do."""


class Ring(Protocol):
    """An open kernel log: one record per read."""

    def read(self) -> bytes:
        """One record; raises BlockingIOError when there is none, OSError as /dev/kmsg does."""
        ...

    def fileno(self) -> int:
        """Descriptor to poll for new records."""
        ...

    def seek_end(self) -> None:
        """Continue with the next record that is logged."""
        ...

    def close(self) -> None:
        """Close the descriptor."""
        ...


class KmsgDevice:
    """/dev/kmsg, opened at the oldest record, non-blocking."""

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise RingError(
                f"cannot open {path}: {error.strerror} "
                "(reading the kernel log needs CAP_SYSLOG, in a pod: privileged and /dev/kmsg)"
            ) from error
        mode = os.fstat(self._fd).st_mode
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            os.close(self._fd)
            raise RingError(f"{path} is a file or a directory, not the kernel log device")

    def read(self) -> bytes:
        """One record."""
        return os.read(self._fd, READ_SIZE)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def seek_end(self) -> None:
        """Skip everything logged so far."""
        os.lseek(self._fd, 0, os.SEEK_END)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Read:
    """What one step of the cursor gave."""

    record: KernelRecord | None = None
    missed: int = 0  # records lost between the one before and this one
    drained: bool = False  # the ring holds nothing newer


class RingCursor:
    """Reads a ring in order, from the record after ``last`` (None: from the oldest, no past).

    ``last`` is then the sequence number of the newest record handed out or reported missed.
    """

    def __init__(self, open_ring: Callable[[], Ring], last: int | None) -> None:
        self.last = last
        self._open_ring = open_ring
        self._ring: Ring | None = None
        self._bad_reads = 0
        self._newest: int | None = None  # newest number seen since the device was opened

    def step(self) -> Read:
        """The next record, or nothing. Raises RingError; the next step then opens it anew."""
        ring = self._opened()
        try:
            raw = ring.read()
        except BlockingIOError:
            return self._drained()
        except BrokenPipeError:
            return Read()  # overwritten: the hole in the numbers will tell how many
        except OSError as error:
            return self._failed(error)
        record = parse(raw)
        if record is None:
            return self._failed(OSError(errno.EBADMSG, "not a kernel record"))
        self._bad_reads = 0
        return self._take(record)

    def skip_past(self, more: Callable[[], bool]) -> None:
        """Pass over all records now in the ring without handing them out ("from now").

        ``more`` says whether there is time left; without, the rest is skipped unseen.
        """
        while more():
            read = self.step()
            if read.drained:
                return
        self._opened().seek_end()
        self.last = None  # what was skipped unseen is no hole

    def fileno(self) -> int | None:
        """Descriptor to poll, None while the device is not open."""
        return None if self._ring is None else self._ring.fileno()

    def close(self) -> None:
        """Close the device; a later step opens it again and continues after ``last``."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _opened(self) -> Ring:
        if self._ring is None:
            self._ring = self._open_ring()
            self._newest = None
            self._bad_reads = 0
        return self._ring

    def _take(self, record: KernelRecord) -> Read:
        self._newest = record.seq
        if self.last is not None and record.seq <= self.last:
            return Read()  # seen before the device was opened again
        missed = 0 if self.last is None else record.seq - self.last - 1
        self.last = record.seq
        return Read(record, missed)

    def _drained(self) -> Read:
        if self.last is not None and self._newest is not None and self._newest < self.last:
            # A machine restored from a snapshot keeps its boot id while its log goes back.
            self.last = self._newest
        return Read(drained=True)

    def _failed(self, error: OSError) -> Read:
        self._bad_reads += 1
        one_record_only = error.errno in (errno.EINVAL, errno.EBADMSG, errno.EINTR)
        if one_record_only and self._bad_reads < _BAD_READS:
            return Read()  # should a record be lost by it, the numbers tell
        self.close()
        raise RingError(f"reading the kernel log failed: {error.strerror}") from error
