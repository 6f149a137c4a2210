from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import sxid, tables, xid
from parsers.at_once import AtOnce
from parsers.catalog import Entry
from parsers.decode import Decoder
from parsers.fault import TEXT_LIMIT, Fault, Remedy, Severity
from parsers.record import unwrap_by_layers
from tests.support.wrapped_lines import COMPACT, WRAPPERS, kmsg_json, rows

STAMP = "[538441.007373] "
XID = "NVRM: Xid (PCI:0000:3b:00): "
SXID = "nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): "
MMU = (
    "31, pid=7, name=python3, Ch 00000010, intr 00000000. MMU Fault: ENGINE GRAPHICS GPC1 "
    "GPCCLIENT_T1_0 faulted @ 0x7f01_00000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ"
)
MESSAGES = (
    XID + MMU,
    XID + "79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
    XID + "45, pid=12, name=x, Ch 00000001, errorString CTX SWITCH TIMEOUT, Info 0x1, previous "
    "Xid 31",
    XID + "154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)",
    XID + "145, RLW_REMAP Nonfatal XC0 i0 Link 07 (0x00000004 0x00000001 0x00000000 0x00000000)",
    XID + "99999, a code that no table has",
    XID + "31, pid=7, name=x): 79, Fatal, Ch 00000008",
    XID + "31, pid=7, name=a, b, c, Ch 00000008, intr 0",
    XID + "43, pid=1, pid=2, name=x, Ch 8",
    XID + "43, name=x",
    XID + "43, pid=1, name=\u043f\u0440\u043e\u0446, Ch 00000008",
    SXID + "20034, Fatal, Link 30 LTSSM Fault Up",
    SXID + "12028, Non-fatal, Link 3 egress non-posted PRIV error (First)",
    SXID + "20034, pid=7, Fatal",
    "nvidia-nvswitch: SXid (PCI:0000:c3:00.7): 22013, Correctable, instance=1, chiplet=2",
)


ALL = WRAPPERS | COMPACT
#: Wrappers that are told in one step, not just by the long way.
COMMON = (
    "raw", "dmesg", "dmesg padded", "dmesg caller", "priority", "syslog", "syslog priority",
    "syslog iso", "syslog 5424", "cri", "cri cr", "docker", "docker, compact",
    "docker, compact, no stamp", "kmsg json", "forwarder", "forwarder, a program's record",
    "forwarder, few fields", "journald", "journald, no uptime", "otlp", "otlp dmesg",
    "otlp journald", "otlp batch", "logcli", "promtail pack",
)  # fmt: skip


@pytest.fixture(scope="module")
def at_once() -> AtOnce:
    return AtOnce(tables.shipped().xids, tables.shipped().sxids)


def by_layers(line: str) -> list[Fault]:
    return Decoder().feed(unwrap_by_layers(line))


@pytest.mark.parametrize("wrapper", COMMON)
@pytest.mark.parametrize("message", [XID + MMU, SXID + "20034, Fatal, Link 30 LTSSM Fault Up"])
def test_the_commonest_lines_are_told_in_one_step(
    at_once: AtOnce, wrapper: str, message: str
) -> None:
    line = ALL[wrapper](message)

    assert [at_once.tell(line)] == by_layers(line)


@pytest.mark.parametrize("wrapper", ALL)
def test_what_is_told_is_what_the_layers_tell(at_once: AtOnce, wrapper: str) -> None:
    lines = [ALL[wrapper](message) for message in (*MESSAGES, *(row.line for row in rows()))]
    told = {line: fault for line in lines if (fault := at_once.tell(line))}

    assert [[fault] for fault in told.values()] == [by_layers(line) for line in told]


odd = st.sampled_from([
    "", " ", "  ", "\t", "\r", "\r\n", "\n", "\x00", "\x1b[31m", "\x7f", "\u202e", "\u2028",
    "\u00a0", "\ud800", "\u00e9", "\\", "\\x0a", "\\x5cx41", "\\n", '"', '",', "}", "{", "[", "]",
    ", ", "): ", "79", "<4>", "<12>", "pid=1, ", "name=", "x" * 600, "[5.000001] ", "Fatal",
    '","text":"', '"MESSAGE":[', "\\u0041", "\\u00e9",
])  # fmt: skip


