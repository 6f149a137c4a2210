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

from parsers import envelopes, stamps
from parsers.layer import Layer, LogRecord
from parsers.printable import clean, is_plain, printable
from parsers.wallclock import RFC3339, moment

__all__ = ["LINE_LIMIT", "LogRecord", "unwrap", "unwrap_by_layers"]

#: Longer lines are cut to this many characters before anything else.
LINE_LIMIT = 65_536
#: No shipper wraps deeper; a line that does is text from there on.
_MAX_LAYERS = 8
_HOST_LIMIT = 253

#: So begin the driver's messages. No wrapper begins so: nothing is left to take off.
_MESSAGES = ("NVRM: ", "nvidia-nvswitch")
# The patterns of parsers.stamps for the commonest wrappers of such a message, in one step each.
_STAMP = r"\[ {0,12}([0-9]{1,12}\.[0-9]{6})\](?: ?\[ {0,8}[TC][0-9]{1,10}\])? ?"
#: Patterns of what stands in front of a message. Groups: the stamp.
KERNEL = rf"(?:{_STAMP})?"
#: Groups: priority, host, stamp.
SYSLOG = (
    r"(?:<([0-9]{1,3})>)?"
    r"(?:[A-Z][a-z]{2} [ 0-9]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} ([!-9;-Z^-~]{1,253}) kernel: ?)?"
    + KERNEL
)
#: Groups: the three of RFC3339, host, stamp.
TIMED = (
    rf"{RFC3339} (?:([!-9;-Z^-~]{{1,253}}) kernel: ?|(?:stdout|stderr) [FP](?::[!-Z^-~]{{0,32}})? )"
    + KERNEL
)
#: Groups: priority, the three of RFC3339, host, stamp.
RFC5424 = (
    rf"<([0-9]{{1,3}})>1 {RFC3339} ([!-Z^-~]{{1,253}}) kernel"
    rf" [!-Z^-~]{{1,128}} [!-Z^-~]{{1,32}} - ?{KERNEL}"
)
_MESSAGE = r"(?=NVRM: |nvidia-nvswitch)"
_KERNEL = re.compile(KERNEL + _MESSAGE)
_SYSLOG = re.compile(SYSLOG + _MESSAGE)
_TIMED = re.compile(TIMED + _MESSAGE)
_RFC5424 = re.compile(RFC5424 + _MESSAGE)


def unwrap(line: str) -> LogRecord:
    """Take all wrappers off one line. Never raises; an unknown shape is text as it is."""
    text = line[:LINE_LIMIT].strip()
    record = _at_once(text) if is_plain(text) else None
    return unwrap_by_layers(line) if record is None else record


def _at_once(text: str) -> LogRecord | None:
    """One of the commonest wrappers around a message of the driver; None for anything else."""
    first = text[:1]
    if first == "{":
        return _from_json(text)
    prefix = host = stamp = time_ns = None
    match: re.Match[str] | None
    if first == "[":
        if (match := _KERNEL.match(text)) is None:
            return None
        stamp = match[1]
    elif "0" <= first <= "9":
        if (match := _TIMED.match(text)) is None:
            return None
        second, fraction, zone, host, stamp = match.groups()
        time_ns = moment(second, fraction, zone)
    elif match := _SYSLOG.match(text):
        prefix, host, stamp = match.groups()
    elif match := _RFC5424.match(text):
        prefix, second, fraction, zone, host, stamp = match.groups()
        time_ns = moment(second, fraction, zone)
    else:
        return None
    facility = priority = None
    if prefix is not None:
        number = int(prefix)
        facility, priority = number >> 3, number & 7
    return LogRecord(
        text[match.end() :],
        None if stamp is None else int(stamp.replace(".", "")),
        stamp or "",
        "",
        None,
        facility,
        priority,
        time_ns,
        host or "",  # printable as the text, and bounded by the pattern
        plain=True,
    )


def _from_json(text: str) -> LogRecord | None:
    byte_messages = _has_byte_messages(text)
    record = envelopes.peel(text, byte_messages=byte_messages)
    if record is None:
        return None
    message = record.text.strip()
    # Without escapes the message is a part of the line, of which it is known.
    if ("\\" in text or byte_messages) and not is_plain(message):
        return None
    match = _KERNEL.match(message)
    if match is None:
        return None
    stamp = match[1]
    if stamp is not None:
        if record.uptime_us is None:
            record.uptime_us, record.uptime_stamp = int(stamp.replace(".", "")), stamp
        message = message[match.end() :]
    record.plain = True
    return _told(message, record)


def _has_byte_messages(line: str) -> bool:
    compact, spaced = envelopes.BYTE_MESSAGES
    return compact in line or spaced in line


def unwrap_by_layers(line: str) -> LogRecord:
    """The same, one layer after the other: for every shape, and slower."""
    line = line[:LINE_LIMIT]
    text = _readable(line)
    layers: list[Layer] = []
    while len(layers) < _MAX_LAYERS and not text.startswith(_MESSAGES):
        layer = None
        if layers and layers[-1].sealed:
            layer = stamps.stamp(text)
        elif text.startswith("{"):
            layer = envelopes.peel(text, byte_messages=_has_byte_messages(line))
        else:
            layer = stamps.peel(text)
        if layer is None:
            break
        layers.append(layer)
        text = _readable(layer.text)
    text = clean(text)
    return _merge(text, layers) if layers else LogRecord(text)


def _readable(text: str) -> str:
    """``clean``, but for the kernel's escapes where the text may end in an envelope: to JSON a
    backslash means something else, and decoding it there would make the envelope unreadable."""
    return clean(text, escapes=not ("{" in text and text.rstrip().endswith("}")))


def _merge(text: str, layers: list[Layer]) -> LogRecord:
    told = layers[0]
    for inner in layers[1:]:
        _add(told, inner)
    return _told(text, told)


def _told(text: str, record: LogRecord) -> LogRecord:
    record.text = text
    if record.hostname:
        record.hostname = printable(record.hostname, _HOST_LIMIT)
    return record


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
