"""Text that programs choose never decides what a line says: the whole decoder, with all rules."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import tables
from parsers.decode import Decoder
from parsers.fault import TEXT_LIMIT, Fault, Severity, Trust
from parsers.record import unwrap
from parsers.scan import scan_stream
from tests.support.wrapped_lines import WRAPPERS, kmsg_json

XID_79 = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
NAMES = ["x): 79, Fatal", "NVRM: Xid (PCI:0000:3b:00): 79"]
ACTS = (Severity.FATAL, Severity.DEGRADED)
RULES = tables.shipped().kernel.rules
EXAMPLES = [example.text for rule in RULES for example in rule.examples]
#: Beginnings of what acts: what a program would like to print.
WORTH_FORGING = [
    XID_79, "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
    "Xid (3b:0): 119", "Xid (3b:0): 79,", "xid (3b:0): 119", "SXid (3b:0): 20",
    *(e.text for rule in RULES if rule.severity in ACTS for e in rule.examples),
]  # fmt: skip
#: Where the kernel prints a process name, and what we say of such a line.
PLACES = {
    "Xid": "NVRM: Xid (PCI:0000:af:00): 31, pid=7, name={}, Ch 00000008, intr 00000000.",
    "hung task": "INFO: task {}:7 blocked for more than 120 seconds.",
    "soft lock-up": "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [{}:7]",
    "segfault": "{}[7]: segfault at 0 ip 00 sp 00 error 4 in libcuda.so.1[7f+1]",
    "oom": "{} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "oom kill": "Out of memory: Killed process 7 ({}) total-vm:1kB, anon-rss:1kB",
    "beyond end": "{}: attempt to access beyond end of device",
}
SAID = {
    "Xid": ("xid/31", "0000:af:00"),
    "hung task": ("kernel/hung-task", ""),
    "soft lock-up": ("kernel/soft-lockup", ""),
    "segfault": ("kernel/segfault-cuda", ""),
    "oom": None,  # noise
    "oom kill": ("kernel/oom-host", ""),
    "beyond end": ("kernel/beyond-end-of-device", ""),
}


def told(line: str) -> list[Fault]:
    return Decoder().feed(unwrap(line))


def named(faults: list[Fault]) -> tuple[str, str] | None:
    assert len(faults) <= 1
    return (faults[0].fault_id, faults[0].device) if faults else None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", [*NAMES, *(name[:15] for name in NAMES)])
@pytest.mark.parametrize("wrapper", ["raw", "dmesg", "syslog", "kmsg json", "journald"])
def test_a_process_that_is_named_like_an_xid(wrapper: str, name: str, place: str) -> None:
    if PLACES[place].startswith("{}"):
        name = name[:15]  # all that the kernel keeps of it, so that it is no head
    line = WRAPPERS[wrapper](PLACES[place].format(name))

    assert named(told(line)) == SAID[place]


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(WORTH_FORGING).map(lambda text: text[:15]) | st.text(max_size=15))
def test_no_process_name_changes_what_a_line_says(place: str, name: str) -> None:
    for fault in told(kmsg_json(PLACES[place].format(name))):
        assert (fault.fault_id, fault.device) == SAID[place] or fault.severity not in ACTS
        assert fault.severity is not Severity.FATAL


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=300, deadline=None)
@given(
    beginning=st.sampled_from(WORTH_FORGING),
    length=st.integers(1, 14),
    tail=st.text(max_size=8),
)
def test_a_process_name_behind_a_line_feed_is_never_a_fault_that_acts(
    place: str, beginning: str, length: int, tail: str
) -> None:
    """The rest of such a message is a line of its own in logs that split it there."""
    name = (beginning[:length] + tail)[:14]
    rest = PLACES[place].split("{}")[1]

    for fault in told(name + rest):
        assert fault.severity not in ACTS, (name, fault)


@pytest.mark.parametrize("place", [place for place in PLACES if PLACES[place].startswith("{}")])
@pytest.mark.parametrize("head", ["h kernel: ", "[T1] ", "x kernel: [1] "])
def test_a_process_name_that_looks_like_a_wrapper_is_never_a_fault_that_acts(
    head: str, place: str
) -> None:
    for beginning in WORTH_FORGING:
        line = PLACES[place].format((head + beginning)[:15])
        for fault in told(f"[12.000001] {line}"):
            assert fault.severity not in ACTS, line


@pytest.mark.parametrize(
    "name", ["Oops: [#1]", "Oops: 0002 [#1]", "Xid (3b:0): 79", "Xid (3b:0): 119"]
)
@pytest.mark.parametrize("rest", [", Ch 00000008", " invoked oom-killer: gfp_mask=0xcc0"])
def test_a_name_that_is_a_whole_head_does_not_act(name: str, rest: str) -> None:
    for fault in told(f"<4>[12.000001] {name}{rest}"):
        assert fault.severity not in ACTS


@pytest.mark.parametrize("head", ["python3: ", "x ", "INFO: ", "'", f"{XID_79} "])
def test_a_quoted_kernel_line_never_acts(head: str) -> None:
    for text in [XID_79, *EXAMPLES]:
        for fault in told(head + text):
            if fault.severity in ACTS:
                assert (head, fault.fault_id) == (f"{XID_79} ", "xid/79")


def test_a_pods_line_that_quotes_a_kernel_line_tells_nothing_of_the_node() -> None:
    decoder = Decoder()
    for text in [XID_79, *WORTH_FORGING, *EXAMPLES]:
        for line in (text, f"log: {text}", kmsg_json(text), f"CUDA error: out of memory {text}"):
            for fault in decoder.feed_pod(unwrap(line)):
                assert fault.trust is Trust.POD
                assert fault.severity not in ACTS
                assert fault.fault_id.startswith("workload/")


@pytest.mark.parametrize(
    "tail", ["x" * 65_536, " " * 65_536 + "x", "Xid (" * 13_000, "[#1] " * 13_000]
)
def test_a_line_of_64_kib_says_what_its_head_says(tail: str) -> None:
    for text in [XID_79, *EXAMPLES]:
        for fault in told(f"{text} {tail}"):
            assert named([fault]) == named(told(text))
            assert len(fault.text) <= TEXT_LIMIT
            assert all(len(value) <= TEXT_LIMIT for value in fault.detail.values())


@pytest.mark.parametrize(
    "head", ["x" * 65_536, "NVRM: " * 11_000, "[" * 65_536, "pcieport " * 7_000]
)
def test_nothing_behind_64_kib_is_a_head(head: str) -> None:
    for text in [XID_79, *WORTH_FORGING]:
        assert [fault for fault in told(head + text) if fault.severity in ACTS] == []


ODD = {
    "control characters": "\x00\x07\x1b]0;title\x07\x7f",
    "colours": "\x1b[31mred\x1b[0m",
    "bidirectional": "\u202e\u2066evil\u2069\u200f",
    "surrogates": "\udcff\udcfe",
    "line ends": "\r\x0b\x0c\x85\u2028",
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_characters_change_no_fault_and_reach_no_screen(odd: str) -> None:
    for text in [XID_79, *EXAMPLES]:
        for fault in told(f"{text} {odd} end"):
            assert named([fault]) == named(told(text))
            assert fault.text.isprintable()
            assert not set("\u202e\u2066\u2069\u200f") & set(fault.text)
    for place, line in PLACES.items():
        for fault in told(line.format(odd[:15])):
            assert named([fault]) == SAID[place]
            assert fault.text.isprintable()
            assert all(value.isprintable() for value in fault.detail.values())


def test_invalid_utf_8_hides_nothing_and_stops_nothing() -> None:
    bad = b"\xff\xc3\x28\xed\xa0\x80\xf8"
    log = b"".join(
        line + bad + b"\n"
        for line in (XID_79.encode() + b" ", b"Kernel panic - not syncing: ", b"XFS (sda1): ")
    )

    hits = list(scan_stream(io.BytesIO(bad + b"\n" + log).readinto))

    assert [(hit.line_number, hit.fault.fault_id) for hit in hits] == [
        (2, "xid/79"), (3, "kernel/panic"),
    ]  # fmt: skip
    assert all(hit.fault.text.isprintable() for hit in hits)
