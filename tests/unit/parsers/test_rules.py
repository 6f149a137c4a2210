"""Do the rules on kernel messages and pod lines name what they should, and nothing else?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers.envelopes import BYTE_MESSAGES
from parsers.fault import Severity
from parsers.record import unwrap
from parsers.rule_check import check_rules
from parsers.rules import HEAD_LIMIT, Rule, RuleSet, kernel_rules, pod_rules
from tests.support import wrapped_lines

SETS = {"kernel": kernel_rules(), "pod": pod_rules()}
EVERY = [(name, rule) for name, rules in SETS.items() for rule in rules.rules]
TEXTS = sorted({
    text
    for _, rule in EVERY
    for text in (*rule.counter_examples, *(each.text for each in rule.examples))
})  # fmt: skip
HOSTILE = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."


def _id(value: object) -> str:
    return value.fault_id if isinstance(value, Rule) else str(value)


@pytest.mark.parametrize("name", SETS)
def test_the_shipped_tables_pass_their_own_check(name: str) -> None:
    path = Path(__file__).parents[3] / "parsers" / "catalog" / f"{name}.json"

    assert check_rules(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(("name", "rule"), EVERY, ids=_id)
def test_examples_are_the_fault_and_counter_examples_are_not(name: str, rule: Rule) -> None:
    for example in rule.examples:
        fault = SETS[name].match(example.text)
        assert fault is not None
        assert (fault.fault_id, fault.severity, fault.remedy) == (
            rule.fault_id, rule.severity, rule.remedy,
        )  # fmt: skip
        assert (fault.device, fault.detail) == (example.device, example.detail)
    for text in rule.counter_examples:
        fault = SETS[name].match(text)
        assert fault is None or fault.fault_id != rule.fault_id


def test_what_may_taint_a_node_is_this_list_and_no_more() -> None:
    fatal = {rule.fault_id for _, rule in EVERY if rule.severity is Severity.FATAL}

    assert fatal == {
        "kernel/edac-uncorrected",
        "kernel/filesystem-read-only",
        "kernel/filesystem-superblock",
        "kernel/gpu-attach-failed",
        "kernel/gpu-firmware-boot-failed",
        "kernel/gpu-gsp-init-failed",
        "kernel/gpu-init-failed",
        "kernel/hardware-error-fatal",
        "kernel/memory-poisoned",
        "kernel/mlx5-command-timeout",
        "kernel/mlx5-hardware-error",
        "kernel/mlx5-health-lost",
        "kernel/nvlink-detect-failed",
        "kernel/nvme-disabled",
        "kernel/panic",
        "kernel/pcie-aer-fatal",
        "kernel/raid-failed",
        "kernel/xfs-shutdown",
    }


@pytest.mark.parametrize("head", ["python3: ", "x ", "[7] ", "INFO: ", HOSTILE + " "])
def test_a_quoted_kernel_message_is_no_fault_that_acts(head: str) -> None:
    for rule in SETS["kernel"].rules:
        for example in rule.examples:
            for rules in SETS.values():
                fault = rules.match(head + example.text)
                assert fault is None or fault.severity in (Severity.INFO, Severity.APPLICATION)


@pytest.mark.parametrize(
    ("text", "fault_id"),
    [
        (f"INFO: task {HOSTILE[:15]}:7 blocked for more than 120 seconds.", "kernel/hung-task"),
        (f"Out of memory: Killed process 1 ({HOSTILE})", "kernel/oom-host"),
        (f"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [{HOSTILE[:15]}:7]",
         "kernel/soft-lockup"),
        ("Kernel panic[7]: segfault at 0 ip 0 sp 0 error 4 in bash[0+1]", "kernel/segfault-other"),
        ("in libnccl.so.2[7]: segfault at 0 ip 0 sp 0 error 4 in bash[0+1]",
         "kernel/segfault-other"),
        ("{1}[Hardware E invoked oom-killer: event severity: fatal", "kernel/oom-invoked"),
        ("nvme nvme0: I/O: attempt to access beyond end of device", "kernel/beyond-end-of-device"),
    ],
)  # fmt: skip
def test_a_process_name_decides_nothing(text: str, fault_id: str) -> None:
    fault = SETS["kernel"].match(text)

    assert fault is not None
    assert (fault.fault_id, fault.device) == (fault_id, "")


def test_a_pod_that_quotes_the_kernel_accuses_nobody() -> None:
    for rule in SETS["kernel"].rules:
        for example in rule.examples:
            assert SETS["pod"].match(f"2026-11-22 saw: {example.text}") is None, example.text


@pytest.mark.parametrize("wrapper", wrapped_lines.WRAPPERS)
def test_literals_survive_wrappers(wrapper: str) -> None:
    wrap = wrapped_lines.WRAPPERS[wrapper]
    literals = SETS["kernel"].literals + BYTE_MESSAGES
    for rule in SETS["kernel"].rules:
        for example in rule.examples:
            line = wrap(example.text)
            assert any(literal in line for literal in literals), line
            fault = SETS["kernel"].match(unwrap(line).text)
            assert fault is not None, line
            assert fault.fault_id == rule.fault_id


@pytest.mark.parametrize(("name", "rule"), EVERY, ids=_id)
def test_whatever_a_pattern_fits_contains_its_literals(name: str, rule: Rule) -> None:
    rules = SETS[name]
    drawn = st.sampled_from(rule.patterns).flatmap(
        lambda pattern: st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)
    )

    @settings(max_examples=20)
    @given(drawn, st.sampled_from(["", ".", " tail", HOSTILE]))
    def check(text: str, tail: str) -> None:
        assert any(all(each in text for each in group) for group in rule.literals)
        assert any(literal in text for literal in rules.literals)
        assert rules.match(text + tail) == rules.match_slowly(text + tail)

    check()


_PIECES = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
            lambda cut: text[min(cut) : max(cut)]
        )
    ),
    st.text(max_size=40),
    st.sampled_from(["\x00", "\ufffd", "\u202e", "\udcff", "0" * 70, "[" * 70, HOSTILE]),
)


@settings(max_examples=500)
@given(st.lists(_PIECES, max_size=4).map("".join))
def test_the_fast_way_says_what_the_slow_way_says_and_nothing_raises(text: str) -> None:
    for rules in SETS.values():
        fault = rules.match(text)
        assert fault == rules.match_slowly(text)
        if fault is not None:
            assert all(len(value) <= 64 for value in fault.detail.values())
            assert fault.device.isprintable()
            assert any(literal in text for literal in rules.literals)


def test_what_stands_beyond_a_kernel_record_does_not_count() -> None:
    text = f"INFO: task {'x' * HEAD_LIMIT}:7 blocked for more than 120 seconds."

    assert SETS["kernel"].match(text) is None
    assert SETS["kernel"].match("Kernel panic - not syncing: " + "x" * 65_536) is not None


def test_noise_is_named_with_its_reason_and_left_out_of_what_is_read() -> None:
    for rules in SETS.values():
        noise = [rule for rule in rules.rules if rule.noise]
        quiet = rules.without_noise()
        assert noise
        assert all(rule.severity is Severity.INFO for rule in noise)
        assert set(quiet.literals) <= set(rules.literals)
        assert not any(quiet.rule(rule.fault_id) for rule in noise)


@pytest.mark.parametrize("quieter", [RuleSet.without_noise, RuleSet.without_info])
def test_fewer_rules_still_name_what_is_left(quieter: Callable[[RuleSet], RuleSet]) -> None:
    for rules in SETS.values():
        quiet = quieter(rules)
        assert 0 < len(quiet.rules) < len(rules.rules)
        for rule in quiet.rules:
            for example in rule.examples:
                fault = quiet.match(example.text)
                assert fault is not None
                assert fault.fault_id == rule.fault_id


def test_another_engine_can_run_the_patterns() -> None:
    seen: list[str] = []

    def compile_pattern(pattern: str) -> re.Pattern[str]:
        seen.append(pattern)
        return re.compile(pattern, re.ASCII)

    rules = RuleSet(SETS["kernel"].rules, compile_pattern=compile_pattern)
    assert rules.match("eth0: renamed from veth1a2b3c4") is None
    assert seen == []
    assert rules.match("nvme nvme4: Disabling device after reset failure: -19") is not None
    assert 1 <= len(seen) <= 4


def test_importing_reads_no_table() -> None:
    code = (
        "import sys, parsers.rules as r; i = r.kernel_rules.cache_info()\n"
        "assert i.currsize == 0 and 'ipaddress' not in sys.modules; r.kernel_rules()\n"
        "assert r.kernel_rules.cache_info().currsize == 1"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
