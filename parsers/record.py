"""Which message does a raw log line carry, and what does its wrapper tell?

A shipper delivers a kernel message inside wrappers: dmesg stamps, a /dev/kmsg prefix,
syslog, journald JSON, OTLP JSON, our own kmsg JSON. ``unwrap`` takes them off, layer by
layer, and keeps what they say. It never raises, whatever the line is, and takes linear time.

Where two layers tell the same thing, the outer one counts: it was written by the shipper or
the kernel, the inner one perhaps by a program. Only the time is the innermost: an outer time
says when the line was shipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from parsers import envelopes, stamps
from parsers.layer import Layer
from parsers.printable import clean, printable

#: Longer lines are cut to this many characters before anything else.
LINE_LIMIT = 65_536
#: No shipper wraps deeper; a line that does is text from there on.
_MAX_LAYERS = 8
_HOST_LIMIT = 253


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A message and what its wrappers told. Empty or None means: the line does not say."""

    text: str  # the message itself, all wrappers removed
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


def unwrap(line: str) -> LogRecord:
    """Take all wrappers off one line. Never raises; an unknown shape is text as it is."""
    line = line[:LINE_LIMIT]
    byte_messages = any(start in line for start in envelopes.BYTE_MESSAGES)
    text = clean(line)
    layers: list[Layer] = []
    while len(layers) < _MAX_LAYERS:
        if layers and layers[-1].sealed:
            layer = stamps.stamp(text)
        else:
            layer = envelopes.peel(text, byte_messages=byte_messages) or stamps.peel(text)
        if layer is None:
            break
        layers.append(layer)
        text = clean(layer.text)
    return _merge(text, layers) if layers else LogRecord(text=text)


def _merge(text: str, layers: list[Layer]) -> LogRecord:
    timed = next((one for one in layers if one.uptime_us is not None), layers[0])
    return LogRecord(
        text=text,
        uptime_us=timed.uptime_us,
        uptime_stamp=timed.uptime_stamp,
        boot_id=next((one.boot_id for one in layers if one.boot_id), ""),
        sequence=next((one.sequence for one in layers if one.sequence is not None), None),
        facility=next((one.facility for one in layers if one.facility is not None), None),
        priority=next((one.priority for one in layers if one.priority is not None), None),
        time_ns=next((one.time_ns for one in reversed(layers) if one.time_ns is not None), None),
        hostname=printable(next((one.hostname for one in layers if one.hostname), ""), _HOST_LIMIT),
        heartbeat=any(one.heartbeat for one in layers),
        missed=max(one.missed for one in layers),
        repeated=max(one.repeated for one in layers),
        foreign=any(one.foreign for one in layers),
    )
