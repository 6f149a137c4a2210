from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import catalog
from parsers import xid as parser
from parsers.decode import Decoder
from parsers.device import normalise
from parsers.fault import TEXT_LIMIT, Fault, Remedy, Severity
from parsers.record import unwrap
from tests.support.wrapped_lines import Row, rows

COLLECTION = rows()
NAMELESS = "pid='<unknown>', name=<unknown>"
MMU = "MMU Fault: ENGINE GRAPHICS"
PDE = "Fault is of type FAULT_PDE"


def decode(line: str) -> list[Fault]:
    return Decoder().feed(unwrap(line))


def one(line: str) -> Fault:
    (fault,) = decode(line)
    return fault


def xid(code: int, body: str, device: str = "0000:3b:00") -> Fault:
    return one(f"NVRM: Xid (PCI:{device}): {code}, {body}")


@pytest.mark.parametrize("row", [r for r in COLLECTION if r.kind in ("xid", "sxid")], ids=str)
def test_every_collected_fault_line_gives_its_code_and_device(row: Row) -> None:
    address = normalise(row.pci)

    fault = one(row.line)

    assert address is not None
    assert (fault.fault_id, fault.device) == (f"{row.kind}/{row.code}", address.device)


@pytest.mark.parametrize("row", [r for r in COLLECTION if r.kind == "other"], ids=str)
def test_no_collected_other_line_gives_an_xid_or_sxid(row: Row) -> None:
    told = [fault.fault_id for fault in decode(row.line)]

    assert not [each for each in told if each.startswith(("xid/", "sxid/"))]
    assert ("kernel/gpu-lost" in told) == (row.code == "gpu_fallen_off_bus (79)")


@pytest.mark.parametrize(
    ("line", "device", "detail"),
    [
        ("NVRM: Xid (PCI:0000:3b:00): 79", "0000:3b:00", {}),
        ("NVRM: Xid (PCI:0000:3b:00): 79.", "0000:3b:00", {}),
        ("NVRM: Xid (0000:3b:00): 79, x", "0000:3b:00", {}),
        ("NVRM: Xid (PCI:3B:00.0): 79, x", "0000:3b:00", {"function": "0"}),
        ("NVRM: Xid (PCI:00000000:3B:00.1): 79", "0000:3b:00", {"function": "1"}),
        ("NVRM: Xid (PCI:00010000:3b:00): 79", "00010000:3b:00", {}),
        ("NVRM: Xid (PCI:000d:00:00): 79", "000d:00:00", {}),
        ("NVRM: Xid (PCI:0000:3b:00 GPU-I:05): 79, x", "0000:3b:00", {"mig": "05"}),
        ("NVRM: Xid (PCI:0000:3b:00 GPU-I:05 GPU-CI:02): 79", "0000:3b:00",
         {"mig": "05", "ci": "02"}),
        ("NVRM: Xid (PCI:0000:3b:00 GPU-I:05 [GPU-CI:02]): 79", "0000:3b:00",
         {"mig": "05", "ci": "02"}),
        ("Xid (PCI:0000:3b:00): 79", "0000:3b:00", {}),
        ("NVRM: XID (PCI:0000:3b:00): 79, x", "0000:3b:00", {}),
        ("NVRM: xid (PCI:0000:3b:00): 79, x", "0000:3b:00", {}),
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=python3, x", "0000:3b:00",
         {"pid": "7", "process": "python3"}),
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid='7', name=, x", "0000:3b:00", {"pid": "7"}),
    ],
)  # fmt: skip
def test_every_form_of_the_head_is_read(line: str, device: str, detail: dict[str, str]) -> None:
    fault = one(line)

    assert (fault.fault_id, fault.device, fault.detail) == ("xid/79", device, detail)
    assert (fault.severity, fault.remedy) == (Severity.FATAL, Remedy.REBOOT)


@pytest.mark.parametrize(
    "line",
    [
        "saw NVRM: Xid (PCI:0000:3b:00): 79 yesterday",
        'audit: msg="NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."',
        "python3[7]: NVRM: Xid (PCI:0000:3b:00): 79",
        "[1.0] process x): 79 said NVRM: Xid (PCI:0000:3b:00): 79",
        "NVRM: Xid (PCI:0000:3b:00): 79abc",
        "NVRM: Xid (PCI:0000:3b:00): -79",
        "NVRM: Xid (PCI:0000:3b:00): ٧٩, x",
        "NVRM: Xid (PCI:0000:3b:00: 79",
        "NVRM: Xid PCI:0000:3b:00: 79",
        "NVRM: SXid (PCI:0000:3b:00): x79",
    ],
)
def test_what_is_not_at_the_head_or_not_an_xid_is_no_fault(line: str) -> None:
    assert decode(line) == []


