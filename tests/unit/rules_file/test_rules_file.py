"""A site's rules file: what it changes, and what is told about a wrong one. JSON is YAML, too."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.marked_yaml.problem import MOST_PROBLEMS
from konduktor_health.adapters.rules_file import Judged, judge, read_content, read_rules
from konduktor_health.errors import ConfigError
from parsers import tables
from parsers.decode import Decoder
from parsers.fault import Fault, Remedy, Severity
from parsers.record import unwrap
from parsers.scan import scan, scan_all, scan_stream
from parsers.tables import Tables

RULE: dict[str, Any] = {
    "fault_id": "kernel/acme-fan",
    "patterns": ["acme_fan (?P<device>%{pci}): fan [0-9]+ stopped"],
    "severity": "fatal",
    "remedy": "reboot",
    "meaning": "A fan stopped",
    "examples": [
        {
            "text": "acme_fan 0000:3b:00.0: fan 7 stopped",
            "device": "0000:3b:00",
            "detail": {"function": "0"},
        }
    ],
}
LOADER: dict[str, Any] = {
    "fault_id": "workload/acme-loader",
    "patterns": ["acme loader: shard [0-9]+ is unreadable"],
    "severity": "application",
    "meaning": "Data could not be read",
    "examples": [{"text": "rank 3 acme loader: shard 17 is unreadable"}],
}
XID_43 = "NVRM: Xid (PCI:0000:3b:00): 43, pid=1, name=python3, Ch 00000010"


def judged(**parts: Any) -> Judged:
    return judge(json.dumps({"version": 1, **parts}).encode())


def right(**parts: Any) -> Judged:
    found = judged(**parts)
    assert found.problems == ()
    return found


def problems(**parts: Any) -> list[str]:
    return [f"{each.field}: {each.message}" for each in judged(**parts).problems]


def faults(read: Tables, *lines: str, pod: bool = False) -> list[Fault]:
    decoder = Decoder(read)
    feed = decoder.feed_pod if pod else decoder.feed
    return [fault for line in lines for fault in feed(unwrap(line))]


def changed(**fields: Any) -> dict[str, Any]:
    row = {**RULE, **fields}
    return {name: value for name, value in row.items() if value is not None}


# ---------------------------------------------------------------- what it changes


def test_a_new_rule_is_decoded_and_asked_for() -> None:
    found = right(kernel=[RULE], pod=[LOADER])
    (fault,) = faults(found.recorded, "[1.5] acme_fan 0000:3B:00.0: fan 12 stopped")
    assert (fault.fault_id, fault.severity, fault.remedy, fault.device) == (
        "kernel/acme-fan", Severity.FATAL, Remedy.REBOOT, "0000:3b:00",
    )  # fmt: skip
    assert {*found.recorded.literals} - {*tables.recorded().literals} == {"acme_fan"}
    (fault,) = faults(found.shown, "acme loader: shard 1 is unreadable", pod=True)
    assert fault.fault_id == "workload/acme-loader"
    assert "is unreadable" in found.shown.pod_literals
    assert "is unreadable" not in found.recorded.pod_literals, "it accuses nobody"


def test_the_shipped_rules_go_on_as_they_are() -> None:
    found = right(kernel=[RULE])
    for table, same in (
        (tables.shipped().kernel, found.shown.kernel),
        (tables.shipped().pod, found.shown.pod),
    ):
        for rule in table.rules:
            for example in rule.examples:
                assert same.match(example.text) == table.match(example.text)


def test_an_override_outranks_table_and_line() -> None:
    found = right(
        entries={
            "xid/43": {"severity": "fatal", "remedy": "reset_gpu"},
            "sxid/12028": {"severity": "info"},
            "kernel/gpu-lost": {"remedy": "power_cycle"},
        }
    )
    switch = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Fatal, Link 3 egress"
    lost = "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus."
    said = [
        (fault.fault_id, fault.severity.value, fault.remedy.value)
        for fault in faults(found.recorded, XID_43, switch, lost)
    ]
    assert said == [
        ("xid/43", "fatal", "reset_gpu"),
        ("sxid/12028", "info", "none"),
        ("kernel/gpu-lost", "fatal", "power_cycle"),
    ]


@pytest.mark.parametrize("form", ["{}", "[12.345678] {}", "kern  :err   : [12.345678] {}"])
def test_every_way_of_reading_a_log_says_what_the_site_says(form: str) -> None:
    found = right(
        entries={
            "xid/43": {"severity": "fatal", "remedy": "reset_gpu"},
            "sxid/12028": {"severity": "info"},
        }
    )
    switch = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Fatal, Link 03 egress"
    lines = [form.format(text) for text in (XID_43, switch)]
    said = [[hit.fault.severity for hit in scan(lines, found.shown)]]
    said += [[hit.fault.severity for hit in scan_all(lines, found.shown)]]
    stream = io.BytesIO("\n".join(lines).encode())
    said += [[hit.fault.severity for hit in scan_stream(stream.readinto, found.shown)]]
    assert said == [[Severity.FATAL, Severity.INFO]] * 3


def test_a_decoder_that_changes_its_tables_judges_the_next_line_by_them() -> None:
    found = right(entries={"xid/43": {"severity": "fatal"}, "sxid/12028": {"severity": "info"}})
    switch = "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Fatal, Link 03 egress"
    decoder = Decoder(tables.shipped())
    told = []
    for read in (tables.shipped(), found.shown, tables.shipped()):
        decoder.use(read)
        told += [f.severity.value for line in (XID_43, switch) for f in decoder.feed(unwrap(line))]
    assert told == ["application", "fatal", "fatal", "info", "application", "fatal"]


def test_an_override_lifts_nothing_that_is_unknown() -> None:
    found = right(entries={"xid/43": {"severity": "fatal", "remedy": "reset_gpu"}})
    damaged = XID_43.replace("PCI:0000:3b:00", "no address")
    forgeable = "Xid (1:2): 43"
    for fault in faults(found.shown, damaged, forgeable):
        assert fault.severity is Severity.UNKNOWN


def test_an_unlisted_code_of_the_catalog_may_be_given_a_meaning() -> None:
    unused = next(e for e in tables.shipped().xids.values() if e.severity is Severity.UNKNOWN)
    found = right(entries={unused.fault_id: {"severity": "degraded", "remedy": "inspect"}})
    line = f"NVRM: Xid (PCI:0000:3b:00): {unused.code}, pid=1, name=x, something"
    (fault,) = faults(found.recorded, line)
    assert fault.severity is Severity.DEGRADED


def test_a_rule_set_to_info_stands_on_no_node_and_is_not_asked_for() -> None:
    rule = next(rule for rule in tables.shipped().kernel.rules if tables.concerns_node(rule))
    found = right(entries={rule.fault_id: {"severity": "info"}})
    text = rule.examples[0].text
    assert [fault.fault_id for fault in faults(tables.recorded(), text)] == [rule.fault_id]
    assert faults(found.recorded, text) == []
    (fault,) = faults(found.shown, text)
    assert (fault.severity, fault.remedy) == (Severity.INFO, Remedy.NONE)
    assert len(found.recorded.literals) <= len(tables.recorded().literals)


def test_a_rule_of_a_shipped_fault_takes_its_place() -> None:
    shipped = tables.shipped().kernel
    first, last = shipped.rules[0], shipped.rules[-1]
    own = changed(fault_id=last.fault_id)
    found = right(kernel=[own])
    assert [rule.fault_id for rule in found.shown.kernel.rules] == [
        rule.fault_id for rule in shipped.rules
    ]
    assert [fault.fault_id for fault in faults(found.shown, RULE["examples"][0]["text"])] == [
        last.fault_id
    ]
    assert found.shown.kernel.rules[0] == first
    kinds = [(change.kind, change.fault_id) for change in found.changes]
    assert ("replaces", last.fault_id) in kinds
    assert ("loses", last.fault_id) in kinds, "its shipped examples match no more"


def test_a_new_rule_is_tried_before_the_shipped_ones_and_that_is_told() -> None:
    shipped = next(
        r for r in tables.shipped().kernel.rules if r.examples[0].text.startswith("NVRM")
    )
    text = shipped.examples[0].text
    own = changed(patterns=[r"NVRM: .{20}.*"], examples=[{"text": text}], severity="degraded")
    found = right(kernel=[own])
    assert [fault.fault_id for fault in faults(found.shown, text)] == ["kernel/acme-fan"]
    assert ("loses", shipped.fault_id) in [(each.kind, each.fault_id) for each in found.changes]
    (lost,) = faults(found.shown, "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.")
    assert lost.fault_id == "kernel/gpu-lost", "what has no rule is decoded before all rules"


def test_a_pattern_may_repeat_without_end_and_costs_no_time() -> None:
    own = changed(
        patterns=["acme_fan (?:(?:a+)+)+ stopped"], examples=[{"text": "acme_fan aaa stopped"}]
    )
    found = right(kernel=[own])
    assert faults(found.shown, "acme_fan " + "a" * 900 + " stoppe stopped-") == []


@pytest.mark.parametrize("parts", [{}, {"kernel": None}, {"kernel": [], "pod": [], "entries": {}}])
def test_a_file_that_says_nothing_changes_nothing(parts: dict[str, Any]) -> None:
    found = right(**parts)
    assert found.changes == ()
    assert found.recorded.literals == tables.recorded().literals


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (changed(severity="urgent"), "kernel[0].severity: not known (got 'urgent')"),
        (changed(severity=3), "kernel[0].severity: not a text (got 3)"),
        (changed(remedy="pray"), "kernel[0].remedy: not known (got 'pray')"),
        (changed(remedy=None), "kernel[0].remedy: missing"),
        (changed(meaning=None), "kernel[0].meaning: missing"),
        (changed(meaning=True), "kernel[0].meaning: not a text (got True)"),
        (changed(colour="red"), "kernel[0].colour: no such field"),
        (changed(fault_id="workload/fan"), "kernel[0].fault_id: not kernel/NAME"),
        (changed(fault_id="kernel/gpu-lost"), "kernel[0].fault_id: kernel/gpu-lost is not decoded"),
        (changed(examples=[]), "kernel[0].examples: empty"),
        (changed(examples=["x"]), "kernel[0].examples[0]: not an object of text"),
        (changed(examples=[{"text": "other"}]), "kernel[0].examples[0]: gives nothing"),
        (changed(examples=[{"text": RULE["examples"][0]["text"]}]), "gives '0000:3b:00', "),
        (changed(counter_examples=["acme_fan 3b:00.0: fan 1 stopped"]), "is this fault"),
        (changed(accuses="peer"), "kernel[0].severity: worse than application, and not of the"),
        (changed(printed_by="program"), "kernel[0].severity: a program's line never acts"),
        (changed(noise="it is"), "kernel[0].severity: noise is info"),
        (changed(severity="info"), "kernel[0].remedy: info asks for nothing"),
        (changed(literals=[["fan: x"]]), "kernel[0].literals: 'fan: x': a wrapper may split it"),
        (changed(literals=[["not there"]]), "kernel[0].examples[0]: "),
        (changed(patterns=[]), "kernel[0].patterns: empty"),
        (changed(patterns="abc"), "kernel[0].patterns: not a list"),
        (changed(patterns=["%{nope} abc"]), "kernel[0].patterns[0]: no such macro: 'nope'"),
        (changed(patterns=["[0-9]{3}"]), "kernel[0].patterns[0]: no text of 3 characters"),
        (
            changed(patterns=[".*the fan has stopped"]),
            "kernel[0].patterns[0]: begins with any text",
        ),
        (
            changed(patterns=["[^a]+the fan has stopped"]),
            "kernel[0].patterns[0]: begins with any text",
        ),
        (changed(patterns=["(a)bcd"]), "kernel[0].patterns[0]: column 1: only (?:...)"),
        (changed(patterns=["(?:(?:a{200}){200}){200}bcd"]), "kernel[0].patterns[0]: "),
        ("text", "kernel[0]: 'text', not a rule"),
    ],
)
def test_a_wrong_rule_is_told_with_field_and_value(row: Any, said: str) -> None:
    if isinstance(row, dict) and said.startswith("kernel[0].patterns[0]: begins"):
        row = {**row, "examples": [{"text": "x the fan has stopped"}]}
    found = problems(kernel=[row])
    assert any(said in each for each in found), found


@pytest.mark.parametrize(
    ("fault_id", "override", "said"),
    [
        ("workload/nccl-timeout", {"severity": "degraded"}, ".severity: a pod's line never acts"),
        ("workload/nccl-timeout", {"severity": "unknown"}, ".severity: a pod's line never acts"),
        ("kernel/pcie-aer-corrected", {"severity": "fatal"}, ".severity: it "),
        ("xid/9999", {"severity": "fatal"}, ": no such shipped fault"),
        ("xid/079", {"severity": "fatal"}, ": no such shipped fault"),
        ("kernel/opps", {"severity": "info"}, ": no such shipped fault"),
        ("xid/79", {"severity": "urgent"}, ".severity: not known (got 'urgent')"),
        ("xid/79", {"severity": ["info"]}, ".severity: not known (got a list)"),
        ("xid/79", {"remdy": "none"}, ".remdy: no such field"),
        ("xid/79", {"severity": "info", "remedy": "reboot"}, ".remedy: info asks for nothing"),
        ("xid/79", {"meaning": ""}, ".meaning: not a short text"),
        ("xid/154", {"severity": "info"}, ": only its meaning can be overridden"),
        ("kernel/gpu-probed", {"severity": "degraded"}, ".severity: such a line proves"),
        ("xid/79", {}, ": says nothing"),
        ("xid/79", "fatal", ": says nothing (got 'fatal')"),
        ("kernel/acme-fan", {"severity": "info"}, ": is a rule of this file"),
    ],
)
def test_a_wrong_override_is_told(fault_id: str, override: Any, said: str) -> None:
    found = problems(entries={fault_id: override}, kernel=[RULE])
    assert len(found) == 1
    assert f"entries.{fault_id}{said}" in found[0]


@pytest.mark.parametrize(
    ("fault_id", "proves", "said"),
    [
        ("kernel/acme-loaded", "driver-loaded", "proves a repair: driver-loaded"),
        ("kernel/nfs-responding", None, "ends kernel/nfs-not-responding"),
    ],
)
def test_what_proves_a_repair_does_not_begin_with_any_text(
    fault_id: str, proves: str | None, said: str
) -> None:
    row = changed(fault_id=fault_id, proves=proves, severity="info", remedy="none")
    row |= {"examples": [{"text": "acme: the driver is loaded now"}]}
    wrong = row | {"patterns": [".*the driver is loaded now"]}

    assert problems(kernel=[row | {"patterns": ["acme: the driver is loaded now"]}]) == []
    (found,) = problems(kernel=[wrong])
    assert found == f"kernel[0].patterns[0]: begins with any text, and the rule {said}"


def test_no_rule_of_a_program_and_no_noise_is_lifted() -> None:
    for rule in (*tables.shipped().kernel.rules, *tables.shipped().pod.rules):
        found = judged(entries={rule.fault_id: {"severity": "fatal"}})
        whole = found.shown.kernel.rule(rule.fault_id) or found.shown.pod.rule(rule.fault_id)
        assert whole is not None
        if whole.severity is Severity.FATAL:
            assert whole.accuses == "node"
            assert whole.printed_by == "kernel"
            assert not whole.noise
            assert rule in tables.shipped().kernel.rules


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("- 1", "a list, not a mapping"),
        ("kernel: []", "version: missing"),
        ("version: 2", "version: not 1 (got 2)"),
        ("version: true", "version: not 1 (got True)"),
        ("version: 1\nkernle: []", "kernle: no such field"),
        ("version: 1\nkernel: {}", "kernel: a mapping, not a list of rules"),
        ("version: 1\nentries: []", "entries: a list, not a mapping of fault ids"),
        ("version: 1\nmacros: []", "macros: a list, not a mapping"),
        ("version: 1\nmacros: {A: b}", "macros.A: not a name"),
        ("version: 1\nmacros: {a: 1}", "macros.a: not a text (got 1)"),
        ("version: 1\nmacros: {a: '('}", "macros.a: column 1: only (?:...)"),
    ],
)
def test_a_wrong_document_is_told(content: str, said: str) -> None:
    found = [str(problem) for problem in judge(content.encode()).problems]
    assert any(said in each for each in found), found


def test_problems_have_line_and_column_and_all_are_told_at_once() -> None:
    content = """\
