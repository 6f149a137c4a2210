"""What does one wrapper around a message tell? The result of taking off one layer.

The same record tells of one layer and, in the end, of all of them (``parsers.record``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

_BOOT = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class LogRecord:
    """A message and what its wrappers told. Empty or None means: the line does not say.

    Not frozen: that would make it three times as slow to build. Only ``parsers.record`` changes
    one, before it hands it out.
    """

    text: str  # what was inside: in the end the message itself, all wrappers removed
    uptime_us: int | None = None  # kernel uptime, microseconds
    uptime_stamp: str = ""  # the same as printed ("538441.007373"); part of the identity
    boot_id: str = ""  # lower-case hex without dashes
    sequence: int | None = None  # /dev/kmsg sequence number
    facility: int | None = None  # syslog facility; 0 is the kernel itself
    priority: int | None = None  # syslog level 0 to 7
    time_ns: int | None = None  # wall-clock time if the wrapper states one with year and zone
    hostname: str = ""
    heartbeat: bool = False  # our forwarder's heartbeat, not a kernel record
    missed: int = 0  # kernel records that our forwarder reports as missed (EPIPE)
    repeated: int = 1  # "message repeated N times: [ ... ]" unwrapped
    foreign: bool = False  # surely not from the kernel's ring: gives no kernel faults
    # What is inside was printed by the kernel or by a program, not by a shipper: nothing in it may
    # be read as a wrapper with a say of its own. Says how to read on, nothing about the message.
    sealed: bool = field(default=False, compare=False, repr=False)
    # The text is known to be printable without blanks around it: no need to look again.
    plain: bool = field(default=False, compare=False, repr=False)


#: One wrapper taken off: what it told, and the text that was inside.
Layer = LogRecord


def uptime_stamp(uptime_us: int) -> str:
    """Microseconds as dmesg prints them, without padding: the same from every shipper."""
    digits = f"{uptime_us:07d}"
    return f"{digits[:-6]}.{digits[-6:]}"


def boot_id(text: object) -> str:
    """A boot id as 32 lower-case hex digits; "" when the text is none."""
    if not isinstance(text, str) or len(text) > 36:
        return ""
    return _boot_id(text)


@lru_cache(maxsize=1024)  # a node's lines tell the same one until it boots again
def _boot_id(text: str) -> str:
    plain = text.replace("-", "").lower()
    return plain if _BOOT.fullmatch(plain) else ""
