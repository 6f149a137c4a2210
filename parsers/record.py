"""Which message does a raw log line carry, and what does its wrapper tell?

A shipper delivers a kernel message inside wrappers: dmesg stamps, a /dev/kmsg prefix,
syslog, journald JSON, OTLP JSON, our own kmsg JSON. ``unwrap`` takes them off, layer by
layer, and keeps what they say. It never raises, whatever the line is, and takes linear time.

Where two layers tell the same thing, the outer one counts: it was written by the shipper or
the kernel, the inner one perhaps by a program. Only the time is the innermost: an outer time
says when the line was shipped.

The commonest wrappers (a dmesg stamp, syslog around one) come off in one step. That step takes
only what it is sure of; the layers say the same of it, which property tests prove.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from parsers import envelopes, stamps
from parsers.layer import Layer
from parsers.printable import clean, printable
from parsers.wallclock import RFC3339, moment, rfc3339_ns

#: Longer lines are cut to this many characters before anything else.
LINE_LIMIT = 65_536
#: No shipper wraps deeper; a line that does is text from there on.
_MAX_LAYERS = 8
_HOST_LIMIT = 253

#: So begin the driver's messages. No wrapper begins so: nothing is left to take off.
_MESSAGES = ("NVRM: ", "nvidia-nvswitch")
# The patterns of parsers.stamps for the commonest wrappers of such a message, in one step each.
_STAMP = r"\[ {0,12}([0-9]{1,12})\.([0-9]{6})\](?: ?\[ {0,8}[TC][0-9]{1,10}\])? ?"
_MESSAGE = r"(?=NVRM: |nvidia-nvswitch)"
_STAMPED = re.compile(_STAMP + _MESSAGE)
_SYSLOG = re.compile(
    r"(?:<([0-9]{1,3})>)?"
    r"(?:[A-Z][a-z]{2} [ 0-9]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} ([^ \[\]:]{1,253}) kernel: ?)?"
    rf"(?:{_STAMP})?{_MESSAGE}"
)
_TIMED = re.compile(
    rf"{RFC3339} (?:([^ \[\]:]{{1,253}}) kernel: ?|(?:stdout|stderr) [FP](?:[:][^ ]{{0,32}})? )"
    rf"(?:{_STAMP})?{_MESSAGE}"
)
_RFC5424 = re.compile(
    rf"<([0-9]{{1,3}})>1 ({RFC3339}) ([^ ]{{1,253}}) kernel [^ ]{{1,128}} [^ ]{{1,32}} - ?"
    rf"(?:{_STAMP})?{_MESSAGE}"
)


@dataclass(slots=True)
class LogRecord:
    """A message and what its wrappers told. Empty or None means: the line does not say.

    Not frozen, for the speed of reading; nobody changes a record.
    """

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
    text = line[:LINE_LIMIT].strip()
    record = _at_once(text) if _is_plain(text) else None
    return unwrap_by_layers(line) if record is None else record


def _is_plain(text: str) -> bool:
    """True if there is nothing in a text that ``clean`` would change."""
    return text.isprintable() and "\\x" not in text


def _at_once(text: str) -> LogRecord | None:
    """One of the commonest wrappers around a message of the driver; None for anything else."""
    if text.startswith("{"):
        return _from_json(text)
    if text.startswith(_MESSAGES):
        return LogRecord(text)
    if match := _SYSLOG.match(text):
        prefix, host, seconds, micros = match.groups()
        record = LogRecord(text[match.end() :])
        if prefix is not None:
            record.facility, record.priority = int(prefix) >> 3, int(prefix) & 7
    elif match := _TIMED.match(text):
        host, seconds, micros = match.group(9, 10, 11)
        record = LogRecord(text[match.end() :], time_ns=moment(match))
    elif match := _RFC5424.match(text):
        prefix, stamp, host, seconds, micros = match.group(1, 2, 11, 12, 13)
        record = LogRecord(text[match.end() :], time_ns=rfc3339_ns(stamp))
        record.facility, record.priority = int(prefix) >> 3, int(prefix) & 7
    else:
        return None
    if host:
        record.hostname = host  # printable as the text, and bounded by the pattern
    if seconds is not None:
        record.uptime_us, record.uptime_stamp = int(seconds + micros), f"{seconds}.{micros}"
    return record


def _from_json(text: str) -> LogRecord | None:
    byte_messages = any(start in text for start in envelopes.BYTE_MESSAGES)
    layer = envelopes.peel(text, byte_messages=byte_messages)
    message = layer.text.strip() if layer is not None else ""
    if layer is None or not _is_plain(message):
        return None
    if message.startswith(_MESSAGES):
        return _merge(message, [layer])
    if match := _STAMPED.match(message):
        if layer.uptime_us is None:
            seconds, micros = match.groups()
            layer.uptime_us, layer.uptime_stamp = int(seconds + micros), f"{seconds}.{micros}"
        return _merge(message[match.end() :], [layer])
    return None


def unwrap_by_layers(line: str) -> LogRecord:
    """The same, one layer after the other: for every shape, and slower."""
    line = line[:LINE_LIMIT]
    text = clean(line)
    layers: list[Layer] = []
    while len(layers) < _MAX_LAYERS and not text.startswith(_MESSAGES):
        layer = None
        if layers and layers[-1].sealed:
            layer = stamps.stamp(text)
        elif text.startswith("{"):
            byte_messages = any(start in line for start in envelopes.BYTE_MESSAGES)
            layer = envelopes.peel(text, byte_messages=byte_messages)
        else:
            layer = stamps.peel(text)
        if layer is None:
            break
        layers.append(layer)
        text = clean(layer.text)
    return _merge(text, layers) if layers else LogRecord(text)


def _merge(text: str, layers: list[Layer]) -> LogRecord:
    told = layers[0]
    for inner in layers[1:]:
        _add(told, inner)
    return LogRecord(
        text,
        told.uptime_us,
        told.uptime_stamp,
        told.boot_id,
        told.sequence,
        told.facility,
        told.priority,
        told.time_ns,
        printable(told.hostname, _HOST_LIMIT) if told.hostname else "",
        told.heartbeat,
        told.missed,
        told.repeated,
        told.foreign,
    )


def _add(told: Layer, inner: Layer) -> None:
    """Complete what the outer wrappers told by what an inner one tells."""
    if told.uptime_us is None:
        told.uptime_us, told.uptime_stamp = inner.uptime_us, inner.uptime_stamp
    if told.sequence is None:
        told.sequence = inner.sequence
    if told.facility is None:
        told.facility = inner.facility
    if told.priority is None:
        told.priority = inner.priority
    if inner.time_ns is not None:
        told.time_ns = inner.time_ns
    told.boot_id = told.boot_id or inner.boot_id
    told.hostname = told.hostname or inner.hostname
    told.heartbeat = told.heartbeat or inner.heartbeat
    told.missed = max(told.missed, inner.missed)
    told.repeated = max(told.repeated, inner.repeated)
    told.foreign = told.foreign or inner.foreign
