"""Is this line in the node's kernel log?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.decode import Decoder
from parsers.record import unwrap
from probes.agent.attest import SHORTEST_CUT, Attestor, same_stamp
from probes.agent.kernellog import KernelLog, compared
from probes.kmsg.record import TEXT_LIMIT, decode_text
from probes.kmsg.ring import RingCursor, RingError
from probes.report import KmsgAnswer, KmsgQuestion
from tests.support.kmsg import KernelRing

BOOT = "0123456789abcdef0123456789abcdef"
XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
LONG = (
    "NVRM: Xid (PCI:0000:3b:00): 119, pid=4242, name=python3, Timeout after 6s of waiting for RPC "
    "response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20802a02 0x8)."
)
KERNEL, USER = 4, 12  # prefix: facility 0 and 1, level warning


class Node:
    """A ring and somebody who is asked about it."""

    def __init__(self, *, most_bytes: int = 6 * 2**20) -> None:
        self.ring = KernelRing()
        self.now = 0.0
        self.log = KernelLog(RingCursor(self.ring.open, None), most_bytes=most_bytes)
        self.attestor = Attestor(self.log, boot_id=BOOT, monotonic=lambda: self.now)

    def ask(self, text: str, uptime_us: int | None = None, **more: object) -> KmsgAnswer:
        question = KmsgQuestion.model_validate({"text": text, "uptime_us": uptime_us, **more})
        return self.attestor.answer([question])[0]


@pytest.fixture
def node() -> Node:
    made = Node()
    made.ring.log("Linux version 6.8.0", 0, KERNEL)
    made.ring.log(XID, 538_441_007_373, KERNEL)
    made.ring.log("systemd[1]: started", 538_500_000_000, USER)
    return made


def test_a_record_of_the_kernel_is_confirmed(node: Node) -> None:
    assert node.ask(XID, 538_441_007_373) == KmsgAnswer(answer="confirmed")
    assert node.ask(XID, 538_441_007_373, boot_id=BOOT, sequence=1).answer == "confirmed"


def test_a_record_that_a_program_wrote_is_confirmed_as_injected(node: Node) -> None:
    node.ring.log(XID.replace("79", "48"), 538_600_000_000, USER)
    answer = node.ask(XID.replace("79", "48"), 538_600_000_000)
    assert (answer.answer, answer.injected) == ("confirmed", True)


def test_the_kernels_own_word_outranks_a_copy_of_it(node: Node) -> None:
    node.ring.log(XID, 538_700_000_000, USER)
    assert node.ask(XID).injected is False
    assert node.ask(XID, 538_700_000_000).injected is True


@pytest.mark.parametrize(
    "question",
    [
        {"text": XID, "uptime_us": 538_441_007_374},  # a true line under another time
        {"text": XID.replace("3b", "5e"), "uptime_us": 538_441_007_373},  # another GPU
        {"text": XID.replace("79", "7"), "uptime_us": 538_441_007_373},
        {"text": "NVRM: Xid (PCI:0000:3b:00): 7", "uptime_us": 538_441_007_373},  # cut in the code
        {"text": XID + " more", "uptime_us": 538_441_007_373},
        {"text": XID, "uptime_us": 538_441_007_373, "sequence": 2},
        {"text": "x" + XID, "sequence": 1},
        {"text": XID, "uptime_us": 10**15},  # later than anything
    ],
)
def test_a_forged_line_is_denied(node: Node, question: dict[str, object]) -> None:
    assert node.ask(**question).answer == "denied"  # type: ignore[arg-type]


def test_a_line_of_another_boot_is_unknown(node: Node) -> None:
    answer = node.ask(XID, 538_441_007_373, boot_id="f" * 32)
    assert (answer.answer, answer.reason) == ("unknown", "of another boot")


def test_without_uptime_a_line_is_confirmed_or_unknown_never_denied(node: Node) -> None:
    assert node.ask(XID).answer == "confirmed"
    assert "no uptime" in node.ask(XID).reason
    assert node.ask(XID + "x").answer == "unknown"


def test_what_the_ring_no_longer_holds_is_unknown() -> None:
    node = Node()
    for number in range(100):
        node.ring.log(f"usb 1-{number}: new device", number * 10_000_000)
    node.ring.overwrite(50)
    assert node.ask("usb 1-20: new device", 200_000_000).answer == "unknown"
    assert node.ask("usb 1-20: new devic", 200_000_000).answer == "unknown"
    assert node.ask("usb 1-70: new device", 700_000_000).answer == "confirmed"
    assert node.ask("usb 1-70: old device", 700_000_000).answer == "denied"


def test_what_was_overwritten_before_it_was_read_is_unknown_and_no_more_than_that() -> None:
    node = Node()
    for number in range(100):
        node.ring.log(f"line {number}", number * 10_000_000)
        if number == 20:
            node.attestor.follow()
    node.ring.overwrite(60)
    assert node.ask("line 10", 100_000_000).answer == "confirmed"  # remembered beyond the ring
    assert node.ask("nine 10", 100_000_000).answer == "denied"
    assert node.ask("nine 40", 400_000_000).answer == "unknown"
    assert node.ask("nine 40", sequence=40).answer == "unknown"
    assert node.ask("nine 80", 800_000_000).answer == "denied"


def test_memory_is_bounded_and_what_was_dropped_is_unknown() -> None:
    node = Node(most_bytes=100_000)
    for number in range(3000):
        node.ring.log(f"line {number} " + "x" * 40, number * 2_000_000)
    assert node.ask("line 0 " + "x" * 40, 0).answer == "unknown"
    assert 200 < node.attestor.known() < 400
    assert node.ask("line 2999 " + "x" * 40, 2999 * 2_000_000).answer == "confirmed"
    assert node.ask("nine 2999 " + "x" * 40, 2999 * 2_000_000).answer == "denied"
    assert node.ask("line 1500", 1500 * 2_000_000).answer == "unknown"


def test_a_stamp_near_the_end_of_what_is_known_is_unknown() -> None:
    """printk stamps records before it numbers them: neighbours may be out of order."""
    node = Node()
    node.ring.log("first", 10_000_000)
    node.ring.log("second", 12_000_000)
    node.ring.overwrite(1)
    assert node.ask("zero", 12_900_000).answer == "unknown"
    assert node.ask("zero", 13_100_001).answer == "denied"


def test_a_kernel_log_that_cannot_be_read_answers_unknown(node: Node) -> None:
    node = Node()
    node.ring.openable = False
    assert node.ask(XID, 1).answer == "unknown"
    assert node.attestor.trouble()
    node.ring.openable = True
    node.ring.log(XID, 1_000_000)
    assert node.ask(XID, 1_000_000).answer == "confirmed"
    assert node.attestor.trouble() == ""


def test_a_log_that_is_written_faster_than_it_is_read_denies_nothing() -> None:
    node = Node()
    for number in range(25_000):
        node.ring.log(f"flood {number}", number)
    assert node.ask("not there", 24_999).answer == "unknown"
    assert node.ask("not there", 24_999_999).answer == "denied"  # it has caught up


def test_a_machine_that_was_restored_from_a_snapshot_forgets_the_other_future() -> None:
    node = Node()
    for number in range(10):
        node.ring.log(f"old {number}", number * 1_000_000)
    assert node.ask("old 9", 9_000_000).answer == "confirmed"
    node.ring.records = node.ring.records[:4]
    node.ring.errors = [5] * 1  # the device is opened again
    node.ask("x", 1)
    node.ring.log("new 4", 4_500_000)
    node.ask("x", 1)
    node.ring.log("new 5", 5_500_000)
    assert node.ask("new 5", 5_500_000).answer == "confirmed"


# ---------------------------------------------------------------- how shippers print


@pytest.mark.parametrize(
    "raw",
    [
        XID,
        LONG,
        r"NVRM: a\x09tab and \xc3\xa9t\xc3\xa9 and \x5cbackslash",
        r"\x1b[31mred\x1b[0m alert",
        r"trailing blanks   ",
        r"kernel: looks like a tag",
        r"[ 12.5] looks like a stamp",
        '{"MESSAGE": "looks like a journal record"}',
        "<4>looks like a priority",
        r"ACPI BIOS Error (bug): \x5c_SB.PCI0, AE_NOT_FOUND \xff\xfe",
    ],
)
def test_a_line_is_known_however_it_was_shipped(raw: str) -> None:
    node = Node()
    node.ring.records.append(f"4,0,538441007373,-;{raw}\n SUBSYSTEM=pci\n".encode())
    printed = decode_text(raw.encode())
    for line in (
        f"4,0,538441007373,-;{raw}",  # a copy of /dev/kmsg
        f"[538441.007373] {raw}",  # dmesg
        f"[538441.007373] {printed}",
        f"[538441.007373][  T291] {printed}",
        f"Nov 19 20:47:00 node-a kernel: [538441.007373] {printed}",
        f"2026-11-19T20:47:00.123456+00:00 node-a kernel: [538441.007373] {printed}",
    ):
        record = unwrap(line)
        assert record.uptime_us == 538_441_007_373
        if record.text:
            answer = node.ask(record.text, record.uptime_us)
            assert answer.answer == "confirmed", (line, record.text)


def test_what_the_decoder_makes_of_a_line_is_confirmed() -> None:
    """The text that the controller has: without wrappers, at most 512 characters."""
    node = Node()
    long = LONG + " " + "register dump 0x12345678 " * 40
    node.ring.log(long[:900], 77_000_001)
    fault = Decoder().feed(unwrap(f"[   77.000001] {long[:900]}"), "node-a")[0]
    assert len(fault.text) == 512
    assert fault.text.endswith("…")
    assert node.ask(fault.text, fault.uptime_us).answer == "confirmed"


def test_a_line_that_a_shipper_cut_is_known_when_it_is_long_enough() -> None:
    node = Node()
    node.ring.log(LONG, 77_000_001)
    assert node.ask(LONG[:SHORTEST_CUT], 77_000_001).answer == "confirmed"
    assert node.ask(LONG[: SHORTEST_CUT - 1], 77_000_001).answer == "denied"
    assert node.ask(LONG[:120] + "x", 77_000_001).answer == "denied"


def test_lines_of_a_record_of_several_lines_are_known_one_by_one() -> None:
    node = Node()
    node.ring.records.append(rb"4,0,5000001,-;first line\x0asecond line\x0a third" + b"\n")
    for text in ("first line", "second line", "third", "first line\nsecond line\n third"):
        assert node.ask(text, 5_000_001).answer == "confirmed", text
    assert node.ask("first line third", 5_000_001).answer == "denied"


def test_stamps_of_fewer_digits_agree_as_far_as_they_go() -> None:
    node = Node()
    node.ring.log(XID, 123_456_789)
    for uptime_us, answer in [
        (123_456_789, "confirmed"), (123_456_000, "confirmed"), (123_400_000, "confirmed"),
        (123_000_000, "confirmed"), (123_457_000, "denied"), (124_000_000, "denied"),
        (123_456_780, "confirmed"), (123_456_788, "denied"), (0, "denied"),
    ]:  # fmt: skip
        assert node.ask(XID, uptime_us).answer == answer, uptime_us


@given(st.integers(0, 10**13), st.integers(0, 6))
def test_a_stamp_agrees_with_itself_however_many_digits_are_printed(us: int, cut: int) -> None:
    printed = us // 10**cut * 10**cut
    assert same_stamp(printed, us)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_stamps_a_second_apart_never_agree(one: int, other: int) -> None:
    if abs(one - other) >= 1_000_000:
        assert not same_stamp(one, other)


hostile = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.from_regex(
    r"(?s)[\\x0-9a-f\x1b\[\]<>;:{}\" ]{1,60}", fullmatch=True
)


@settings(max_examples=300)
@given(hostile)
def test_whatever_is_in_the_ring_is_known_as_dmesg_prints_it(text: str) -> None:
    """printk escapes what is outside printable ASCII, and the backslash."""
    raw = re.sub(
        rb"[^\x20-\x5b\x5d-\x7e]", lambda m: b"\\x%02x" % m[0][0], text.encode()
    )[:TEXT_LIMIT]  # fmt: skip
    node = Node()
    node.ring.records.append(b"4,0,1234567,-;" + raw + b"\n")
    shipped = unwrap("[    1.234567] " + decode_text(raw)).text
    if compared(shipped):
        assert node.ask(shipped, 1_234_567).answer == "confirmed"


@settings(max_examples=200)
@given(st.lists(hostile, max_size=5), hostile, st.integers(0, 9_000_000))
def test_nothing_is_confirmed_that_is_not_there(
    records: list[str], asked: str, uptime_us: int
) -> None:
    node = Node()
    for number, text in enumerate(records):
        node.ring.log(text.replace("\n", " "), number * 1_000_001)
    answer = node.ask(asked, uptime_us).answer
    there = {compared(text.replace("\n", " ")) for text in records}
    if compared(asked) not in there and len(asked) < SHORTEST_CUT:
        assert answer in ("denied", "unknown") or "\\x0a" in "".join(records)


# ---------------------------------------------------------------- hostile questions


def test_work_is_bounded_by_what_is_asked_plus_what_is_known() -> None:
    """256 questions that all look like all of 20,000 records: given up, not compared one by one."""
    node = Node()
    head = "NVRM: " + "A" * SHORTEST_CUT
    for number in range(20_000):
        node.ring.log(f"{head} {number:06d} tail", number)
    questions = [KmsgQuestion(text=f"{head} {number:06d}") for number in range(20_000, 20_256)]
    answers = node.attestor.answer(questions)
    assert {answer.answer for answer in answers} == {"unknown"}
    assert node.ask(f"{head} 019000 tail", 19_000).answer == "confirmed"


def test_a_storm_of_one_text_is_answered_line_by_line() -> None:
    node = Node()
    for number in range(5000):
        node.ring.log(XID, number * 1_000_001 + 1)
    questions = [
        KmsgQuestion(text=XID, uptime_us=number * 1_000_001 + (1 if number % 2 else 2))
        for number in range(3, 203)
        if (number * 1_000_001 + 1) % 10 and (number * 1_000_001 + 2) % 10
    ]
    answers = [answer.answer for answer in node.attestor.answer(questions)]
    odd = [question.uptime_us % 1_000_001 == 1 for question in questions]  # type: ignore[operator]
    assert answers == ["confirmed" if there else "denied" for there in odd]


def test_an_error_of_the_device_is_survived() -> None:
    node = Node()
    node.ring.log(XID, 5_000_001)
    node.ring.errors = [5]
    assert node.ask(XID, 5_000_001).answer == "unknown"
    assert node.ask(XID, 5_000_001).answer == "confirmed"


def test_a_device_that_is_missing_is_told() -> None:
    def missing() -> object:
        raise RingError("cannot open /dev/kmsg: No such file or directory")

    log = KernelLog(RingCursor(missing, None))  # type: ignore[arg-type]
    attestor = Attestor(log, boot_id=BOOT, monotonic=lambda: 0.0)
    assert attestor.answer([KmsgQuestion(text="x")])[0].reason == "the kernel log cannot be read"
    assert "cannot open" in attestor.trouble()
