"""What do unit, intrinfo, status and word of an Xid 144 to 150 come to?"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers import catalog, xid
from parsers.catalog import read
from parsers.fault import Fault, Severity

UNITS: list[dict[str, Any]] = json.loads(read.content("nvlink5.json"))["units"]
RULES = [(unit, rule) for unit in UNITS for rule in unit["rules"]]
#: Severity and remedy by action of a rule, and by word.
BECOMES = {"reset": "fatal reset_gpu", "follow": "application restart_app", "ignore": "info none"}
BY_WORD = {"Fatal": "fatal reset_gpu", "Nonfatal": "degraded inspect"}
WORST_FIRST = list(Severity)


def parse(code: int, unit: str, word: str, words: str, link: str = "04") -> Fault:
    body = f"{unit} {word} XC0 i0 Link {link} {words}"
    fault = xid.parse(f"NVRM: Xid (PCI:0009:01:00): {code}, {body}", catalog.xids())
    assert fault is not None
    return fault


def verdict(fault: Fault) -> str:
    return f"{fault.severity.value} {fault.remedy.value}"


def intrinfo(unit: dict[str, Any], layout: str, rule: dict[str, Any], upper: int = 0) -> int:
    """An intrinfo of that unit; bits above the unit number are those of ``upper``."""
    reason = int(rule["match"], 2) if unit["by"] == "reason" else 0
    free = {"v1": 0x0F << 15, "v2": 0x1F << 15}[layout]  # bits that no mask looks at
    return int(unit[layout], 16) | reason << 20 | upper & free | upper & 0xFC00_0000


def test_there_are_95_rules() -> None:
    assert len(RULES) == 95
    assert {unit["xid"] for unit in UNITS} == set(range(144, 151))


@pytest.mark.parametrize("word", ["Fatal", "Nonfatal"])
@pytest.mark.parametrize("layout", ["v1", "v2"])
@pytest.mark.parametrize(
    ("unit", "rule"), RULES, ids=[f"{u['units'][0]} {r.get('match', 'any')}" for u, r in RULES]
)
def test_every_rule_in_both_layouts(
    unit: dict[str, Any], rule: dict[str, Any], layout: str, word: str
) -> None:
    status = 0 if unit["by"] in ("reason", "any") else int(rule["match"], 0)
    for printed in (*unit["units"], "/".join(unit["units"])):
        words = f"({intrinfo(unit, layout, rule):#010x} {status:#010x} 0x00000000 0x00000000)"

        fault = parse(unit["xid"], printed, word, words)

        disagrees = (rule["action"] == "reset") != (word == "Fatal")
        assert verdict(fault) == ("fatal reset_gpu" if disagrees else BECOMES[rule["action"]])
        assert ("disagree" in fault.detail) == disagrees
        assert (fault.detail["rule"], fault.detail["link"]) == (rule["action"], "4")


@pytest.mark.parametrize("status", ["0x00000001", "0x00000002", "0x00000004"])
@pytest.mark.parametrize(
    ("intrinfo", "promoted"),
    [("0x000000c2", False), ("0x000004c2", True), ("0x00000006", False), ("0x00000086", True)],
)
def test_a_promoting_bit_makes_ignore_a_reset(intrinfo: str, promoted: bool, status: str) -> None:
    fault = parse(145, "RLW_RXPIPE", "Nonfatal", f"({intrinfo} {status} 0x0 0x0)")

    assert verdict(fault) == ("fatal reset_gpu" if promoted else "info none")


def test_status_8_is_not_promoted() -> None:
    fault = parse(145, "RLW_RXPIPE", "Nonfatal", "(0x000004c2 0x00000008 0x0 0x0)")

    assert verdict(fault) == "info none"


@pytest.mark.parametrize(
    ("unit", "words", "expected"),
    [
        ("RLW_RSPCOL", "(0x5 0x80000003 0x0 0x0)", "fatal reset_gpu"),  # several bits: the worst
        ("RLW_RSPCOL", "(0x5 0x80000001 0x0 0x0)", "info none"),
        ("RLW_REMAP", "(0x4 0x00000101 0x0 0x0)", "application restart_app"),
        ("RLW_RSPCOL", "(0x5 0x00000401 0x0 0x0)", "degraded inspect"),  # a bit without a rule
        ("RLW_REMAP", "(0x4 0x00000401 0x0 0x0)", "degraded inspect"),
        ("RLW_RSPCOL", "(0x5 0x00000400 0x0 0x0)", "degraded inspect"),  # no rule: the word
        ("RLW_RSPCOL", "(0x5 0x00000000 0x0 0x0)", "degraded inspect"),
        ("RLW_RSPCOL", "(0x6 0x00000002 0x0 0x0)", "degraded inspect"),  # another unit's number
        ("RLW_RSPCOL", "(0x100005 0x00000001 0x0 0x0)", "degraded inspect"),  # a sub-reason
        ("RLW_NEW", "(0x5 0x00000002 0x0 0x0)", "degraded inspect"),  # no such unit
        ("RLW_RSPCOL", "(0x5 0x0000000", "degraded inspect"),  # cut
        ("RLW_RSPCOL", "(0x5", "degraded inspect"),
        ("RLW_RSPCOL", "", "degraded inspect"),
        ("RLW_RSPCOL", "[0x5 0x00000001]", "info none"),
        ("RLW_RSPCOL", "(0x5, 0x00000001)", "info none"),
    ],
)
def test_status_bits_and_what_is_missing(unit: str, words: str, expected: str) -> None:
    assert verdict(parse(145, unit, "Nonfatal", words)) == expected


@pytest.mark.parametrize(
    ("unit", "words", "expected"),
    [
        ("NETIR_BER_EVENT", "(0x226 0x3)", "info none"),
        ("NETIR_BER_EVENT", "(0x226 0x4)", "degraded inspect"),  # a value, not bits
        ("NETIR_MFDE_EVENT", "(0x14 0x5)", "fatal reset_gpu"),
        ("NETIR_MFDE_EVENT", "(0x14 0x6)", "degraded inspect"),
        ("NETIR_LINK_EVT", "(0x021425c6 0x0)", "fatal reset_gpu"),
        ("NETIR_LINK_EVT", "(0x021425c6 0x", "fatal reset_gpu"),  # needs no status
        ("NETIR_LINK_EVT", "(0x03f001c6 0x0)", "degraded inspect"),  # a reason without a rule
    ],
)
def test_values_and_reasons(unit: str, words: str, expected: str) -> None:
    assert verdict(parse(149, unit, "Nonfatal", words)) == expected


def test_the_peers_fault_is_told_and_accuses_nobody_else() -> None:
    fault = parse(149, "NETIR_LINK_EVT", "Fatal", "(0x021425c6 0x0 0x0 0x0)", link="-1")

    assert (fault.device, fault.detail["link"]) == ("0009:01:00", "-1")
    assert (fault.detail["reason"], fault.detail["look"]) == (
        "100001", "the fault is on the peer device",
    )  # fmt: skip


@pytest.mark.parametrize("word", ["Fatal", "Nonfatal"])
def test_a_cut_line_goes_by_its_word_or_by_the_rule_that_it_still_shows(word: str) -> None:
    whole = f"145, RLW_RSPCOL {word} XC0 i0 Link 00 (0x00000005 0x00000002 0x00000000 0x00000000)"
    shown = whole.index(word) + len(word)
    status = whole.index("0x00000002") + len("0x00000002")
    for end in range(shown, len(whole) + 1):
        fault = xid.parse(f"NVRM: Xid (PCI:0009:01:00): {whole[:end]}", catalog.xids())

        assert fault is not None
        reset = word == "Fatal" or end >= status
        assert verdict(fault) == BY_WORD["Fatal" if reset else "Nonfatal"], whole[:end]


def test_an_injected_error_says_so() -> None:
    line = "NVRM: Xid (PCI:0009:01:00): 144, SAW_MVB Nonfatal XC 01 i 01 Link 02 [0x21 0x1]"
    fault = xid.parse(line, catalog.xids())

    assert fault is not None
    assert (fault.detail["nvlink_injected"], fault.detail["rule"]) == ("1", "ignore")


# ---------------------------------------------------------------- against a slow reference


def masks(unit: dict[str, Any], rule: dict[str, Any]) -> list[str]:
    """The two intrinfo patterns of a rule, 32 characters each, ``-`` for any bit."""
    reason = rule["match"][2:] if unit["by"] == "reason" else "000000"
    first = format(int(unit["v1"], 16), "010b")
    second = format(int(unit["v2"], 16), "07b")
    return ["-" * 6 + reason + "-" * 10 + first, "-" * 6 + reason + "-" * 13 + second]


def fits(mask: str, value: int) -> bool:
    return all(m in ("-", bit) for m, bit in zip(mask, format(value, "032b"), strict=True))


def reference(code: int, printed: str, word: str, intrinfo: int, status: int) -> str:
    """Bit by bit, from the table as it stands in the file."""
    actions, rested = [], 0
    for unit, rule in RULES:
        if unit["xid"] != code or not set(printed.split("/")) <= set(unit["units"]):
            continue
        hit = [fits(mask, intrinfo) for mask in masks(unit, rule)]
        if not any(hit):
            continue
        if unit["by"] == "bits":
            rested |= int(rule["match"], 16)
            if not status & int(rule["match"], 16):
                continue
        elif unit["by"] == "value" and status != int(rule["match"], 16):
            continue
        bit = unit.get("promoted_by", {"v1": 40, "v2": 40})
        up = (hit[0] and intrinfo >> bit["v1"] & 1) or (hit[1] and intrinfo >> bit["v2"] & 1)
        actions.append(rule.get("promoted", rule["action"]) if up else rule["action"])
    if not actions:
        return BY_WORD[word]
    worst = min(actions, key=["reset", "follow", "ignore"].index)
    if (worst == "reset") != (word == "Fatal"):
        return BECOMES["reset"]
    candidates = [BECOMES[worst]]
    if rested and status & ~rested:
        candidates.append(BY_WORD[word])
    return min(candidates, key=lambda each: WORST_FIRST.index(Severity(each.split()[0])))


@st.composite
def printed_lines(draw: st.DrawFn) -> tuple[int, str, str, int, int]:
    unit, rule = draw(st.sampled_from(RULES))
    layout = draw(st.sampled_from(["v1", "v2"]))
    info = intrinfo(unit, layout, rule, upper=draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 2))):
        info ^= 1 << draw(st.integers(0, 31))
    bits = [int(each["match"], 0) for each in unit["rules"] if unit["by"] in ("bits", "value")]
    status = 0
    for each in draw(st.lists(st.sampled_from(bits), max_size=3)) if bits else ():
        status |= each
    if draw(st.booleans()):
        status ^= 1 << draw(st.integers(0, 31))
    names = [*unit["units"], "/".join(unit["units"])]
    word = draw(st.sampled_from(["Fatal", "Nonfatal"]))
    return unit["xid"], draw(st.sampled_from(names)), word, info, status


@given(printed_lines())
def test_every_line_is_judged_as_a_slow_reference_does(
    line: tuple[int, str, str, int, int],
) -> None:
    code, printed, word, info, status = line

    fault = parse(code, printed, word, f"({info:#010x} {status:#010x} 0x00000000 0x00000000)")

    assert verdict(fault) == reference(code, printed, word, info, status)