@pytest.mark.parametrize(
    "name",
    [
        "nvc:[driver]", "ray::WorkerDict", "a b c", "x): 79, Fatal", "NVRM: Xid (PCI:",
        "(PCI:0000:99:00", "a, b", '"quoted"', "), 79", ", Xid 79", "%s%n", "[99.9] NVRM:",
        "to 0x2 (Node", "pid=1, name=x", "A Fatal XC0 i0", "a, B Fatal XC0", "a, node reboot",
        "a, bcdefg Fatal", "SXid (PCI:): 1", "é, ü", "previous Xid 79",
    ],
)  # fmt: skip
def test_a_process_name_decides_nothing(name: str) -> None:
    bodies = {31: ", Ch 00000008, intr 00000000.", 145: ", RLW_REMAP Nonfatal XC1 i0 Link 10 (0x1)"}
    bodies |= {160: ", Channel retired", 45: ", Ch 00000008"}
    for code, body in bodies.items():
        for tail in (body, "", ","):
            line = f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=7, name={name}{tail}"
            plain = f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=7, name=python3{tail}"

            named, expected = one(line), one(plain)

            assert (named.fault_id, named.device, named.severity, named.remedy) == (
                expected.fault_id, expected.device, expected.severity, expected.remedy,
            )  # fmt: skip
            assert "root" not in named.detail


@pytest.mark.parametrize(
    ("to", "text", "severity", "remedy"),
    [
        (0, "None", Severity.INFO, Remedy.NONE),
        (1, "GPU Reset Required", Severity.FATAL, Remedy.RESET_GPU),
        (2, "Node Reboot Required", Severity.FATAL, Remedy.REBOOT),
        (3, "Drain P2P", Severity.DEGRADED, Remedy.DRAIN_INSPECT),
        (4, "Drain and Reset", Severity.FATAL, Remedy.DRAIN_RESET),
        (5, "Recover IMEX Domain", Severity.DEGRADED, Remedy.INSPECT),
        (9, "Something New", Severity.UNKNOWN, Remedy.INSPECT),
    ],
)
def test_the_drivers_directive_is_the_new_value(
    to: int, text: str, severity: Severity, remedy: Remedy
) -> None:
    fault = xid(
        154, f"GPU recovery action changed from 0x2 (Node Reboot Required) to {to:#x} ({text})"
    )

    assert (fault.severity, fault.remedy) == (severity, remedy)
    assert fault.detail == {"from": "2", "to": str(to), "action": text}


def test_a_cut_directive_is_an_alert() -> None:
    whole = "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"
    for end in range(len(whole)):
        fault = xid(154, whole[:end])

        assert (fault.severity, fault.remedy) == (Severity.DEGRADED, Remedy.INSPECT), whole[:end]
        assert "to" not in fault.detail


@pytest.mark.parametrize(
    ("code", "body", "severity", "link"),
    [
        (74, f"{NAMELESS}, NVLink: fatal error detected on link 14(0x0, 0x0)", "fatal", "14"),
        (74, "NVLink: non-fatal error detected on link 3(0x0)", "degraded", "3"),
        (74, "something else", "degraded", None),
        (149, "NETIR_LINK_EVT  Fatal   XC0 i0 Link 01 (0x021425c6)", "fatal", "1"),
        (149, "NETIR Fatal XC0 i0 Link -1 (0x000fe406)", "fatal", "-1"),
        (150, "MSE Degraded Nonfatal XC 00 i 00 Link 02 [0x1]", "degraded", "2"),
        (145, "pid=876766, name=ray::WorkerDict, RLW_RXPIPE Nonfatal XC0 i0 Link 12 (0x0)",
         "degraded", "12"),
        (145, "pid=876766, name=ray::WorkerDict, RLW_RXPIPE Fatal XC0 i0 Link 12 (0x0)",
         "fatal", "12"),
        (145, "RLW_SRC_TRACK Fatal", "fatal", None),
        (149, "Placeholder message", "degraded", None),
    ],
)  # fmt: skip
def test_a_link_error_takes_the_lines_word(
    code: int, body: str, severity: str, link: str | None
) -> None:
    fault = xid(code, body)

    assert (fault.severity.value, fault.detail.get("link")) == (severity, link)


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ("Channel repair pending, GPU reset required", Remedy.RESET_GPU),
        ("Channel repair pending, node reboot required", Remedy.REBOOT),
        ("Channel repair pending", Remedy.DRAIN_RESET),
        (
            "Marking LTS 5 in FPB 1 along with its pair for repair. Perform node reboot to",
            Remedy.REBOOT,
        ),
        (
            "Marking Channel 3 in FBPA 2 along with its pair for repair. Perform GPU reset to",
            Remedy.RESET_GPU,
        ),
    ],
)
def test_a_retired_channel_says_what_activates_the_repair(body: str, remedy: Remedy) -> None:
    fault = xid(160, body)

    assert (fault.severity, fault.remedy) == (Severity.DEGRADED, remedy)


