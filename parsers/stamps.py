"""Which textual wrapper stands at the head of a line, and what does it tell?

dmesg stamps (with caller column, deltas, human time), ``dmesg --decode``, the /dev/kmsg
prefix, syslog (RFC 3164 and 5424, with and without ``<N>``), ISO stamps, the short forms of
journalctl, CRI, logcli's labels, ``kernel:`` and rsyslog's repetition. Each pattern is anchored
and bounded, so that a line costs linear time.
"""

from __future__ import annotations

import re

from parsers.envelopes import node_of
from parsers.layer import Layer, uptime_stamp
from parsers.wallclock import RFC3339, moment

_FACILITY_NAMES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp",
)  # fmt: skip
_LEVEL_NAMES = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
_FACILITIES = {name: number for number, name in enumerate(_FACILITY_NAMES)} | {
    f"local{n}": 16 + n for n in range(8)
}
_LEVELS = {name: number for number, name in enumerate(_LEVEL_NAMES)}
_REPEAT_BOUND = 100_000  # a count that a printer of lines cannot have meant

_STAMP = re.compile(
    r"\[ {0,12}([0-9]{1,12})(?:\.([0-9]{1,9}))?(?: {1,3}< {0,12}[0-9.]{1,20} ?>)?\]"
    r"(?: ?\[ {0,8}[TC][0-9]{1,10}\])?"
)
_NO_UPTIME = re.compile(
    r"\[(?:[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]?[0-9] [0-9:]{8} [0-9]{4}"  # dmesg -T
    r"|[A-Z][a-z]{2} ?[0-9]{1,2} [0-9]{2}:[0-9]{2}|[ +<]{1,3} {0,12}[0-9.]{1,20}>?"  # -e, -d
    r"| {0,8}[TC][0-9]{1,10})\]"  # a caller behind a stamp without uptime
)
_DECODED = re.compile(r"([a-z]{3,8}[0-7]?) {0,8}:([a-z]{3,6}) {0,8}: ")
_KMSG = re.compile(r"([0-9]{1,5}),([0-9]{1,19}),([0-9]{1,19}),[^;,]{0,8}(?:,[^;]{0,200})?;")
_PRI = re.compile(r"<([0-9]{1,3})>")
_ISO = re.compile(RFC3339 + r" ")
_CRI = re.compile(r"(?:stdout|stderr) [FP](?:[:][^ ]{0,32})? ")
# Labels in braces, as logcli prints them behind the time; blanks fill them up to the longest.
_LABELS = re.compile(
    r"\{((?:[a-zA-Z_][a-zA-Z0-9_]{0,63}=\"(?:[^\"\\]|\\.){0,1024}\"(?:, )?){0,64})\}[ \t]{1,4096}"
)
_LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]{0,63})=\"([^\"\\]{1,253})\"")
_SYSLOG_TIME = re.compile(
    r"[A-Z][a-z]{2} [ 0-9]?[0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})? "
)
_FULL_TIME = re.compile(  # journalctl -o short-full
    r"[A-Z][a-z]{2} ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r" ([A-Z+-][A-Za-z0-9+-]{0,5}) "
)
_UNIX_TIME = re.compile(r"([0-9]{9,10})\.([0-9]{6}) ")  # journalctl -o short-unix
_FROM_KERNEL = re.compile(r"([^ \[\]:]{1,253}) kernel: ?")
_HOST_AND_TAG = re.compile(r" [0-9A-Za-z][0-9A-Za-z.-]{0,252} kernel: ?")
_RFC5424 = re.compile(r"1 " + RFC3339 + r" ([^ ]{1,253}) kernel [^ ]{1,128} [^ ]{1,32} - ?")
_REPEATED = re.compile(r"message repeated ([0-9]{1,9}) times: \[ ?")


def peel(text: str) -> Layer | None:
    """Take one textual wrapper of a shipper off ``text``; None when there is none."""
    if not text:
        return None
    first = text[0]
    if first == "[":
        return _monotonic(stamp(text))
    if text.startswith(("kernel:", "message repeated ")):
        return stamp(text)
    if first == "<":
        return _pri(text)
    if "0" <= first <= "9":
        return _kmsg(text) or _iso(text) or _unix(text)
    return _decoded(text) or _syslog(text) or _full(text)


