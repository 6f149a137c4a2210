from __future__ import annotations

import itertools

import pytest

from parsers.decode import Decoder
from parsers.fault import Fault, Remedy, Severity
from parsers.instant import Instant
from parsers.lost import LostGpus
from parsers.record import unwrap

S = 1_000_000_000
T0 = 1_795_000_000 * S
FIRST = "NVRM: The NVIDIA GPU 0000:18:00.0"
SECOND = "NVRM: installed in this system has"
THIRD = "NVRM: fallen off the bus and is not responding to commands."


def feed(decoder: Decoder, *records: tuple[str, str, float]) -> list[Fault]:
    """Feed (line, node, seconds) in this order."""
    return [
        fault
        for line, node, seconds in records
        for fault in decoder.feed(unwrap(line), node, T0 + int(seconds * S))
    ]


def fatal(faults: list[Fault]) -> list[tuple[str, str]]:
    return [(fault.node, fault.device) for fault in faults if fault.severity is Severity.FATAL]


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
        "NVRM: GPU at PCI:0000:18:00: GPU has fallen off the bus.",
        f"{FIRST} fallen off the bus and is not responding to commands.",
        f"{FIRST} installed in this system has {THIRD.removeprefix('NVRM: ')}",
        rf"4,1,2,-;{FIRST}\x0aNVRM: (PCI ID: 10de:2330) installed in this system has\x0a{THIRD}",
    ],
)
def test_one_record_that_tells_it_all(line: str) -> None:
    (fault,) = feed(Decoder(), (line, "n", 0))

    assert (fault.fault_id, fault.device) == ("kernel/gpu-lost", "0000:18:00")
    assert (fault.severity, fault.remedy) == (Severity.FATAL, Remedy.REBOOT)


@pytest.mark.parametrize("gap", [0.0, 0.001, 30.0])
def test_three_records_are_joined_within_the_time_bound(gap: float) -> None:
    (fault,) = feed(
        Decoder(), (FIRST, "n", 0), ("other", "n", 0), (SECOND, "n", gap), (THIRD, "n", 2 * gap)
    )

    assert (fault.severity, fault.device) == (Severity.FATAL, "0000:18:00")
    assert "0000:18:00.0" in fault.text
    assert "fallen off the bus" in fault.text


def test_three_records_without_any_time_are_joined() -> None:
    decoder = Decoder()
    faults = [f for line in (FIRST, SECOND, THIRD) for f in decoder.feed(unwrap(line))]

    assert fatal(faults) == [("", "0000:18:00")]


def test_records_too_far_apart_accuse_no_device() -> None:
    (fault,) = feed(Decoder(), (FIRST, "n", 0), (THIRD, "n", 31))

    assert (fault.severity, fault.device) == (Severity.UNKNOWN, "")


@pytest.mark.parametrize("order", list(itertools.permutations((FIRST, SECOND, THIRD))))
def test_the_order_of_arrival_does_not_matter(order: tuple[str, ...]) -> None:
    assert fatal(feed(Decoder(), *((line, "n", 0.0) for line in order))) == [("n", "0000:18:00")]


def test_interleaved_nodes_are_kept_apart() -> None:
    a, b = FIRST, FIRST.replace("18", "af")

    faults = feed(
        Decoder(), (a, "a", 0), (b, "b", 0), (SECOND, "b", 1), (THIRD, "b", 2), (SECOND, "a", 2),
        (THIRD, "a", 3), (THIRD, "c", 3),
    )  # fmt: skip

    assert fatal(faults) == [("b", "0000:af:00"), ("a", "0000:18:00")]
    assert [fault.node for fault in faults if fault.severity is Severity.UNKNOWN] == ["c"]


def test_two_gpus_of_one_node_are_both_found() -> None:
    second = FIRST.replace("18", "af")
    lines = (FIRST, second, SECOND, SECOND, THIRD, THIRD)

    faults = feed(Decoder(), *((line, "n", 0.0) for line in lines))

    assert sorted(fatal(faults)) == [("n", "0000:18:00"), ("n", "0000:af:00")]


def test_an_earlier_gpu_that_the_driver_only_mentioned_is_not_blamed() -> None:
    mentioned = FIRST.replace("18", "af")

    faults = feed(
        Decoder(), (mentioned, "n", 0), (FIRST, "n", 20), (SECOND, "n", 20), (THIRD, "n", 20)
    )

    assert fatal(faults) == [("n", "0000:18:00")]


OTHER = FIRST.replace("18", "af")
UNSUPPORTED = "NVRM: installed in this system is not supported by the NVIDIA driver release."


