"""Which fault does a line of the commonest form report, told in one step?

The commonest form: one of the wrappers below around an Xid with a canonical address, or around
an SXid as the driver prints it. One pattern takes wrapper and head together. What stands behind
the head is read once and remembered, since a GPU that fails repeats its words.

Invariant: what is told is what ``parsers.record.unwrap`` and the general parsers tell of this line
(property-tested); whatever is not sure is None, and goes their way. Nothing here knows of other
lines: what spans records is for ``parsers.decode``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache

from parsers import envelopes, sxid, xid
from parsers.catalog import Entry
from parsers.fault import TEXT_LIMIT, Fault, Remedy, Severity, Trust
from parsers.layer import boot_id
from parsers.printable import is_plain
from parsers.record import KERNEL, LINE_LIMIT, RFC5424, SYSLOG, TIMED
from parsers.wallclock import RFC3339, moment

_DEVICE = r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]"
# Where the message begins; device of an Xid; switch, device, function of an SXid; code; pid.
_HEAD = (
    rf"()(?:NVRM: Xid \(PCI:({_DEVICE})"
    rf"|nvidia-nvswitch([0-9]{{0,4}}): SXid \(PCI:({_DEVICE})\.([0-7]))"
    r"\): ([0-9]{1,10}), (?:pid=([0-9]{1,10}), )?"
)
# JSON as two shippers print it, their keys in their order. A value without quotation marks and
# backslashes is what it looks like.
_REST = rf'([^"\\]{{0,{TEXT_LIMIT}}})'
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_DOCKER = (
    rf'\{{"log":"{KERNEL}{_HEAD}{_REST}\\n","stream":"(?:stdout|stderr)","time":"{RFC3339}"\}}\Z'
)
_FORWARDER = (
    r'\{"konduktor":"kmsg","v":1,"kind":"record",'
    rf'(?:"boot_id":"([0-9A-Fa-f-]{{0,64}})",)?(?:"seq":{_NUMBER},)?"uptime_us":({_NUMBER}),'
    rf'"facility":({_NUMBER})(?:,"priority":[0-7])?(?:,"time":"{RFC3339}")?'
    rf'(?:,"node":"([!#-Z^-~]{{0,253}})")?,"text":"{_HEAD}{_REST}"\}}\Z'
)
_REMEMBERED = 1024  # texts behind a head
_REST_LIMIT = TEXT_LIMIT - 64  # characters; no head is longer than 64

#: What a text behind a head tells: fault id, severity, remedy, detail.
_Said = tuple[str, Severity, Remedy, dict[str, str]]
_TRUST = Trust.KERNEL  # an enumeration's attribute costs a call


class AtOnce:
    """Lines of the commonest form to Faults, by two tables of codes."""

    def __init__(self, xids: Mapping[int, Entry], sxids: Mapping[int, Entry]) -> None:
        match = _patterns()
        self._message, self._kernel = match["message"], match["kernel"]
        self._syslog, self._timed, self._rfc5424 = match["syslog"], match["timed"], match["rfc5424"]
        self._docker, self._forwarder = match["docker"], match["forwarder"]

        # Functions of their arguments and nothing else: what they tell can be remembered. A rest
        # is looked at here, so that it is looked at once; the patterns bound all other text.
        @lru_cache(maxsize=_REMEMBERED)
        def of_xid(code: str, rest: str, has_pid: bool) -> _Said | None:
            if not _is_whole(rest):
                return None
            pid = "pid=0, " if has_pid else ""
            fault = xid.parse(f"NVRM: Xid (PCI:0000:00:00): {code}, {pid}{rest}", xids)
            return _said(fault, ("pid",) if has_pid else ())

        @lru_cache(maxsize=_REMEMBERED)
        def of_sxid(code: str, rest: str) -> _Said | None:
            if not _is_whole(rest):
                return None
            line = sxid.parse(f"nvidia-nvswitch: SXid (PCI:0000:00:00.0): {code}, {rest}", sxids)
            return _said(None if line is None or line.continuation else line.fault, ("function",))

        self._of_xid, self._of_sxid = of_xid, of_sxid

    def tell(self, line: str) -> Fault | None:
        """The Fault of a raw line, as if no other had been read; None where that is not sure.

        SXid lines that only continue an error are never sure.
        """
        line = line.rstrip()
        first = line[:1]
        stamp = host = priority = None
        time_ns = 0
        if first == "[":
            if (match := self._kernel(line)) is None:
                return None
            stamp, _, device, switch, on, function, code, pid = match.groups()
            start = match.start(2)
        elif first == "{":
            if line[2:5] == "log":
                told = self._tell_docker(line)
            else:
                told = self._tell_forwarder(line) if line[2:5] == "kon" else None
            return told or self._tell_json(line)
        elif "0" <= first <= "9":
            if (match := self._timed(line)) is None:
                return None
            (
                second, fraction, zone, host, stamp, _, device, switch, on, function, code, pid
            ) = match.groups()  # fmt: skip
            time_ns = moment(second, fraction, zone) or 0
            start = match.start(6)
        elif match := self._syslog(line):
            priority, host, stamp, _, device, switch, on, function, code, pid = match.groups()
            start = match.start(4)
        elif match := self._rfc5424(line):
            (
                priority, second, fraction, zone, host, stamp,
                _, device, switch, on, function, code, pid,
            ) = match.groups()  # fmt: skip
            time_ns = moment(second, fraction, zone) or 0
            start = match.start(7)
        else:
            return None
        return self._fault(
            line[start:], line[match.end() :], device, switch, on, function, code, pid,
            stamp, "", priority is not None and int(priority) > 7, time_ns, host or "",
        )  # fmt: skip

    def tell_message(self, text: str) -> Fault | None:
        """The same for a message without wrappers, as ``parsers.record`` tells it: what is not in
        the text is not in the Fault. None as above."""
        if (match := self._message(text)) is None:
            return None
        _, device, switch, on, function, code, pid = match.groups()
        return self._fault(
            text, text[match.end() :], device, switch, on, function, code, pid,
            None, "", False, 0, "",
        )  # fmt: skip

    def _tell_docker(self, line: str) -> Fault | None:
        if (match := self._docker(line)) is None:
            return None
        (
            stamp, _, device, switch, on, function, code, pid, rest, second, fraction, zone
        ) = match.groups()  # fmt: skip
        return self._fault(
            line[match.start(2) : match.end(9)], rest, device, switch, on, function, code, pid,
            stamp, "", False, moment(second, fraction, zone) or 0, "",
        )  # fmt: skip

    def _tell_forwarder(self, line: str) -> Fault | None:
        if (match := self._forwarder(line)) is None:
            return None
        (
            boot, uptime_us, facility, second, fraction, zone, host,
            _, device, switch, on, function, code, pid, rest,
        ) = match.groups()  # fmt: skip
        return self._fault(
            line[match.start(8) : match.end(15)], rest, device, switch, on, function, code, pid,
            uptime_us, boot_id(boot), facility != "0",
            (second and moment(second, fraction, zone)) or 0, host or "",
        )  # fmt: skip

    def _tell_json(self, line: str) -> Fault | None:
        # First what hardly costs anything: most lines of rules are none on GPUs.
        if "Xid (PCI:" not in line or len(line) > LINE_LIMIT or not is_plain(line):
            return None
        record = envelopes.peel(line, byte_messages=False)
        if record is None or record.foreign or record.heartbeat or record.missed:
            return None
        message, host = record.text.strip(), record.hostname
        if " " in host or ("\\" in line and not is_plain(host)):  # else it is a part of the line
            return None
        if (match := self._kernel(message)) is None:
            return None
        stamp, _, device, switch, on, function, code, pid = match.groups()
        return self._fault(
            message[match.start(2) :], message[match.end() :], device, switch, on, function,
            code, pid,
            stamp if record.uptime_us is None else str(record.uptime_us),
            record.boot_id, bool(record.facility), record.time_ns or 0, host,
        )  # fmt: skip

    def _fault(
        self, text: str, rest: str, device: str | None, switch: str, on: str, function: str,
        code: str, pid: str | None,
        uptime: str | None, boot: str, injected: bool, time_ns: int, host: str,
    ) -> Fault | None:  # fmt: skip
        if len(rest) > _REST_LIMIT:
            return None
        if device is not None:
            if (said := self._of_xid(code, rest, pid is not None)) is None:
                return None
            fault_id, severity, remedy, tells = said
            detail = {**tells} if pid is None else {"pid": pid, **tells}
        else:
            if pid is not None or (said := self._of_sxid(code, rest)) is None:
                return None
            device = on
            fault_id, severity, remedy, tells = said
            detail = {"function": function, **tells}
            if switch:
                detail = {"switch": switch, **detail}
        return Fault(
            fault_id, severity, remedy, device, host, time_ns, 0,
            None if uptime is None else int(uptime.replace(".", "")),
            boot, "", injected, "", _TRUST, text, 1, detail,
        )  # fmt: skip


def _is_whole(rest: str) -> bool:
    """True if nothing in or around this end of a message would be changed on another way."""
    return is_plain(rest) and rest != "" and rest[-1] != " "


def _said(fault: Fault | None, apart: tuple[str, ...]) -> _Said | None:
    """What a Fault tells but for the parts of its head, which each line has for itself."""
    if fault is None:
        return None
    detail = {name: value for name, value in fault.detail.items() if name not in apart}
    return fault.fault_id, fault.severity, fault.remedy, detail


_Match = Callable[[str], "re.Match[str] | None"]


@cache  # when first needed: it takes longer than to import the parsers
def _patterns() -> dict[str, _Match]:
    return {
        "message": re.compile(_HEAD).match,
        "kernel": re.compile(KERNEL + _HEAD).match,
        "syslog": re.compile(SYSLOG + _HEAD).match,
        "timed": re.compile(TIMED + _HEAD).match,
        "rfc5424": re.compile(RFC5424 + _HEAD).match,
        "docker": re.compile(_DOCKER).match,
        "forwarder": re.compile(_FORWARDER).match,
    }
