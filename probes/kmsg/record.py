r"""What does one read of /dev/kmsg say?

The kernel gives one record per read::

    prio,seq,uptime_us,flags[,more];text\n
     KEY=value\n            continuation lines: a dictionary, not part of the message

``prio`` is facility * 8 + level. The kernel escapes every byte outside printable ASCII, and
the backslash, as ``\xNN``. Invariants: ``parse`` never raises, and its text is one printable
line (tabs stay tabs) however hostile the writer is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Longest text that is passed on, in characters. The kernel's own limit is 2 KiB.
TEXT_LIMIT = 4096

_HEAD = re.compile(rb"([0-9]{1,10}),([0-9]{1,20}),([0-9]{1,20}),[^;]{0,200};")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")


class KernelRecord(NamedTuple):
    """One kernel log record. Facility 0 is the kernel itself; a program cannot write it."""

    seq: int  # sequence number of the ring, starts at 0 in each boot
    uptime_us: int  # printk clock, microseconds
    facility: int  # syslog facility, as the kernel says
    priority: int  # syslog level, 0 (emergency) to 7 (debug)
    text: str


def parse(raw: bytes) -> KernelRecord | None:
    """Parse the bytes of one read; None when they are not a kernel record. Never raises."""
    head = _HEAD.match(raw)
    if head is None:
        return None
    prefix = int(head[1])
    message = raw[head.end() :].split(b"\n", 1)[0]
    return KernelRecord(
        seq=int(head[2]),
        uptime_us=int(head[3]),
        facility=prefix >> 3,
        priority=prefix & 7,
        text=decode_text(message),
    )


def decode_text(message: bytes) -> str:
    """Undo the kernel's escapes where the result is printable; control bytes stay escaped."""
    unescaped = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), message)
    text = unescaped.decode("utf-8", "backslashreplace")[:TEXT_LIMIT]
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
