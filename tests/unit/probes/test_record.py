from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.kmsg.record import TEXT_LIMIT, KernelRecord, decode_text, parse


def kernel_escape(text: str) -> bytes:
    """What the kernel does to a message that it hands out."""
    return b"".join(
        bytes((byte,)) if 32 <= byte < 127 and byte != 0x5C else b"\\x%02x" % byte
        for byte in text.encode()
    )


def test_a_record_of_the_kernel_is_taken_apart() -> None:
    raw = b"4,339,5140900,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n"

    assert parse(raw) == KernelRecord(
        339, 5140900, 0, 4, "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
    )


def test_the_dictionary_after_a_record_is_no_part_of_its_text() -> None:
    raw = b"6,1,2,-,caller=T1;pci 0000:3b:00.0: lost\n SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n"

    record = parse(raw)

    assert record is not None
    assert record.text == "pci 0000:3b:00.0: lost"


def test_a_program_has_the_facility_that_the_kernel_gave_it() -> None:
    record = parse(b"12,344,1176062244,-;NVRM: Xid 79\n")

    assert record is not None
    assert (record.facility, record.priority) == (1, 4)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"t\xc3\xa9st", "tést"),
        (rb"a\x5cb", r"a\b"),
        (rb"a\x09b", "a\tb"),
        (rb"two\x0alines", r"two\x0alines"),
        (rb"\x1b[31mred", r"\x1b[31mred"),
        (rb"cut \xc3", r"cut \xc3"),
        (rb"bidi \xe2\x80\xae", r"bidi \xe2\x80\xae"),
        (rb"literal \x5cx41", r"literal \x41"),
    ],
)
def test_escapes_are_undone_where_the_result_is_printable(raw: bytes, text: str) -> None:
    assert decode_text(raw) == text


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"4;x", b"a,b,c,-;x", b"4,1,2;x", b"4,1,-2,-;x", b" KEY=value\n"]
)
def test_what_is_no_record_is_none(raw: bytes) -> None:
    assert parse(raw) is None


@given(st.binary(max_size=6000) | st.binary(max_size=200).map(lambda tail: b"4,1,2,-;" + tail))
def test_no_bytes_make_it_raise_or_give_more_than_one_printable_line(raw: bytes) -> None:
    record = parse(raw)

    if record is not None:
        assert record.text.replace("\t", "").isprintable()
        assert len(record.text) <= TEXT_LIMIT * 4
        assert 0 <= record.priority <= 7


@given(st.text(max_size=300).filter(str.isprintable))
def test_printable_text_survives_the_kernels_escaping(text: str) -> None:
    record = parse(b"4,1,2,-;" + kernel_escape(text) + b"\n")

    assert record is not None
    assert record.text == text
