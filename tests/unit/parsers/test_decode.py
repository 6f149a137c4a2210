from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import tables
from parsers.decode import Decoder
from parsers.device import normalise
from parsers.fault import Fault, Remedy, Severity, Trust
from parsers.record import LINE_LIMIT, unwrap
from tests.support.wrapped_lines import BOOT, UPTIME_US, WRAPPERS, journald, kmsg_json

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."

addresses = st.builds(
    "{}{:02x}:{:02x}{}".format,
    st.sampled_from(["0000:", "000D:", "00000000:", "00010000:", ""]),
    st.integers(0, 255),
    st.integers(0, 31),
    st.sampled_from(["", ".0", ".7"]),
)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=15) | (
    st.sampled_from(["x): 79, Fatal", "NVRM: Xid (PCI:", "a, B Fatal XC0", "[1.5] kernel:"])
)
bodies = st.sampled_from(
    [
        "", ", GPU has fallen off the bus.", ", Ch 00000008", ", RLW_REMAP Fatal XC1 i0 Link 10",
        ", NVLink: fatal error detected on link 14(0x0, 0x0)", ", Data {0x1}", ", Fatal, Link 3 x",
        ", GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
    ]
)  # fmt: skip
processes = st.just("") | st.builds(", pid={}, name={}".format, st.integers(0, 4194304), names)
xids = st.builds(
    "{}{} (PCI:{}{}): {}{}{}".format,
    st.sampled_from(["NVRM: ", ""]),
    st.sampled_from(["Xid", "XID", "xid"]),
    addresses,
    st.sampled_from(["", " GPU-I:05", " GPU-I:05 GPU-CI:02"]),
    st.integers(0, 200),
    processes,
    bodies,
)
sxids = st.builds(
    "nvidia-nvswitch{}: SXid (PCI:{}): {}{}".format,
    st.integers(0, 15),
    addresses,
    st.sampled_from([12028, 20034, 26006, 99999]),
    bodies,
)
lost = st.builds(
    "NVRM: GPU {}: GPU has fallen off the bus.".format, addresses
) | st.sampled_from(
    [
        "NVRM: The NVIDIA GPU 0000:18:00.0", "NVRM: installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
        "nvidia-peermem nv_get_p2p_free_callback:127 ERROR detected invalid context",
    ]
)  # fmt: skip
messages = xids | sxids | lost
wrappers = st.sampled_from(list(WRAPPERS.values()))
noise = st.sampled_from(
    ["\x1b[0m", "\x00", "\t", " ", "\\u0058", "\\x58", "\\x0a", "\u202e", "\n", "[", "\\", '"', "X"]
)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Lines of the grammar, wrapped up to three times, damaged at a few places."""
    line = draw(messages)
    for wrap in draw(st.lists(wrappers, max_size=3)):
        line = wrap(line)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(noise) + line[at + draw(st.integers(0, 2)) :]
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + line[at:].replace("i", "\\u0069", 1)
    return line


def named(line: str) -> bool:
    return any(literal in line for literal in tables.shipped().literals)


@settings(max_examples=1500, deadline=None)
@given(lines())
def test_every_line_that_gives_a_fault_contains_a_literal(line: str) -> None:
    if Decoder().feed(unwrap(line)):
        assert named(line)


@settings(max_examples=300, deadline=None)
@given(messages, wrappers)
def test_every_part_of_an_assembly_passes_the_filter_in_every_wrapper(
    message: str, wrap: Callable[[str], str]
) -> None:
    assert named(wrap(message))


@settings(max_examples=600, deadline=None)
@given(xids | sxids, wrappers)
def test_a_wrapper_changes_neither_code_nor_device_nor_severity(
    message: str, wrap: Callable[[str], str]
) -> None:
    def told(line: str) -> list[tuple[str, str, Severity, Remedy]]:
        faults = Decoder().feed(unwrap(line))
        return [(f.fault_id, f.device, f.severity, f.remedy) for f in faults]

    assert told(wrap(message)) == told(message) != []


@settings(max_examples=600, deadline=None)
@given(xids | sxids)
def test_code_and_device_are_those_of_the_head(message: str) -> None:
    head = re.match(r"[^(]*\(PCI:([^ )]*)[^)]*\): ([0-9]+)", message)
    assert head is not None
    address = normalise(head[1])
    assert address is not None

    (fault,) = Decoder().feed(unwrap(message))

    assert (fault.device, fault.fault_id.split("/")[1]) == (address.device, head[2])


@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=400)
    | st.binary(max_size=400).map(lambda b: b.decode("utf-8", "surrogateescape"))
)
def test_arbitrary_text_does_no_harm(text: str) -> None:
    decoder = Decoder()
    for line in (text, f"NVRM: Xid ({text}", f"{{{text}}}", f"[1.5] {text}", XID_79 + text):
        record = unwrap(line)
        for fault in decoder.feed(record) + decoder.feed_pod(record):
            assert fault.text.isprintable()
            assert all(value.isprintable() for value in fault.detail.values())


@pytest.mark.parametrize(
    "line",
    [
        "[" * LINE_LIMIT, "[1.5] " * 11_000, "kernel: " * 8_000, "\x1b[0m" * 16_000,
        "\x1b[0" * 20_000, "\\x0a" * 16_000, "\\" * LINE_LIMIT, "{" + "\\" * 65_000 + "}",
        '{"log":"' + "\\\\" * 32_000 + '"}', "NVRM: Xid (" * 5_900,
        "NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=" + ", " * 32_000,
        "NVRM: Xid (PCI:0000:3b:00): 154, " + "GPU recovery action changed from " * 1_900,
        "NVRM: Xid (PCI:0000:3b:00): 145, " + "A" * 65_000, "NVRM: Xid (" + "0" * 65_000,
        "NVRM: The NVIDIA GPU 0000:3b:00.0" + " " * 60_000 + "x",
        "NVRM: The NVIDIA GPU 0000:3b:00.0" + " NVRM:" * 10_000,
        "message repeated 9 times: [ " * 2_300, "<4>" * 21_000, "4,1,2,-;" * 8_000,
        " " * 65_000 + "x",
        "{" * LINE_LIMIT, '{"a":' * 13_000 + "}", "Jun 29 19:20:26 " + "h" * 65_000,
        "\x00" * LINE_LIMIT,
        "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 20034, " + "Fatal, Link " * 5_000,
    ],
)  # fmt: skip
@pytest.mark.timeout(5)
def test_no_line_takes_more_than_linear_time(line: str) -> None:
    decoder = Decoder()
    for _ in range(10):
        record = unwrap(line)
        decoder.feed(record)
        decoder.feed_pod(record)


def test_what_the_record_tells_reaches_the_fault() -> None:
    (fault,) = Decoder().feed(unwrap(kmsg_json(XID_79)), "node-a", 7)

    assert fault == Fault(
        "xid/79", Severity.FATAL, Remedy.REBOOT, device="0000:3b:00", node="node-a", time_ns=7,
        uptime_us=UPTIME_US, boot_id=BOOT, text=XID_79,
    )  # fmt: skip


def test_the_wrapper_names_node_and_time_where_the_stream_does_not() -> None:
    (fault,) = Decoder().feed(unwrap(kmsg_json(XID_79)))

    assert (fault.node, fault.time_ns) == ("gpu-7", 1_795_323_600_123_456_000)


@pytest.mark.parametrize(
    ("line", "injected"),
    [
        (kmsg_json(XID_79), False),
        (kmsg_json(XID_79, facility=1), True),
        (f"12,1,2,-;{XID_79}", True),
        (f"user  :warn  : [1.5] {XID_79}", True),
        (journald(XID_79, SYSLOG_FACILITY="3"), True),
        (journald(XID_79, SYSLOG_FACILITY=["1", "0"]), True),
        (journald(XID_79, SYSLOG_FACILITY="kern"), True),
        (journald(XID_79, SYSLOG_FACILITY=None), False),
        (f"[1.5] {XID_79}", False),
        (kmsg_json(f"[9.5] {XID_79}", facility=1), True),
    ],
)
def test_a_record_of_a_program_is_injected(line: str, injected: bool) -> None:
    (fault,) = Decoder().feed(unwrap(line))

    assert fault.injected is injected


@pytest.mark.parametrize(
    "line",
    [
        journald(XID_79, _TRANSPORT="syslog"),
        journald(XID_79, _TRANSPORT="stdout", SYSLOG_FACILITY="0"),
        kmsg_json(XID_79, kind="heartbeat"),
        kmsg_json(XID_79, kind="missed", missed=3),
        kmsg_json(XID_79, kind="something"),
    ],
)
def test_what_is_not_the_kernels_gives_no_kernel_fault(line: str) -> None:
    assert Decoder().feed(unwrap(line)) == []


def test_repetitions_count() -> None:
    (fault,) = Decoder().feed(unwrap(WRAPPERS["repeated"](XID_79)))

    assert fault.count == 3


def test_a_byte_array_with_a_hostile_name_is_still_seen() -> None:
    line = journald(list(b"NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=\xff, x"))

    (fault,) = Decoder().feed(unwrap(line))

    assert (fault.device, named(line)) == ("0000:3b:00", True)


def test_a_pod_line_is_an_application_fault_of_trust_pod() -> None:
    line = "RuntimeError: CUDA error: invalid device ordinal"
    wrapped = json.dumps({"log": line + "\n", "stream": "stderr"})

    (fault,) = Decoder().feed_pod(unwrap(wrapped), "n", 5)

    assert (fault.fault_id, fault.severity) == (
        "workload/invalid-device-ordinal", Severity.APPLICATION,
    )  # fmt: skip
    assert (fault.remedy, fault.trust, fault.device) == (Remedy.NONE, Trust.POD, "")
    assert any(literal in wrapped for literal in tables.shipped().pod_literals)


def test_pod_and_kernel_rules_do_not_mix() -> None:
    decoder = Decoder()

    assert decoder.feed_pod(unwrap(XID_79)) == []
    assert decoder.feed(unwrap("CUDA error: invalid device ordinal")) == []


def test_literals_are_few_and_survive_quoting_and_colours() -> None:
    kernel_words = [literal for literal in tables.shipped().literals if "MESSAGE" not in literal]

    assert len(tables.GPU_LITERALS) <= 10
    assert not any(set(literal) & set(':]"\\/') or literal[0] == " " for literal in kernel_words)
