"""What does one wrapper around a message tell? The result of taking off one layer.

Field names and meanings are those of ``parsers.record.LogRecord``; empty or None means that
the wrapper does not say. ``sealed`` means that what is inside was printed by the kernel or by
a program, not by a shipper: nothing in it may be read as a wrapper with a say of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_BOOT = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Layer:
    """One wrapper taken off: what it told, and the text that was inside.

    Not frozen: that would make it three times as slow to build. Only ``parsers.record``, which
    asked for it, may change it.
    """

    text: str
    sealed: bool = False
    uptime_us: int | None = None
    uptime_stamp: str = ""
    boot_id: str = ""
    sequence: int | None = None
    facility: int | None = None
    priority: int | None = None
    time_ns: int | None = None
    hostname: str = ""
    heartbeat: bool = False
    missed: int = 0
    repeated: int = 1
    foreign: bool = False


def uptime_stamp(uptime_us: int) -> str:
    """Microseconds as dmesg prints them, without padding: the same from every shipper."""
    return f"{uptime_us // 1_000_000}.{uptime_us % 1_000_000:06d}"


def boot_id(text: object) -> str:
    """A boot id as 32 lower-case hex digits; "" when the text is none."""
    if not isinstance(text, str) or len(text) > 36:
        return ""
    plain = text.replace("-", "").lower()
    return plain if _BOOT.fullmatch(plain) else ""
