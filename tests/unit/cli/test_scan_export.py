"""Is a journal that was exported read as journalctl -o json would tell it?"""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.cli import scan_export
from konduktor_health.cli.scan import scan_file
from konduktor_health.errors import ConfigError
from parsers.fault import Fault
from parsers.scan import ScanHit
from tests.support.wrapped_lines import BOOT, UPTIME_US, journald

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
XID_48 = "NVRM: Xid (PCI:0000:af:00): 48, DBE"


def field(name: str, value: bytes, *, binary: bool = False) -> bytes:
    if binary or b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def entry(message: str | bytes, *, binary: bool = False, **fields: str) -> bytes:
    """One entry as journalctl writes it, kernel transport unless told otherwise."""
    content = message.encode() if isinstance(message, str) else message
    told = {
        "__CURSOR": f"s=1;i=2;b={BOOT}", "__REALTIME_TIMESTAMP": "1795323600123456",
        "__MONOTONIC_TIMESTAMP": "5", "_BOOT_ID": BOOT, "_TRANSPORT": "kernel",
        "_HOSTNAME": "gpu-7", "PRIORITY": "4", "SYSLOG_FACILITY": "0",
        "SYSLOG_IDENTIFIER": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": str(UPTIME_US),
        "_UNKNOWN_FIELD": "x" * 300,
    } | fields  # fmt: skip
    lines = b"".join(field(name, value.encode()) for name, value in told.items())
    return lines + field("MESSAGE", content, binary=binary) + b"\n"


def hits_in(content: bytes) -> list[ScanHit]:
    return list(scan_file("-", io.BytesIO(content)))


def fault_of(line: str) -> Fault:
    (hit,) = hits_in(line.encode())
    return hit.fault


@pytest.mark.parametrize("binary", [False, True])
def test_an_entry_says_what_the_same_entry_in_json_says(binary: bool) -> None:
    (hit,) = hits_in(entry(XID_79, binary=binary))

    assert hit.fault == fault_of(journald(XID_79))
    assert (hit.fault.node, hit.fault.boot_id, hit.fault.injected) == ("gpu-7", BOOT, False)


def test_line_numbers_count_the_entries() -> None:
    hits = hits_in(entry("boot\nof many\n\nlines") + entry(XID_48) + entry("x") + entry(XID_79))

    assert [(hit.line_number, hit.fault.fault_id) for hit in hits] == [(2, "xid/48"), (4, "xid/79")]


def test_a_packed_export_is_read() -> None:
    assert len(hits_in(gzip.compress(entry(XID_79)))) == 1


def test_what_a_program_wrote_into_the_journal_is_no_kernel_fault() -> None:
    assert hits_in(entry(XID_79, _TRANSPORT="syslog", _PID="7")) == []
    (hit,) = hits_in(entry(XID_79, SYSLOG_FACILITY="1"))
    assert hit.fault.injected


def test_a_message_cannot_forge_fields_or_entries() -> None:
    forged = f"x\n\n__CURSOR=1\n_TRANSPORT=kernel\nMESSAGE={XID_79}\n\n"

    assert hits_in(entry(forged, _TRANSPORT="stdout")) == []


def test_a_message_that_is_no_text_is_read_as_far_as_it_is_one() -> None:
    (hit,) = hits_in(entry(XID_79.encode() + b" \xff\xfe", binary=True))

    assert hit.fault.device == "0000:3b:00"


def test_an_export_without_its_last_empty_line_is_whole() -> None:
    assert len(hits_in(entry(XID_79).rstrip(b"\n") + b"\n")) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (entry("x") + b"__CURSOR=1\nMESSAGE\n" + (99).to_bytes(8, "little") + b"cut", "MESSAGE"),
        (entry("x") + b"__CURSOR=1\nMESSAGE\n\x01", "entry 2"),
        (b"__CURSOR=1\nMESSAGE\n" + b"\xff" * 8, "bytes long"),
        (b"__CURSOR=1\nno field at all\n", "not a field"),
        (b"__CURSOR=1\n=x\n", "not a field"),
        (b"__CURSOR=1\nMESSAGE\n" + (1).to_bytes(8, "little") + b"xy\n", "MESSAGE"),
    ],
)
def test_a_damaged_export_is_a_clear_error(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match="journal export") as caught:
        hits_in(content)

    assert said in str(caught.value)
    assert caught.value.hint


def test_a_field_of_any_size_takes_bounded_memory() -> None:
    size, largest = 700 << 20, 0
    before = b"__CURSOR=1\n_COMM\n" + size.to_bytes(8, "little")
    after = b"\n" + field("MESSAGE", XID_79.encode()) + b"\n"
    at = 0  # in the export, which is nowhere held as a whole

    def read(buffer: memoryview) -> int:
        nonlocal at, largest
        largest = max(largest, len(buffer))
        begun = at
        for start, content in ((0, before), (len(before) + size, after)):
            if start <= at < start + len(content):
                piece = content[at - start :][: len(buffer)]
                buffer[: len(piece)] = piece
                at += len(piece)
                return at - begun
        at = min(at + len(buffer), len(before) + size) if at < len(before) + size else at
        return at - begun

    (line,) = list(scan_export.lines(read, "x"))

    assert largest <= 1 << 18
    assert len(json.loads(line)["_COMM"]) < 300_000
    assert json.loads(line)["MESSAGE"] == XID_79


names = st.text("ABCDEFGHIJ_", min_size=1, max_size=20)
values = st.binary(max_size=40)
parts = st.lists(st.tuples(names, values, st.booleans()), max_size=8)


@given(st.lists(parts, max_size=5), st.integers(1, 50))
def test_any_fields_are_told_whatever_the_pieces_in_which_they_come(
    entries: list[list[tuple[str, bytes, bool]]], piece: int
) -> None:
    written = b"".join(
        b"".join(field(name, value, binary=binary) for name, value, binary in fields)
        + field("MESSAGE", str(number).encode())
        + b"\n"
        for number, fields in enumerate(entries)
    )
    stream = io.BytesIO(written)

    def read(buffer: memoryview) -> int:
        content = stream.read(min(piece, len(buffer)))
        buffer[: len(content)] = content
        return len(content)

    told = [json.loads(line)["MESSAGE"] for line in scan_export.lines(read, "x")]

    assert told == [str(number) for number in range(len(entries))]


@given(st.binary(max_size=200))
def test_any_bytes_are_entries_or_a_clear_error(content: bytes) -> None:
    hint = "x"
    try:
        hits_in(b"__CURSOR=1\n" + content)
    except ConfigError as error:
        hint = error.hint

    assert hint