@pytest.mark.parametrize(
    ("body", "root"),
    [
        ("Ch 00000010 caused by previous Xid 79", "xid/79"),
        ("Ch 00000010, errorString due to previous Xid 94.", "xid/94"),
        ("Ch 00000010", None),
        ("Ch 00000010 caused by previous Xid 79 of a year", None),
        ("Ch 00000010 caused by previous Xid", None),
    ],
)
def test_a_secondary_xid_names_its_root(body: str, root: str | None) -> None:
    fault = xid(45, f"{NAMELESS}, {body}")

    assert (fault.severity, fault.detail.get("root")) == (Severity.INFO, root)


@pytest.mark.parametrize(
    ("code", "body", "place"),
    [
        (13, "Graphics SM Warp Exception on (GPC 9, TPC 1, SM 0): Out Of Range Address",
         {"gpc": "9", "tpc": "1", "sm": "0"}),
        (13, "Graphics SM Warp Exception on (GPC 1, TPC 0): Out Of Range Address",
         {"gpc": "1", "tpc": "0"}),
        (13, "Graphics Exception: ESR 0x54cfb0=0x11f000e", {}),
        (31, "Graphics SM Global Exception on (GPC 8, TPC 5, SM 1): Multiple Warp Errors",
         {"gpc": "8", "tpc": "5", "sm": "1"}),
        (31, f"Ch 7. {MMU} GPC0 GPCCLIENT_T1_6 faulted @ 0x7f5a_e7504000. {PDE} ACCESS_TYPE_VIRT",
         {"engine": "GRAPHICS", "gpc": "0", "client": "GPCCLIENT_T1_6", "mmu_fault": "FAULT_PDE"}),
        (31, "channel 0x2, intr 0. MMU Fault: ENGINE CE2 HUBCLIENT_HSCE2 faulted",
         {"engine": "CE2", "client": "HUBCLIENT_HSCE2"}),
        (31, "Ch 00000007, intr 00000000.", {}),
        (156, "Retiring TPC 3 from GPC 5 with a spare from the same GPC.",
         {"tpc": "3", "gpc": "5"}),
        (157, "Unable to retire TPC 3 from GPC 5 as there are no spare TPCs available.",
         {"tpc": "3", "gpc": "5"}),
        (160, "Marking LTS 5 in FPB 1 along with its pair for repair.",
         {"repairs": "LTS 5 in FPB 1"}),
    ],
)  # fmt: skip
def test_the_place_in_the_gpu_is_told(code: int, body: str, place: dict[str, str]) -> None:
    fault = xid(code, f"{NAMELESS}, {body}")

    assert fault.detail == place
    assert fault.severity is catalog.xids()[code].severity


def test_an_unlisted_code_is_visible_and_never_acts() -> None:
    fault = xid(12028, "Fatal")

    assert (fault.fault_id, fault.severity) == ("xid/12028", Severity.UNKNOWN)
    assert fault.remedy is Remedy.NONE


def test_an_unreadable_address_is_visible_and_accuses_no_device() -> None:
    fault = one("NVRM: Xid (PCI:0000:3b:00 NEW:1): 79, x")

    assert (fault.severity, fault.device) == (Severity.UNKNOWN, "")
    assert fault.detail["address"] == "PCI:0000:3b:00 NEW:1"


