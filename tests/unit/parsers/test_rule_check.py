"""Does the check of a rule file find what is wrong, and say where?"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.rule_check import check_rules
from parsers.rule_pattern import problems_of, start_of
from parsers.rules import rules_of

RULE: dict[str, Any] = {
    "fault_id": "kernel/fan-stopped",
    "literals": [["fan stopped"]],
    "patterns": ["acme (?P<device>%{pci}): fan stopped"],
    "severity": "degraded",
    "remedy": "inspect",
    "accuses": "node",
    "meaning": "A fan stopped",
    "investigation": "The fan",
    "sources": ["acme"],
    "examples": [
        {
            "text": "acme 0000:3B:00.0: fan stopped",
            "device": "0000:3b:00",
            "detail": {"function": "0"},
        }
    ],
    "counter_examples": ["x acme 0000:3b:00.0: fan stopped"],
}  # fmt: skip
FILE: dict[str, Any] = {
    "version": 1,
    "source": "kernel",
    "macros": {"pci": r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"},
    "sources": {"acme": "acme: manual"},
    "rules": [RULE],
}


def changed(**fields: object) -> dict[str, Any]:
    data = copy.deepcopy(FILE)
    data["rules"][0].update(fields)
    return data


@pytest.mark.parametrize("pattern", ["fan stopped", "[a-z]{1,9} fan stopped(?: at .{1,9})?"])
def test_what_acts_must_not_fit_into_a_process_name(pattern: str) -> None:
    def problems(**more: object) -> list[str]:
        data = changed(patterns=[pattern], counter_examples=["x"], **more)
        data["rules"][0]["examples"] = [{"text": "a fan stopped" if "]" in pattern else pattern}]
        return check_rules(data)

    (problem,) = problems()
    assert "rules[0] kernel/fan-stopped: patterns[0]: a process name could hold all" in problem
    assert problems(severity="info", remedy="none") == []
    assert problems(severity="info", remedy="none", proves="gpu-reset") == [problem]


def test_a_doubt_and_a_proof_stand_where_they_mean_something() -> None:
    assert check_rules(changed(observe="a test bench prints it too")) == []
    mild = {"severity": "info", "remedy": "none"}
    assert check_rules(changed(**mild, proves="driver-loaded")) == []
    for fields in (
        {**mild, "observe": "x"},
        {"observe": ""},
        {"observe": "a\nb"},
        {"observe": 7},
        {"proves": "driver-loaded"},
        {**mild, "proves": "innocence"},
        {**mild, "proves": "gpu-reset", "noise": "printed always"},
        {**mild, "proves": "gpu-reset", "printed_by": "program"},
    ):
        (problem,) = check_rules(changed(**fields))
        assert "observe" in problem or "proves" in problem


def test_a_good_file_has_no_problems_and_works() -> None:
    assert check_rules(FILE) == []
    fault = rules_of(FILE).match("acme 0000:3B:00.0: fan stopped now")
    assert fault is not None
    assert fault.device == "0000:3b:00"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"fault_id": "xid/79"}, "fault_id: not kernel/NAME"),
        ({"fault_id": "workload/fan"}, "fault_id: not kernel/NAME"),
        ({"severity": "awful"}, "severity: not known"),
        ({"remedy": "hammer"}, "remedy: not known"),
        ({"accuses": "peer"}, "severity: worse than application, and not of the node"),
        ({"accuses": "switch"}, "accuses: not one of"),
        ({"printed_by": "program"}, "severity: a program's line never acts"),
        ({"noise": "prints a lot"}, "severity: noise is info"),
        ({"severity": "info"}, "remedy: info asks for nothing"),
        ({"literals": []}, "literals: empty"),
        ({"literals": [["fan: stopped"]]}, "a wrapper may split it"),
        ({"literals": [["fa"]]}, "too short"),
        ({"literals": ["fan stopped"]}, "a group is not a list of texts"),
        ({"literals": [["ventilator"]]}, "examples[0]: gives nothing"),
        ({"patterns": ["acme .*fan stopped"]}, "patterns[0]: column 7: * has no end"),
        ({"patterns": ["(?<=acme )fan"]}, "patterns[0]: column 1: only (?:...)"),
        ({"patterns": [r"(?P<a>x)\1"]}, "patterns[0]: column 9: back-reference"),
        ({"patterns": ["(?:a{1,9}){1,9}"]}, "column 11: {1,9} repeats something that repeats"),
        ({"patterns": ["a{1,999}"]}, "repeats more than 256 times"),
        ({"patterns": ["fan (stopped"]}, "column 5: only (?:...)"),
        ({"patterns": ["(?:fan"]}, "a group is not closed"),
        ({"patterns": ["%{nic} fan"]}, "patterns[0]: no such macro"),
        ({"patterns": 7}, "patterns: not a list"),
        ({"device": "disk"}, "device: no capture disk"),
        ({"sources": ["nobody"]}, "sources: nobody is not in the file's sources"),
        ({"examples": [{"text": "fan started"}]}, "examples[0]: gives nothing"),
        ({"examples": [{"text": RULE["examples"][0]["text"]}]}, "examples[0]: gives '0000:3b:00'"),
        ({"counter_examples": [RULE["examples"][0]["text"]]}, "counter_examples[0]: is this fault"),
        ({"meaning": ""}, "meaning: not a short text"),
        ({"colour": "red"}, "colour: not known"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_found_with_its_name_and_field(
    fields: dict[str, object], problem: str
) -> None:
    problems = check_rules(changed(**fields))

    assert any(problem in each for each in problems), problems
    assert all(each.startswith("rules[0] ") for each in problems)


@pytest.mark.parametrize("field", [name for name in RULE if name != "device"])
def test_a_missing_field_is_named(field: str) -> None:
    data = copy.deepcopy(FILE)
    del data["rules"][0][field]

    assert any(f"{field}: missing" in each for each in check_rules(data))


def test_a_pod_rule_never_acts() -> None:
    data = changed(fault_id="workload/fan") | {"source": "pod"}

    assert any("a pod's line never acts" in each for each in check_rules(data))


def test_a_rule_that_an_earlier_one_hides_is_found() -> None:
    data = copy.deepcopy(FILE)
    data["rules"].append(RULE | {"fault_id": "kernel/fan-again"})

    assert check_rules(data) == ["rules[1] kernel/fan-again: examples[0]: gives kernel/fan-stopped"]


@pytest.mark.parametrize(
    "data",
    [
        None, 7, [], {}, {"version": 2},
        FILE | {"rules": [7]}, FILE | {"sources": 7}, FILE | {"macros": [1]},
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_told_and_never_raises(data: object) -> None:
    assert check_rules(data) != []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from([*RULE, "device", "noise"]), _JSON)
def test_no_value_of_a_field_raises(field: str, value: object) -> None:
    check_rules(changed(**{field: value}))


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("abc", "abc"), (r"a\.b", "a.b"), ("ab?c", "a"), ("(?:ab)?c", ""), ("ab|cd", ""),
        ("a[bc]d", "a"), ("ab(?:c|d)", "ab"), (r"a\d", "a"), ("a{2,3}b", ""), (r"\[ab", "[ab"),
    ],
)  # fmt: skip
def test_the_beginning_of_a_pattern_is_what_every_match_begins_with(
    pattern: str, start: str
) -> None:
    assert problems_of(pattern) == []
    assert start_of(pattern) == start


@given(st.text(alphabet="ab(){}[]|?*+\\:P<>=!1,^$.-", max_size=16))
def test_a_pattern_without_problems_compiles_and_anything_else_is_told(pattern: str) -> None:
    if not problems_of(pattern, bounded=False):
        compiled = re.compile(pattern)
        start = start_of(pattern)
        assert compiled.match("") is None or not start


def test_what_an_engine_refuses_is_told() -> None:
    def compile_pattern(pattern: str) -> re.Pattern[str]:
        raise RuntimeError(f"too big: {pattern[:4]}")

    assert check_rules(FILE, compile_pattern=compile_pattern) == [
        "rules[0] kernel/fan-stopped: patterns[0]: too big: acme"
    ]


def test_an_engine_without_backtracking_may_repeat_without_end() -> None:
    data = changed(patterns=["acme (?P<device>[^ ]+): fan stopped"])

    assert check_rules(data, bounded=False) == []
    assert check_rules(data) != []
