from __future__ import annotations

import io
import json
import random
import string
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.fault import TEXT_LIMIT
from parsers.printable import clean, is_plain, printable
from parsers.record import unwrap, unwrap_by_layers
from parsers.scan import ScanHit, scan, scan_all, scan_stream
from tests.support.wrapped_lines import COMPACT, WRAPPERS, journald, rows

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
PARTS = (
    *(row.line for row in rows()),
    "NVRM: The NVIDIA GPU 0000:18:00.0", "NVRM: The NVIDIA GPU 0000:af:00.0",
    "NVRM: (PCI ID: 10de:2330) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
    "NVRM: GPU at PCI:0000:18:00: GPU has fallen off the bus.",
    "nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): 20034, Severity 1 Engine instance 30",
    "nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): 20034, Data {0x50610002, 0x10100030}",
    "NVRM: Xid (PCI:0000:18:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    "NVRM: XID (PCI:0000:3b:00): 13, x", "xid (0000:3b:00): 48",
    "NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=x): 79, Fatal, Ch 00000008",
    r"NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=\xc3\xa9\x5cx41, Ch 00000008",
    "nvidia-peermem nv_get_p2p_free_callback:127 ERROR detected invalid context Xid (",
    "RuntimeError: CUDA error: invalid device ordinal", "usb 1-1: new high-speed USB device",
    "saw NVRM: Xid (PCI:0000:3b:00): 79 yesterday", "", "[", "{", '{"MESSAGE":[1,', "\x1b[0m", "\t",
)  # fmt: skip


def split(content: bytes) -> Iterable[str]:
    """Lines as the reference gets them."""
    return (line.decode("utf-8", "surrogateescape") for line in content.split(b"\n"))


def fast(content: bytes, *, gpu_only: bool = False) -> list[ScanHit]:
    return list(scan_stream(io.BytesIO(content).readinto, gpu_only=gpu_only))


def damaged(line: str, chance: random.Random) -> str:
    """A few characters put in, taken out, doubled or cut off."""
    for _ in range(chance.choice((0, 0, 0, 1, 1, 3))):
        at = chance.randrange(len(line) + 1)
        odd = chance.choice(
            ("\x1b[0m", "\x00", "\t", " ", "\\x0a", "\u202e", "\\", '"', "\ud8ff", "]")
        )
        line = (
            line[:at]
            + chance.choice((odd, chance.choice(string.printable), ""))
            + line[at + chance.randrange(3) :]
        )
    return line[: chance.randrange(len(line) + 1)] if chance.random() < 0.03 else line


def generated(seed: int, count: int) -> bytes:
    """A mixed log of every shipper, hostile now and then."""
    chance = random.Random(seed)
    wrappers = [*WRAPPERS.values(), *COMPACT.values()]
    lines = []
    for _ in range(count):
        line = damaged(chance.choice(PARTS), chance)
        if chance.random() < 0.05:
            line = journald(list(line.encode("utf-8", "replace")))
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 3))):
            line = chance.choice(wrappers)(line)
        lines.append(damaged(line, chance).encode("utf-8", "surrogatepass"))
    return b"".join(line + chance.choice((b"\n", b"\n", b"\r\n", b"\n\n")) for line in lines)


@pytest.mark.parametrize("seed", range(6))
def test_the_fast_way_tells_what_the_reference_tells(seed: int) -> None:
    content = generated(seed, 2500)

    hits = fast(content)

    assert hits == list(scan_all(split(content)))
    assert hits == list(scan(split(content)))
    assert hits == list(scan_stream(io.BytesIO(content).readinto, at_once=True))
    assert len({hit.fault.fault_id for hit in hits}) > 20


@pytest.mark.parametrize("seed", range(6, 9))
def test_gpu_rules_alone_tell_what_all_rules_tell_of_gpus(seed: int) -> None:
    content = generated(seed, 2500)
    of_gpus = ("xid/", "sxid/", "kernel/gpu-lost")

    assert fast(content, gpu_only=True) == [
        hit for hit in fast(content) if hit.fault.fault_id.startswith(of_gpus)
    ]


