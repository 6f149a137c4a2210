from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.decode import Decoder
from parsers.fault import Fault, Severity
from parsers.gsp import DUMP_S
from parsers.record import unwrap
from parsers.scan import scan

S = 1_000_000_000
T0 = 1_795_000_000 * S

XID = (
    "NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s of waiting"
    " for RPC response from GPU4 GSP! Expected function 76 (GSP_RM_CONTROL) sequence 1234"
    " (0x20803032 0x58c)."
)
CRASH = (
    "NVRM: Xid (PCI:0000:9b:00): 120, GSP task exception: load access page fault (cause:0xd)"
    " @ pc:0x140ca4a, partition:4#0, task:3"
)
DUMP = (
    (
        "NVRM: GPU4 GSP RPC buffer contains function 76 (GSP_RM_CONTROL) and data"
        " 0x0000000020803032 0x000000000000058c."
    ),
    "NVRM: GPU4 RPC history (CPU -> GSP):",
    (
        "NVRM:     entry function                   data0              data1              ts_start"
        "           ts_end             duration actively_polling"
    ),
    (
        "NVRM:      0    76   GSP_RM_CONTROL        0x0000000020803032 0x000000000000058c"
        " 0x00060ec47fc74e4b 0x0000000000000000          y"
    ),
    (
        "NVRM:     -1    103  GSP_RM_ALLOC          0x0000000000002080 0x0000000000000004"
        " 0x00062ed1a6b51c6f 0x00062ed1a6b51f2a    699us"
    ),
    "NVRM: GPU4 RPC event history (CPU <- GSP):",
    (
        "NVRM:      0    4108 UCODE_LIBOS_PRINT     0x0000000000000000 0x0000000000000000"
        " 0x00062e09921f64c0 0x00062e09921f64c0"
    ),
    "CPU: 26 PID: 96457 Comm: nv-hostengine Tainted: P           OE",
    "Call Trace:",
    " dump_stack+0x41/0x60",
)
CRASH_DUMP = (
    "NVRM:     Reported by libos partition:4#5 kernel v3.1 [0] @ ts:2",
    "NVRM:     RISC-V CSR State:",
    "NVRM:         sstatus:0x0000000200000020  sscratch:0xffffffffa30144d0",
)


def feed(decoder: Decoder, *records: tuple[str, str, float]) -> list[Fault]:
    """Feed (line, node, seconds) in this order."""
    return [
        fault
        for line, node, seconds in records
        for fault in decoder.feed(unwrap(line), node, T0 + int(seconds * S))
    ]


def ids(faults: list[Fault]) -> list[str]:
    return [fault.fault_id for fault in faults]


def test_the_text_of_a_time_out_says_what_was_not_answered() -> None:
    (fault,) = feed(Decoder(), (XID, "n", 0))

    assert fault.detail == {
        "pid": "2024380", "process": "nvidia-smi", "gpu": "4", "waited_s": "6", "rpc": "76",
        "rpc_name": "GSP_RM_CONTROL", "sequence": "1234", "data": "0x20803032 0x58c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Timeout waiting for RPC from GSP1! Expected function 76 (GSP_RM_CONTROL) (0x2a 0x5).",
            {"gpu": "1", "rpc": "76", "rpc_name": "GSP_RM_CONTROL", "data": "0x2a 0x5"},
        ),
        (
            "Timeout waiting for RPC from GSP! Expected function 10 (FREE) (0x2a 0x5).",
            {"rpc": "10", "rpc_name": "FREE", "data": "0x2a 0x5"},
        ),
        (
            "Timeout after 60s of waiting for RPC response from GPU0 GSP! Expected function 4097",
            {"gpu": "0", "waited_s": "60"},
        ),
        ("Timeout after 6s waiting for GPU GSP response", {}),
        ("", {}),
    ],
)
def test_other_forms_of_the_time_out_are_read_as_far_as_they_go(
    said: str, told: dict[str, str]
) -> None:
    line = f"NVRM: Xid (PCI:0000:9b:00): 119, pid=77, name=nvidia-smi, {said}"

    (fault,) = feed(Decoder(), (line, "n", 0))

    assert fault.detail == {"pid": "77", "process": "nvidia-smi"} | told
    assert fault.severity is Severity.FATAL


@pytest.mark.parametrize(("xid", "dump"), [(XID, DUMP), (CRASH, CRASH_DUMP), (CRASH, DUMP)])
def test_a_dump_after_its_xid_tells_nothing_more(xid: str, dump: tuple[str, ...]) -> None:
    records = [(line, "n", 0.02 * at) for at, line in enumerate((xid, *dump))]

    assert ids(feed(Decoder(), *records)) == [f"xid/{'119' if xid is XID else '120'}"]


def test_a_dump_alone_is_told_once_and_never_acts() -> None:
    (fault,) = feed(Decoder(), *((line, "n", 0.02 * at) for at, line in enumerate(DUMP)))

    assert (fault.fault_id, fault.severity) == ("kernel/gsp-dump", Severity.INFO)
    assert (fault.device, fault.detail) == (
        "",
        {"gpu": "4", "rpc": "76", "rpc_name": "GSP_RM_CONTROL"},
    )


def test_a_dump_alone_is_told_once_in_a_scan_without_times() -> None:
    hits = list(scan(DUMP))

    assert [(hit.line_number, hit.fault.fault_id) for hit in hits] == [(1, "kernel/gsp-dump")]


def test_the_dump_of_another_node_or_gpu_is_not_folded() -> None:
    other = DUMP[0].replace("GPU4", "GPU5")

    faults = feed(Decoder(), (XID, "a", 0), (DUMP[0], "b", 0), (other, "a", 0), (DUMP[0], "a", 0))

    assert [(f.fault_id, f.node, f.detail["gpu"]) for f in faults] == [
        ("xid/119", "a", "4"), ("kernel/gsp-dump", "b", "4"), ("kernel/gsp-dump", "a", "5"),
    ]  # fmt: skip


def test_a_later_dump_is_another_one() -> None:
    late = DUMP_S + 1

    assert ids(feed(Decoder(), (XID, "n", 0), (DUMP[0], "n", late))) == [
        "xid/119",
        "kernel/gsp-dump",
    ]
    assert len(feed(Decoder(), (DUMP[0], "n", 0), (DUMP[0], "n", late))) == 2


def test_a_program_cannot_hide_the_kernels_dump() -> None:
    faults = feed(Decoder(), (f"<12>{XID}", "n", 0), (f"<4>{DUMP[0]}", "n", 0))

    assert [(f.fault_id, f.injected) for f in faults] == [
        ("xid/119", True), ("kernel/gsp-dump", False),
    ]  # fmt: skip


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_the_order_of_a_dumps_records_does_not_matter(order: list[int], gaps: list[int]) -> None:
    records = [DUMP[0], DUMP[1], DUMP[5], CRASH_DUMP[0]]
    at = [0, *itertools.accumulate(gap / 3 for gap in gaps)]

    lines = [(records[n], "n", seconds) for n, seconds in zip(order, at, strict=True)]
    (fault,) = feed(Decoder(), *lines)
    folded = feed(Decoder(), (XID, "n", 0), *lines)

    assert fault.fault_id == "kernel/gsp-dump"
    assert ids(folded) == ["xid/119"]


def test_memory_stays_bounded() -> None:
    decoder = Decoder(nodes=8)
    for n in range(300):
        feed(decoder, (XID, f"node-{n}", 0), (DUMP[0], f"other-{n}", 0))

    assert len(decoder._dumps._xids) <= 16
    assert len(decoder._dumps._told) <= 16