@settings(max_examples=2500, deadline=None)
@given(st.data())
def test_no_damage_makes_the_fast_way_tell_another_fault(
    at_once: AtOnce, data: st.DataObject
) -> None:
    wrap = ALL[data.draw(st.sampled_from(sorted(ALL)))]
    line = _damaged(wrap(_damaged(data.draw(st.sampled_from(MESSAGES)), data)), data)

    fault = at_once.tell(line)

    assert fault is None or [fault] == by_layers(line)


def _damaged(text: str, data: st.DataObject) -> str:
    """A text put in, or put over some characters, in one place or none."""
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        end = at + data.draw(st.sampled_from((0, 0, 1, 2)))
        text = text[:at] + data.draw(odd | st.text(max_size=3)) + text[end:]
    return text


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_message_alone_is_told_as_its_parser_tells_it(
    at_once: AtOnce, data: st.DataObject
) -> None:
    text = _damaged(data.draw(st.sampled_from(MESSAGES)), data)
    fault = at_once.tell_message(text)

    if fault is not None:
        read = tables.shipped()
        line = sxid.parse(text, read.sxids)
        expected = line.fault if line else xid.parse(text, read.xids)
        assert expected is not None
        expected.text = text
        assert fault == expected


def test_a_continuation_of_an_sxid_is_never_sure(at_once: AtOnce) -> None:
    assert at_once.tell(f"{STAMP}{SXID}20034, Severity 1 Engine instance 30") is None
    assert at_once.tell_message(f"{SXID}20034, Data {{0x50610002, 0x10100030}}") is None


def test_a_record_that_a_program_wrote_is_told_as_injected(at_once: AtOnce) -> None:
    lines = [f"<12>{STAMP}{XID}{MMU}", kmsg_json(XID + MMU, facility=1), f"<4>{STAMP}{XID}{MMU}"]

    assert [fault.injected for line in lines if (fault := at_once.tell(line))] == [
        True, True, False
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["heartbeat", "missed", "strange"])
def test_what_is_no_kernel_record_is_never_sure(at_once: AtOnce, kind: str) -> None:
    assert at_once.tell(kmsg_json(XID + MMU, kind=kind, missed=1)) is None
    assert at_once.tell(COMPACT["forwarder"](XID + MMU).replace("record", kind)) is None


@pytest.mark.parametrize("message", MESSAGES)
def test_two_lines_with_the_same_words_have_details_of_their_own(
    at_once: AtOnce, message: str
) -> None:
    line = STAMP + message
    if (first := at_once.tell(line)) is not None:
        first.detail.update(dict.fromkeys([*first.detail, "other"], "changed"))

        assert [at_once.tell(line)] == by_layers(line)


def test_pid_and_device_are_those_of_the_line(at_once: AtOnce) -> None:
    lines = [XID + MMU, XID.replace("3b", "af") + MMU.replace("pid=7", "pid=8")]
    told = [fault for line in lines if (fault := at_once.tell(line))]

    assert [(fault.device, fault.detail["pid"]) for fault in told] == [
        ("0000:3b:00", "7"), ("0000:af:00", "8")
    ]  # fmt: skip


def test_tables_of_two_decoders_do_not_mix() -> None:
    entry = Entry("xid/31", 31, "X", "of a user", Severity.FATAL, Remedy.REBOOT)
    ours, theirs = AtOnce(tables.shipped().xids, {}), AtOnce({31: entry}, {})
    line = f"{STAMP}{XID}{MMU}"

    told = [each.tell(line) for each in (ours, theirs, ours)]

    assert [fault.severity for fault in told if fault] == [
        Severity.APPLICATION, Severity.FATAL, Severity.APPLICATION
    ]  # fmt: skip


@pytest.mark.parametrize("length", [1, TEXT_LIMIT - 100, TEXT_LIMIT, 70_000])
def test_long_words_are_told_as_the_layers_tell_them(at_once: AtOnce, length: int) -> None:
    line = f"{STAMP}{XID}43, pid=1, name=x, {'y' * length}"
    fault = at_once.tell(line)

    assert (fault is None) is (length >= TEXT_LIMIT)
    assert fault is None or [fault] == by_layers(line)


def test_a_fault_on_every_line_with_words_of_its_own_is_told(at_once: AtOnce) -> None:
    lines = [f"{STAMP}{XID}43, pid={n}, name=x, Ch {n:08x}" for n in range(3000)]

    assert [at_once.tell(line) for line in lines] == [by_layers(line)[0] for line in lines]