contents = st.lists(
    st.sampled_from(
        [*PARTS, *(wrap(XID_79) for wrap in (WRAPPERS | COMPACT).values()), "\n", "\n", "\r\n"]
    ).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=20),
    max_size=30,
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(contents)
def test_no_bytes_make_the_fast_way_differ(content: bytes) -> None:
    assert fast(content) == list(scan_all(split(content)))


heads = st.sampled_from(
    ["", "<4>", "<999>", "<0> ", "Jun 29 19:20:26 gpu-7 kernel: ", "Jun  9 19:20:26 g\tx kernel:",
     "Jun 29 19:20:26 h\ufffd kernel: ", "kernel: ", "[    5.000001] ", "[5.000001][  T896] ",
     "[5.1] ", "[538441.007373]", "[5.000001]  ", "[ 5.000001] [C1] ", " ", "\\x0a", "\\x5cx41",
     "2026-11-22T05:00:00.123456+00:00 gpu-7 kernel: ", "2026-13-22T05:00:00Z gpu-7 kernel:",
     "2026-11-22 05:00:00 ", "2026-11-22T05:00:00Z stdout F ", "2026-11-22T05:00:00,5+01:30 ",
     "2026-11-22T05:00:00Z stderr P:x kernel: ", "1 2026-11-22T05:00:00Z h kernel - - - ",
     "<4>1 2026-11-22T05:00:00.5Z h kernel 7 x - ", "<4>1 2026-11-22T05:00:00 \u00e9 kernel - - -"]
)  # fmt: skip
insides = st.sampled_from(
    ["NVRM: x", "nvidia-nvswitch0: SXid (x", "NVRM:", "nvidia: x", "NVRM: \\x5cx41 x ", "NVRM: x\r"]
)
messages = st.builds("{}{}".format, st.lists(heads, max_size=3).map("".join), insides | st.text())
odd = st.sampled_from(["", " ", "\u2028", "\ud800", "\x1b[0m", "x"])


@settings(max_examples=1500, deadline=None)
@given(messages, st.lists(st.sampled_from(list(WRAPPERS.values())), max_size=2), heads, odd)
def test_taking_all_off_at_once_is_taking_off_layer_by_layer(
    message: str, wrappers: list[Callable[[str], str]], head: str, tail: str
) -> None:
    line = message
    for wrap in wrappers:
        line = wrap(line)

    for whole in (line, head + line, line + tail):
        assert unwrap(whole) == unwrap_by_layers(whole)


def test_a_fault_is_complete_for_its_own_line_only() -> None:
    line = f"[1.500000] {XID_79}\n[2.500000] {XID_79}\n".encode()

    assert [hit.fault.uptime_us for hit in fast(line)] == [1_500_000, 2_500_000]


@pytest.mark.parametrize("seed", range(9, 12))
def test_the_evidence_is_printable_and_bounded_however_the_line_was_read(seed: int) -> None:
    for hit in fast(generated(seed, 2500)):
        text = hit.fault.text

        assert text == printable(text, TEXT_LIMIT)


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x00", "\u202e", "\ud800"])
def test_a_json_escape_brings_nothing_into_the_evidence(odd: str) -> None:
    line = json.dumps({"log": f"{XID_79}{odd}!", "stream": "stdout"})

    assert unwrap(line) == unwrap_by_layers(line)
    assert [hit.fault.text.isprintable() for hit in fast(line.encode())] == [True]


def test_what_one_line_tells_of_a_unit_is_its_own() -> None:
    told = "NVRM: Xid (PCI:0000:3b:00): 145, RLW_REMAP Nonfatal XC0 i0 Link {} (0x00000004 0x{})"
    lines = [told.format(1, "00000001"), told.format(2, "00000001"), told.format(3, "00000000")]

    found = [hit.fault for hit in fast("\n".join([*lines, lines[0]]).encode())]

    assert [fault.detail["link"] for fault in found] == ["1", "2", "3", "1"]
    assert found[0] == found[3]
    assert found[0].detail is not found[3].detail


@given(st.text() | st.text(alphabet="\\xX5c ~\x7f\x1f\t\u00a0é", max_size=12))
def test_a_plain_text_is_one_that_cleaning_does_not_change(text: str) -> None:
    assert is_plain(text) == (text.isprintable() and "\\x" not in text)
    if is_plain(text):
        assert clean(text) == text.strip()
