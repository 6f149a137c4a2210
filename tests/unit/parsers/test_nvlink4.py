"""What do the registers of an Xid 74 ask for?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import catalog, xid
from parsers.fault import Fault, Remedy, Severity

IGNORE = {1: (0, 23, 30)}
THRESHOLD = {5: (20, 23, 26, 29)}
KNOWN = {(bit.register, bit.bit) for bits in catalog.registers().values() for bit in bits}


def line(*bits: tuple[int, int], word: str = "fatal", words: int = 7) -> str:
    values = [0] * words
    for register, bit in bits:
        values[register - 1] |= 1 << bit
    told = ", ".join(f"{value:#x}" for value in values)
    return f"NVRM: Xid (PCI:0003:00:00): 74, pid='<unknown>', name=<unknown>, NVLink: {word} error detected on link 14({told})"  # noqa: E501


def parse(text: str) -> Fault:
    fault = xid.parse(text, catalog.xids())
    assert fault is not None
    return fault


def test_the_table_is_the_known_one() -> None:
    assert len(KNOWN) == 42
    assert {register for register, _ in KNOWN} == {1, 3, 4, 5}


@pytest.mark.parametrize(
    ("bits", "told", "asks"),
    [
        ([(3, 16)], "3.16", "diagnostics when it repeats"),
        ([(1, 4)], "1.4", "hardware ECC: act on more than 2 on one link"),
        ([(1, 0), (1, 8)], "1.8, 1.0", "check the link mechanically, then diagnostics"),
        ([(1, 21), (3, 13)], "3.13, 1.21", "not expected in production: report it"),
        ([(5, 20), (5, 18)], "5.18, 5.20", "hardware ECC: act on more than 2 on one link"),
        ([(4, 16)], "4.16", "secondary: report it if it stands alone"),
    ],
)
def test_the_worst_bit_says_what_to_look_at(
    bits: list[tuple[int, int]], told: str, asks: str
) -> None:
    fault = parse(line(*bits))

    assert (fault.severity, fault.remedy) == (Severity.FATAL, Remedy.RESET_GPU)
    assert fault.detail == {"link": "14", "word": "fatal", "bits": told, "asks": asks}


def test_a_bit_that_wants_the_fabric_reset_reboots() -> None:
    fault = parse(line((4, 18), (1, 8)))

    assert (fault.severity, fault.remedy) == (Severity.FATAL, Remedy.REBOOT)


@pytest.mark.parametrize("word", ["fatal", "non-fatal", "Nonfatal"])
@pytest.mark.parametrize("bits", [[(1, 0)], [(1, 23), (1, 30)], [(5, 29)], [(1, 0), (5, 20)]])
def test_only_harmless_bits_are_info_whatever_the_word(
    bits: list[tuple[int, int]], word: str
) -> None:
    fault = parse(line(*bits, word=word))

    assert (fault.severity, fault.remedy) == (Severity.INFO, Remedy.NONE)
    assert ("disagree" in fault.detail) == (word == "fatal")


@pytest.mark.parametrize(
    "text",
    [
        line(),  # no bit at all
        line((2, 5)),  # a register without a rule
        line((1, 0), (7, 1)),  # a harmless bit and a strange one
        line((1, 0), (1, 3)),
        line((1, 0), words=6),
        line((1, 0), words=8),
        line((1, 0)).removesuffix(")"),
        line((1, 0)).partition("(0x")[0],
        line((1, 0)).replace("0x0, ", "0xZ, ", 1),
    ],
)
def test_without_seven_words_that_are_known_the_word_decides(text: str) -> None:
    fatal, other = parse(text), parse(text.replace("fatal error", "non-fatal error"))

    assert (fatal.severity, fatal.remedy) == (Severity.FATAL, Remedy.RESET_GPU)
    assert (other.severity, other.remedy) == (Severity.DEGRADED, Remedy.INSPECT)


def test_a_cut_line_goes_by_its_word() -> None:
    whole = line((1, 0))
    for end in range(whole.index("fatal") + len("fatal"), len(whole)):
        assert parse(whole[:end]).severity is Severity.FATAL, whole[:end]


@given(st.sets(st.tuples(st.integers(1, 7), st.integers(0, 31))), st.sampled_from(["", "non-"]))
def test_bits_excuse_a_line_only_when_all_of_them_are_harmless(
    bits: set[tuple[int, int]], non: str
) -> None:
    fault = parse(line(*bits, word=f"{non}fatal"))

    excused = {(r, b) for table in (IGNORE, THRESHOLD) for r, known in table.items() for b in known}
    if bits and bits <= excused:
        assert fault.severity is Severity.INFO
    else:
        assert fault.severity is (Severity.DEGRADED if non else Severity.FATAL)
    assert ("bits" in fault.detail) == bool(bits & KNOWN)
    assert all(len(value) <= 64 for value in fault.detail.values())