def test_evidence_is_bounded_and_printable() -> None:
    fault = xid(31, "pid=7, name=a\u202eb\x07c, " + "x" * 5000)

    assert len(fault.text) == TEXT_LIMIT
    assert fault.text.isprintable()
    assert all(value.isprintable() and len(value) <= 64 for value in fault.detail.values())


# ---------------------------------------------------------------- any text at all

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.sampled_from(
    [
        "x): 79, Fatal", "NVRM: Xid (PCI:0000:99:00): 79, x", ", GPU recovery action changed from",
        " to 0x2 (Node Reboot Required)", "NVLink: fatal error detected on link 1(0x1, 0x2",
        ", RLW_REMAP Fatal XC0 i0 Link 1 (0x4 0x40)", "pid=1, name=", "node reboot", "(0x", ", ",
        "previous Xid 79", "MMU Fault: ENGINE ", "\u202e", "\x1b[31m",
    ]
)  # fmt: skip
CODES = st.integers(0, 99_999) | st.sampled_from([13, 31, 45, 74, 79, *range(144, 151), 154, 160])
#: Codes whose lines say how bad they are.
DECISIVE = {74, 154, *range(144, 151)}


@given(st.lists(TEXT, max_size=6))
def test_any_text_is_read_without_an_exception(parts: list[str]) -> None:
    text = "".join(parts)

    fault = parser.parse(text, catalog.xids())

    assert fault is None or re.match(r"(?:NVRM: |nvrm: )?[Xx][Ii][Dd] \(", text)


@given(CODES, st.lists(TEXT, max_size=6))
def test_code_and_device_come_only_from_the_head(code: int, parts: list[str]) -> None:
    text = f"NVRM: Xid (PCI:0000:3b:00): {code}, " + "".join(parts)

    fault = parser.parse(text, catalog.xids())

    assert fault is not None
    assert (fault.fault_id, fault.device) == (f"xid/{code}", "0000:3b:00")
    assert all(value.isprintable() and len(value) <= 64 for value in fault.detail.values())
    entry = catalog.xids().get(code)
    if entry is None:
        assert (fault.severity, fault.remedy) == (Severity.UNKNOWN, Remedy.NONE)
    elif code not in DECISIVE:
        assert fault.severity is entry.severity


@given(
    st.sampled_from([13, 31, 45, 74, 79, *range(144, 151), 154, 160]),
    TEXT.map(lambda name: name[:15]),
    st.sampled_from(["", ",", ", Ch 00000008", ", NVLink: something", ", GPU recovery action"]),
)
def test_no_process_name_changes_what_is_decided(code: int, name: str, tail: str) -> None:
    head = f"NVRM: Xid (PCI:0000:3b:00): {code}, pid=7, name="

    named = parser.parse(head + name + tail, catalog.xids())
    plain = parser.parse(head + "python3" + tail, catalog.xids())

    assert named is not None
    assert plain is not None
    assert (named.fault_id, named.device, named.severity, named.remedy) == (
        plain.fault_id, plain.device, plain.severity, plain.remedy,
    )  # fmt: skip
    assert "root" not in named.detail


def test_a_long_line_is_read_in_linear_time() -> None:
    began = time.process_time()
    for piece in ("(0x1 ", ", ", "MMU Fault: ENGINE ", "previous Xid ", " Fatal", "a", "\t"):
        for code in (31, 45, 74, 145, 154, 160):
            text = f"NVRM: Xid (PCI:0000:3b:00): {code}, " + piece * (65_536 // len(piece))
            assert parser.parse(text, catalog.xids()) is not None
    assert time.process_time() - began < 5  # 42 lines of 64 KiB


@pytest.mark.parametrize("text", ["Xid (3b:0): 79, Ch 00000008", "xid (3b:0): 79"])
def test_a_head_that_fits_into_a_process_name_never_acts(text: str) -> None:
    fault = parser.parse(text, catalog.xids())

    assert fault is None or fault.severity is Severity.UNKNOWN


@pytest.mark.parametrize("name", ["sh", "x", "python3", "a, b"])
def test_a_short_process_name_does_not_swallow_the_channel(name: str) -> None:
    line = f"NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name={name}, Ch 00000008, intr 00000000. MMU"

    fault = parser.parse(line, catalog.xids())

    assert fault is not None
    assert fault.detail["process"] == name