@pytest.mark.parametrize(
    "records",
    [
        [(OTHER, 0), (UNSUPPORTED, 0), (THIRD, 0)],
        [(f"{OTHER} (PCI ID: 10de:2330)", 0), (UNSUPPORTED, 0), (THIRD, 1)],
        [(OTHER, 0), (THIRD, 0), (UNSUPPORTED, 0)],
        [(OTHER, 0), (UNSUPPORTED, 0), (SECOND, 1), (THIRD, 1)],
        [(SECOND, 0), (OTHER, 1), (UNSUPPORTED, 1), (THIRD, 1)],
        [(SECOND, 0), (THIRD, 0), (OTHER, 1), (UNSUPPORTED, 1)],
        [(THIRD, 0), (OTHER, 1), (SECOND, 1)],
        [(OTHER, 0), (THIRD, 0)],
    ],
)
def test_a_gpu_that_is_only_named_is_never_the_lost_one(records: list[tuple[str, int]]) -> None:
    faults = feed(Decoder(), *((line, "n", seconds) for line, seconds in records))

    assert fatal(faults) == []


def test_without_times_the_order_of_the_lines_counts() -> None:
    def lost(*lines: str) -> list[tuple[str, str]]:
        decoder = Decoder()
        return fatal([fault for line in lines for fault in decoder.feed(unwrap(line), "n")])

    assert lost(FIRST, SECOND, THIRD) == [("n", "0000:18:00")]
    assert lost(SECOND, THIRD, FIRST) == lost(THIRD, FIRST, SECOND) == []


def test_the_loss_of_a_gpu_beside_one_that_is_not_supported_is_told() -> None:
    faults = feed(
        Decoder(), (OTHER, "n", 0), (UNSUPPORTED, "n", 0), (FIRST, "n", 1), (SECOND, "n", 1),
        (THIRD, "n", 1),
    )  # fmt: skip

    assert fatal(faults) == [("n", "0000:18:00")]


def test_the_second_and_the_third_record_in_one() -> None:
    end = f"{SECOND} {THIRD.removeprefix('NVRM: ')}"

    assert fatal(feed(Decoder(), (FIRST, "n", 0), (end, "n", 0))) == [("n", "0000:18:00")]
    assert fatal(feed(Decoder(), (end, "n", 0), (FIRST, "n", 0))) == [("n", "0000:18:00")]


def test_a_program_can_neither_begin_nor_end_the_kernels_message() -> None:
    decoder = Decoder()
    user, kernel = "12,1,5,-;", "4,1,5,-;"

    begun = feed(decoder, (user + FIRST, "n", 0), (kernel + THIRD, "n", 0))
    ended = feed(decoder, (kernel + FIRST.replace("18", "af"), "m", 0), (user + THIRD, "m", 0))

    assert fatal(begun) == fatal(ended) == []


def test_a_lost_gpu_right_after_its_xid_79_is_the_same_event() -> None:
    xid = "NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus."
    line = "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus."

    faults = feed(Decoder(), (xid, "n", 0), (line, "n", 1), (line, "other", 1), (line, "n", 600))

    assert [(fault.fault_id, fault.node) for fault in faults] == [
        ("xid/79", "n"), ("kernel/gpu-lost", "other"), ("kernel/gpu-lost", "n"),
    ]  # fmt: skip


def test_a_process_named_like_an_xid_79_hides_no_lost_gpu() -> None:
    decoder = Decoder()
    forged = "[100.0] Xid (3b:00): 79 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0"
    lost = "[101.0] NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."

    first = feed(decoder, (forged, "n", 0))

    assert [fault.severity for fault in first] == [Severity.UNKNOWN]
    assert fatal(feed(decoder, (lost, "n", 1))) == [("n", "0000:3b:00")]


def test_another_boot_ends_an_unfinished_message() -> None:
    decoder = Decoder()
    decoder.feed(unwrap(f"[100.5] {FIRST}"), "n", T0)

    (fault,) = decoder.feed(unwrap(f"[100.6] {THIRD}"), "n", T0 + 7200 * S)

    assert (fault.severity, fault.device) == (Severity.UNKNOWN, "")


def test_memory_stays_bounded() -> None:
    decoder = Decoder(nodes=8)
    for n in range(500):
        feed(decoder, (FIRST, f"node-{n}", 0), (THIRD.replace("NVRM: ", ""), f"late-{n}", 0))
        feed(decoder, (f"NVRM: The NVIDIA GPU 0000:{n % 256:02x}:00.0", "one", 0))
        feed(decoder, (SECOND, "two", 0), (THIRD, "two", 0))

    assert len(decoder._lost._nodes) <= 8
    states = decoder._lost._nodes._entries.values()
    assert max(max(len(s.begun), len(s.middles), len(s.ends)) for s in states) <= 16


def test_what_is_remembered_of_a_half_told_loss_is_bounded() -> None:
    lost = LostGpus()
    at = Instant(10**9, None, "", 1)
    lost.feed("NVRM: The NVIDIA GPU 0000:3b:00.0", "a", at, injected=False)
    lost.feed(f"NVRM: installed in this system has {'x' * 65_000}", "a", at, injected=False)
    end = "NVRM: fallen off the bus and is not responding to commands."
    fault = lost.feed(end + "x" * 65_000, "a", at, injected=False)

    assert fault is not None
    assert fault.device == "0000:3b:00"
    assert len(fault.text) < 2_000