version: 1
kernel:
  - fault_id: kernel/acme-fan
    patterns:
      - 'acme_fan (abc) stopped'
      - "acme \\\\d+ (x)"
    severity: urgent
    remedy: reboot
    meaning: A fan stopped
    examples: [{text: acme_fan abc stopped}]
  - fault_id: kernel/other
    colour: red
entries:
  xid/79: {severity: bad}
"""
    found = judge(content.encode())
    places = {(each.field, each.line, each.column) for each in found.problems}
    assert {
        ("kernel[0].patterns[0]", 5, 10 + len("acme_fan ")),
        ("kernel[0].patterns[1]", 6, 10),  # escapes: its columns are not those of the file
        ("kernel[0].severity", 7, 15),
        ("kernel[1].colour", 12, 5),
        ("kernel[1].patterns", 11, 5),
        ("entries.xid/79.severity", 14, 22),
    } <= places
    assert [each.line for each in found.problems] == sorted(each.line for each in found.problems)
    assert all(each.hint for each in found.problems if each.field.endswith(("severity", "colour")))


def test_a_fault_id_that_is_there_twice_is_told() -> None:
    assert problems(kernel=[RULE, RULE]) == ["kernel[1].fault_id: kernel/acme-fan is there twice"]


def test_an_example_that_an_earlier_rule_takes_is_told() -> None:
    wide = changed(
        fault_id="kernel/wide",
        patterns=["acme_fan [0-9]{4}:[0-9a-f]{2}.*"],
        examples=[{"text": "acme_fan 0000:3b"}],
    )
    assert problems(kernel=[RULE, wide]) == []
    assert problems(kernel=[wide, RULE]) == [
        "kernel[1].examples[0]: is taken by kernel/wide, which is tried before"
    ]


def test_a_wrong_file_leaves_the_shipped_tables() -> None:
    found = judged(kernel=[RULE, changed(severity="urgent", fault_id="kernel/other")])
    assert found.problems
    assert found.recorded == tables.recorded()
    assert found.shown == tables.shipped()


def test_so_many_patterns_that_a_check_would_take_long_are_refused() -> None:
    row = {**RULE, "patterns": [f"acme fan {number} has stopped" for number in range(2001)]}
    assert problems(kernel=[row]) == ["kernel: 2001 patterns"]


def test_many_problems_are_bounded_and_counted() -> None:
    found = judged(kernel=[{}] * 40)
    assert len(found.problems) == MOST_PROBLEMS
    assert found.unsaid > 0


def test_so_many_texts_that_loki_would_choke_are_refused() -> None:
    def rule(number: int) -> dict[str, Any]:
        text = f"acme_{number:04d} stopped"
        return changed(fault_id=f"kernel/acme-{number}", patterns=[text], examples=[{"text": text}])

    assert problems(kernel=[rule(number) for number in range(50)]) == []
    (said,) = problems(kernel=[rule(number) for number in range(401)])
    assert "Loki would be asked for" in said


# ---------------------------------------------------------------- files


def test_a_wrong_file_is_one_error_with_its_first_problems(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("version: 2\na: 1\nb: 2\nc: 3\nd: 4\n")
    with pytest.raises(ConfigError) as raised:
        read_rules(path)
    assert str(raised.value) == (
        f"rules file {path}: 1:10: version: not 1 (got 2); 2:1: a: no such field; "
        "3:1: b: no such field; and 2 more"
    )
    assert "policy check" in raised.value.hint


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="rules file "):
        read_content(tmp_path / name)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=6) | st.just("kernel/fan-x")
    | st.sampled_from(["fatal", "info", "none", "node", "abc", "[a", "(?P<a>b)", "%{pci}x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from([*RULE, "literals", "sources", "noise", "device", "text", "x: y"]), inner
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*RULE, "literals", "sources", "accuses", "noise"]), ODD))
def test_any_rule_is_taken_or_told(row: dict[str, Any]) -> None:
    found = judged(kernel=[{**RULE, **row}], pod=[row], entries={"xid/79": row})
    assert found.problems


@given(ODD)
def test_any_document_is_judged(value: object) -> None:
    judge(json.dumps({"version": 1, "kernel": value, "entries": value}).encode())
    judge(json.dumps(value).encode())