def stamp(text: str) -> Layer | None:
    """Take off what may stand in front of a kernel message more than once; None otherwise."""
    if text.startswith("["):
        if match := _STAMP.match(text):
            seconds, fraction = match.groups()
            return Layer(
                text=text[match.end() :],
                sealed=True,
                uptime_us=int(seconds) * 1_000_000 + int((fraction or "").ljust(6, "0")[:6]),
                uptime_stamp=seconds if fraction is None else f"{seconds}.{fraction}",
            )
        if match := _NO_UPTIME.match(text):
            return Layer(text=text[match.end() :], sealed=True)
    elif text.startswith("kernel:"):
        return Layer(text=text[len("kernel:") :], sealed=True)
    elif match := _REPEATED.match(text):
        inside = text[match.end() :].removesuffix("]")
        return Layer(text=inside, sealed=True, repeated=min(int(match[1]), _REPEAT_BOUND) or 1)
    return None


def _monotonic(layer: Layer | None) -> Layer | None:
    """``journalctl -o short-monotonic`` prints host and tag behind the stamp. The host is not
    taken: whoever writes into the kernel's ring could name another node there."""
    if layer is not None and (match := _HOST_AND_TAG.match(layer.text)):
        layer.text = layer.text[match.end() :]
    return layer


def _decoded(text: str) -> Layer | None:
    match = _DECODED.match(text)
    if not match or match[1] not in _FACILITIES or match[2] not in _LEVELS:
        return None
    return Layer(
        text=text[match.end() :], facility=_FACILITIES[match[1]], priority=_LEVELS[match[2]]
    )


def _kmsg(text: str) -> Layer | None:
    match = _KMSG.match(text)
    if not match:
        return None
    prefix, sequence, uptime_us = (int(group) for group in match.groups())
    return Layer(
        text=text[match.end() :],
        sealed=True,
        uptime_us=uptime_us,
        uptime_stamp=uptime_stamp(uptime_us),
        sequence=sequence,
        facility=prefix >> 3,
        priority=prefix & 7,
    )


def _pri(text: str) -> Layer | None:
    match = _PRI.match(text)
    if not match:
        return None
    prefix = int(match[1])
    inside = text[match.end() :]
    host, time_ns, sealed = "", None, False
    if header := _RFC5424.match(inside):
        time_ns, host, sealed = moment(*header.group(1, 2, 3)), header[4], True
        inside = inside[header.end() :]
    return Layer(
        text=inside,
        sealed=sealed,
        facility=prefix >> 3,
        priority=prefix & 7,
        hostname=host,
        time_ns=time_ns,
    )


def _iso(text: str) -> Layer | None:
    match = _ISO.match(text)
    if not match:
        return None
    inside, time_ns = text[match.end() :], moment(*match.groups())
    if cri := _CRI.match(inside):
        return Layer(text=inside[cri.end() :], time_ns=time_ns)
    if labels := _LABELS.match(inside):
        host = node_of(dict(_LABEL.findall(labels[1])))
        return Layer(text=inside[labels.end() :], time_ns=time_ns, hostname=host)
    if kernel := _FROM_KERNEL.match(inside):
        text, host = inside[kernel.end() :], kernel[1]
        return Layer(text=text, sealed=True, time_ns=time_ns, hostname=host)
    return Layer(text=inside, time_ns=time_ns)


def _syslog(text: str) -> Layer | None:
    """RFC 3164: no year, so no time. Only the tag ``kernel`` speaks for the kernel."""
    match = _SYSLOG_TIME.match(text)
    kernel = _FROM_KERNEL.match(text, match.end()) if match else None
    if kernel is None:
        return None
    return Layer(text=text[kernel.end() :], sealed=True, hostname=kernel[1])


def _full(text: str) -> Layer | None:
    match = _FULL_TIME.match(text)
    kernel = _FROM_KERNEL.match(text, match.end()) if match else None
    if match is None or kernel is None:
        return None
    time_ns = moment(match[1], match[2], "Z" if match[3] == "UTC" else None)
    return Layer(text=text[kernel.end() :], sealed=True, hostname=kernel[1], time_ns=time_ns)


def _unix(text: str) -> Layer | None:
    match = _UNIX_TIME.match(text)
    kernel = _FROM_KERNEL.match(text, match.end()) if match else None
    if match is None or kernel is None:
        return None
    time_ns = int(match[1] + match[2]) * 1000
    return Layer(text=text[kernel.end() :], sealed=True, hostname=kernel[1], time_ns=time_ns)
