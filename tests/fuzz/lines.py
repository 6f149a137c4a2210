"""What must hold of any log, whatever is in it? Each function takes bytes and raises ``Broken``."""

from __future__ import annotations

import io
import re
import unicodedata

from parsers.decode import Decoder
from parsers.fault import TEXT_LIMIT, Fault, Trust
from parsers.record import LINE_LIMIT, LogRecord, unwrap, unwrap_by_layers
from parsers.rules import RuleSet, kernel_rules, pod_rules
from parsers.scan import ScanHit, scan, scan_all, scan_stream
from tests.fuzz.mutation import text_of

_DEVICE = re.compile(r"(?:(?:[0-9a-f]{4}|[0-9a-f]{8}):[0-9a-f]{2}:[01][0-9a-f])?")
_CODED = re.compile(r"s?xid/(?:0|[1-9][0-9]{0,9})")
_ON_GPUS = ("xid/", "sxid/", "kernel/gpu-lost")
_NODES = 4
_PENDING = 16
_DETAIL_LIMIT = 512


class Broken(AssertionError):
    """A property does not hold for this input."""


def require(condition: bool, what: str) -> None:
    """Raise Broken unless it holds."""
    if not condition:
        raise Broken(what)


def unwrapping(data: bytes) -> None:
    """One line: bounded, no control characters, and both ways alike."""
    text = text_of(data)
    record = unwrap(text)
    require(record == unwrap_by_layers(text), "the fast way is not the slow way")
    require(len(record.text) <= LINE_LIMIT, "the message is longer than a line may be")
    require(
        all(c == "\t" or unicodedata.category(c) not in ("Cc", "Cs") for c in record.text),
        "a control character is left in the message",
    )
    require(len(record.hostname) <= 253 and record.hostname.isprintable(), "host name")
    require(re.fullmatch(r"(?:[0-9a-f]{32})?", record.boot_id) is not None, "boot id")
    require(0 <= record.missed < 1 << 63 and 1 <= record.repeated <= 100_000, "a count")
    for number in (record.uptime_us, record.sequence, record.facility, record.priority):
        require(number is None or 0 <= number < 1 << 64, "a number")


def decoding(data: bytes) -> None:
    """Lines of a few nodes, as kernel and as pod lines: sound faults, bounded memory."""
    decoder = Decoder(nodes=_NODES)
    for at, text in enumerate(text_of(data).split("\n")):
        record = unwrap(text)
        node = f"n{(at * 7) % 9}" if at % 3 else ""
        for fault in decoder.feed(record, node, at * 1_000_000_000):
            _sound(fault, record)
        for fault in decoder.feed_pod(record, node):
            _sound(fault, record)
            require(fault.trust is Trust.POD, "a pod line is trusted")
            require(not fault.fault_id.startswith(_ON_GPUS), "a pod line told of a GPU")
    told, lost = decoder._told, decoder._lost._nodes
    require(len(told) <= 4 * _NODES and len(lost) <= _NODES, "the decoder remembers too much")
    for state in lost._entries.values():
        pending = (state.begun, state.middles, state.ends)
        require(all(len(each) <= _PENDING for each in pending), "half-told GPUs")


def _sound(fault: Fault, record: LogRecord) -> None:
    require(len(fault.text) <= TEXT_LIMIT, "evidence is longer than it may be")
    require(fault.text.isprintable(), "a control character in the evidence")
    on_gpus = fault.fault_id.startswith(_ON_GPUS)
    device = fault.device  # a rule may name a drive or a memory module
    named = device.isprintable() and len(device) <= _DETAIL_LIMIT and not on_gpus
    require(_DEVICE.fullmatch(device) is not None or named, "a device")
    coded = fault.fault_id.startswith(("xid/", "sxid/"))
    require(not coded or _CODED.fullmatch(fault.fault_id) is not None, "a fault id")
    require(len(fault.detail) <= 24, "detail has many keys")
    for name, value in fault.detail.items():
        require(value.isprintable() and len(value) <= _DETAIL_LIMIT, f"detail {name}")
    require(fault.injected is (bool(record.facility) and fault.trust is not Trust.POD), "injected")
    require(fault.count == record.repeated, "count")


def scanning(data: bytes) -> None:
    """A stream, in reads of any size: all ways of scanning tell the same."""
    size = 1 + (data[0] if data else 0) * (7 if len(data) < 4096 else 1024)
    slow = list(scan_all(text_of(each) for each in data.split(b"\n")))
    require(list(scan_stream(io.BytesIO(data).readinto)) == slow, "scan_stream is not scan_all")
    require(_in_pieces(data, size) == slow, "reads of another size tell something else")
    require(list(scan(text_of(each) for each in data.split(b"\n"))) == slow, "scan is not scan_all")
    on_gpus = [hit for hit in slow if hit.fault.fault_id.startswith(_ON_GPUS)]
    alone = list(scan_stream(io.BytesIO(data).readinto, gpu_only=True, number=False))
    require([h.fault for h in alone] == [h.fault for h in on_gpus], "GPU rules alone differ")


def _in_pieces(data: bytes, size: int) -> list[ScanHit]:
    stream = io.BytesIO(data)
    return list(scan_stream(lambda view: stream.readinto(view[:size])))


def matching(data: bytes) -> None:
    """A message against the tables of rules: the index tells what every pattern tells."""
    text = unwrap(text_of(data)).text
    for rules in (kernel_rules(), pod_rules()):
        _same(rules, text)


def _same(rules: RuleSet, text: str) -> None:
    fault = rules.match(text)
    require(fault == rules.match_slowly(text), f"{rules.source} rules: the index tells another")
    if fault is not None:
        require(any(literal in text for literal in rules.literals), "no literal for the filter")
        require(fault.device.isprintable(), "a control character in the device")
        for name, value in fault.detail.items():
            require(value.isprintable() and len(value) <= 64, f"detail {name}")
