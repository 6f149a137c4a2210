from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import catalog, sxid
from parsers.decode import COMPANION_S, Decoder
from parsers.fault import Fault, Remedy, Severity
from parsers.record import unwrap

HEAD = "nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): "
S = 1_000_000_000
T0 = 1_795_000_000 * S


def one(body: str) -> Fault:
    (fault,) = Decoder().feed(unwrap(HEAD + body))
    return fault


@pytest.mark.parametrize(
    ("body", "severity", "remedy"),
    [
        ("24007, Fatal, Link 28 sourcetrack timeout error (First)", "fatal", Remedy.RESET_GPU),
        ("12020, Fatal, Link 28 x", "fatal", Remedy.REBOOT),
        ("23003, Fatal, x, instance=1, chiplet=0", "fatal", Remedy.REBOOT),
        ("12028, Fatal, Link 3 x", "fatal", Remedy.RESET_GPU),
        ("12028, Non-fatal, Link 32 egress non-posted PRIV error", "info", Remedy.NONE),
        ("12028, Non-fatal error", "info", Remedy.NONE),
        ("24007, Non-fatal, Link 28 x", "degraded", Remedy.INSPECT),
        ("19061, Non-fatal, Link 28 x", "degraded", Remedy.INSPECT),
        ("24007, Correctable, Link 28 x", "info", Remedy.NONE),
        ("26006, SOE HALTED", "fatal", Remedy.REBOOT),
        ("10005, Thermal slowdown Disengaged", "info", Remedy.NONE),
        ("27001, x", "info", Remedy.NONE),
        ("12033, x", "unknown", Remedy.NONE),
        ("12033, Fatal, Link 1 x", "fatal", Remedy.RESET_GPU),
        ("79, Fatal, GPU has fallen off the bus", "unknown", Remedy.NONE),
        ("29999, Fatal, Link 1 x", "unknown", Remedy.NONE),
    ],
)
def test_the_printed_word_wins_and_the_catalog_fills_in(
    body: str, severity: str, remedy: Remedy
) -> None:
    fault = one(body)

    assert (fault.severity.value, fault.remedy) == (severity, remedy)
    assert (fault.device, fault.detail["switch"]) == ("0000:c3:00", "2")


def test_the_link_is_told() -> None:
    assert one("20034, Fatal, Link 08 LTSSM Fault Up").detail["link"] == "8"


@pytest.mark.parametrize(
    "line",
    [
        "x nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): xyz, Fatal error",
        "nvidia-nvswitch0: open (major=510) SXid (PCI:0000:c3:00.0): 20034",
    ],
)
def test_a_quoted_or_codeless_sxid_is_no_fault(line: str) -> None:
    assert Decoder().feed(unwrap(line)) == []


CONTINUATIONS = (
    "20034, Severity 1 Engine instance 30 Sub-engine instance 00",
    "20034, Data {0x50610002, 0x10100030}",
)


def test_continuations_fold_into_their_main_line() -> None:
    decoder = Decoder()
    main = decoder.feed(unwrap(HEAD + "20034, Fatal, Link 30 LTSSM Fault Up"), "n", T0)
    rest = [decoder.feed(unwrap(HEAD + line), "n", T0 + S) for line in CONTINUATIONS]

    assert [fault.severity for fault in main] == [Severity.FATAL]
    assert rest == [[], []]


@pytest.mark.parametrize(
    ("node", "later_s", "device"),
    [("n", COMPANION_S + 1, "c3"), ("other", 0.0, "c3"), ("n", 0.0, "c4")],
)
def test_a_continuation_alone_is_told_once_and_is_never_fatal(
    node: str, later_s: float, device: str
) -> None:
    decoder = Decoder()
    decoder.feed(unwrap(HEAD + "20034, Fatal, Link 30 LTSSM Fault Up"), "n", T0)

    at = T0 + int(later_s * S)
    found = [
        fault
        for line in CONTINUATIONS
        for fault in decoder.feed(unwrap(HEAD.replace("c3", device) + line), node, at)
    ]

    assert [(fault.severity, fault.remedy) for fault in found] == [(Severity.UNKNOWN, Remedy.NONE)]


def test_a_programs_main_line_does_not_hide_the_kernels_continuation() -> None:
    decoder = Decoder()
    decoder.feed(unwrap(f"12,1,1000000,-;{HEAD}20034, Fatal, Link 30 x"), "n", T0)

    (fault,) = decoder.feed(unwrap(f"4,2,1000001,-;{HEAD}{CONTINUATIONS[0]}"), "n", T0)

    assert (fault.severity, fault.injected) == (Severity.UNKNOWN, False)


@pytest.mark.parametrize(
    ("address", "device", "function"),
    [
        ("PCI:0000:c3:00.0", "0000:c3:00", "0"),
        ("PCI:0000:C3:00.1", "0000:c3:00", "1"),
        ("PCI:00010000:c3:00.0", "00010000:c3:00", "0"),
        ("0004:00:00", "0004:00:00", None),
        ("c3:00.0", "0000:c3:00", "0"),
    ],
)
def test_every_form_of_the_address_is_read(address: str, device: str, function: str | None) -> None:
    line = sxid.parse(f"nvidia-nvswitch0: SXid ({address}): 20034, Fatal, x", catalog.sxids())

    assert line is not None
    assert (line.fault.device, line.fault.detail.get("function")) == (device, function)
    assert line.fault.severity is Severity.FATAL


def test_an_unreadable_address_accuses_no_switch() -> None:
    line = sxid.parse("nvidia-nvswitch0: SXid (PCI:zz): 20034, Fatal, x", catalog.sxids())

    assert line is not None
    assert (line.fault.device, line.fault.severity) == ("", Severity.UNKNOWN)
    assert line.fault.detail["address"] == "PCI:zz"


def test_the_chiplet_is_told() -> None:
    detail = one("23003, Fatal, egress DST-VC credit overflow, instance=1, chiplet=0").detail

    assert (detail["instance"], detail["chiplet"]) == ("1", "0")


@pytest.mark.parametrize("entry", catalog.sxids().values(), ids=lambda entry: entry.fault_id)
def test_every_code_goes_by_the_word_and_else_by_the_table(entry: catalog.Entry) -> None:
    fatal, nonfatal = one(f"{entry.code}, Fatal, Link 1 x"), one(f"{entry.code}, Non-fatal, x")
    bare = one(f"{entry.code}, x")

    whole = entry.remedy is Remedy.REBOOT
    assert (fatal.severity, fatal.remedy) == (
        Severity.FATAL, Remedy.REBOOT if whole else Remedy.RESET_GPU,
    )  # fmt: skip
    assert nonfatal.severity is entry.nonfatal
    assert (bare.severity, bare.remedy) == (entry.severity, entry.remedy)


@given(st.integers(0, 99_999), st.text(max_size=120))
def test_code_and_switch_come_only_from_the_head(code: int, text: str) -> None:
    line = sxid.parse(f"nvidia-nvswitch2: SXid (PCI:0000:c3:00.0): {code}, {text}", catalog.sxids())

    assert line is not None
    assert (line.fault.fault_id, line.fault.device) == (f"sxid/{code}", "0000:c3:00")
    if code not in catalog.sxids():
        assert line.fault.severity is Severity.UNKNOWN
