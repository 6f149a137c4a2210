"""Do the fault tables hold what they should, whole and valid?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from parsers import catalog
from parsers.catalog import CatalogError, Entry, read, rules
from parsers.decode import Decoder
from parsers.fault import Fault, Remedy, Severity
from parsers.record import unwrap
from parsers.rules import kernel_rules, pod_rules

ROW = {"code": 1, "mnemonic": "A", "class": "watch", "meaning": "b", "sources": ["driver"]}
EVERY: list[Entry] = [
    *catalog.xids().values(), *catalog.sxids().values(), *catalog.uncoded().values(),
    *catalog.controller().values(),
]  # fmt: skip


def decoded(line: str) -> list[Fault]:
    decoder, record = Decoder(), unwrap(line)
    return decoder.feed(record) or decoder.feed_pod(record)


def test_all_codes_are_there() -> None:
    groups = [each for each in catalog.sxids().values() if each.fault_class == "group"]

    assert sorted(catalog.xids()) == list(range(1, 178))
    assert (len(catalog.sxids()), len(groups)) == (420, 21)
    assert all(10_000 <= code < 31_000 for code in catalog.sxids())
    assert all(each.code % 1000 == 0 for each in groups)


@pytest.mark.parametrize(
    ("severity", "codes"),
    [
        (Severity.FATAL, [46, 48, 61, 62, 64, 79, 95, 109, 110, 119, 120, 136, 140, 143, 151, 155,
                          156, 158, 167, 169, 171, 172, 173, 175]),
        (Severity.DEGRADED, [54, 63, 74, 78, 94, *range(144, 151), 154, 157, 159, 160, 161, 165,
                             166, 168, 170, 177]),
        (Severity.APPLICATION, [8, 13, 31, 32, 43, 68, 69, 142, 174]),
        (Severity.INFO, [37, 44, 45, 92, 93, 121, 122, 137, 162, 163, 164, 176]),
    ],
)  # fmt: skip
def test_xid_severities_follow_the_classes(severity: Severity, codes: list[int]) -> None:
    table = catalog.xids()

    assert {code: table[code].severity for code in codes} == dict.fromkeys(codes, severity)


def test_no_other_xid_is_fatal_or_degraded_and_unused_codes_are_unknown() -> None:
    by_severity: dict[Severity, int] = {}
    for entry in catalog.xids().values():
        by_severity[entry.severity] = by_severity.get(entry.severity, 0) + 1

    assert by_severity == {
        Severity.FATAL: 24, Severity.DEGRADED: 22, Severity.APPLICATION: 50, Severity.INFO: 23,
        Severity.UNKNOWN: 58,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "severity", "remedy"),
    [
        (79, Severity.FATAL, Remedy.REBOOT),
        (48, Severity.FATAL, Remedy.RESET_GPU),
        (94, Severity.DEGRADED, Remedy.DRAIN_RESET),
        (13, Severity.APPLICATION, Remedy.RESTART_APP),
        (43, Severity.APPLICATION, Remedy.NONE),
    ],
)
def test_xid_remedies(code: int, severity: Severity, remedy: Remedy) -> None:
    entry = catalog.xids()[code]

    assert (entry.severity, entry.remedy) == (severity, remedy)


@pytest.mark.parametrize(
    ("code", "severity", "remedy"),
    [
        (12020, Severity.FATAL, Remedy.REBOOT),
        (22010, Severity.FATAL, Remedy.REBOOT),
        (23017, Severity.FATAL, Remedy.REBOOT),
        (26006, Severity.FATAL, Remedy.REBOOT),
        (20034, Severity.FATAL, Remedy.RESET_GPU),
        (12028, Severity.INFO, Remedy.NONE),
        (10004, Severity.INFO, Remedy.NONE),
        (10005, Severity.INFO, Remedy.NONE),
        (27001, Severity.INFO, Remedy.NONE),
        (28003, Severity.INFO, Remedy.NONE),
        (12033, Severity.UNKNOWN, Remedy.NONE),
        (15008, Severity.DEGRADED, Remedy.INSPECT),
    ],
)
def test_sxid_entries(code: int, severity: Severity, remedy: Remedy) -> None:
    entry = catalog.sxids()[code]

    assert (entry.severity, entry.remedy) == (severity, remedy)


def test_the_fabric_guides_classes_are_complete() -> None:
    by_guide: dict[str, int] = {}
    for entry in catalog.sxids().values():
        by_guide[entry.guide] = by_guide.get(entry.guide, 0) + 1

    del by_guide[""]
    assert by_guide == {"fatal": 42, "always_fatal": 21, "non_fatal": 25, "notable": 5}


def test_every_switch_wide_fatal_code_reboots() -> None:
    device_fatal = [12001, 12002, 12020, 22003, 22010, 22011, *range(23001, 23018)]
    wide = [e for e in catalog.sxids().values() if e.fault_class == "fabric_fatal"]

    assert sorted(entry.code for entry in wide) == [10003, *device_fatal]
    assert {(e.severity, e.remedy, e.scope) for e in wide} == {
        (Severity.FATAL, Remedy.REBOOT, "fabric")
    }


# ---------------------------------------------------------------- every shipped entry


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: entry.fault_id)
def test_an_entry_is_whole_and_its_lines_are_what_they_say(entry: Entry) -> None:
    assert entry.meaning
    assert entry.action or entry.accuses
    assert entry.scope or entry.accuses
    assert entry.investigation
    assert entry.sources
    assert catalog.entry(entry.fault_id) is entry
    for line in entry.examples:
        told = [fault.fault_id for fault in decoded(line)]
        assert told == ([] if entry.noise else [entry.fault_id]), line
    for line in entry.counter_examples:
        assert entry.fault_id not in [fault.fault_id for fault in decoded(line)], line


def test_a_code_that_a_driver_prints_has_an_example() -> None:
    without = [e for e in catalog.sxids().values() if not e.examples]

    assert len(catalog.sxids()) - len(without) == 256
    assert not [entry for entry in without if entry.prints]


def test_examples_of_faults_without_a_code_are_as_bad_as_the_table_says() -> None:
    for entry in catalog.uncoded().values():
        for line in () if entry.noise else entry.examples:
            (fault,) = decoded(line)
            assert (fault.severity, fault.remedy) == (entry.severity, entry.remedy), line


# ---------------------------------------------------------------- relations


def test_every_relation_names_entries_and_is_read_from_both_ends() -> None:
    seen = 0
    for entry in EVERY:
        for each in catalog.relations(entry.fault_id):
            other = catalog.relations(each.fault_id)
            assert catalog.entry(each.fault_id), each
            assert entry.fault_id in [back.fault_id for back in other]
            seen += 1
    assert seen > 100


@pytest.mark.parametrize(
    ("fault_id", "kind", "other"),
    [
        ("xid/162", "clears", "xid/163"),
        ("xid/163", "cleared_by", "xid/162"),
        ("sxid/10004", "cleared_by", "sxid/10005"),
        ("sxid/28001", "cleared_by", "sxid/28002"),
        ("sxid/28003", "cleared_by", "sxid/28004"),
        ("xid/171", "secondary_to", "xid/48"),
        ("xid/48", "counts_with", "xid/63"),
        ("xid/79", "followed_by", "xid/154"),
        ("kernel/gpu-init-failed", "same_event", "kernel/gpu-firmware-boot-failed"),
        ("kernel/pcie-aer-fatal", "accompanied_by", "kernel/pcie-aer-unrecovered"),
        ("kernel/gpu-lost", "counts_with", "xid/79"),
        ("kernel/cpu-hot", "cleared_by", "kernel/cpu-cooled"),
    ],
)
def test_known_relations(fault_id: str, kind: str, other: str) -> None:
    assert (kind, other) in [(each.kind, each.fault_id) for each in catalog.relations(fault_id)]


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        json.dumps([]),
        json.dumps({"version": 1, "xids": [ROW]}),
        json.dumps({"version": 2, "xids": []}),
        json.dumps({"version": 2, "xids": [7]}),
        json.dumps({"version": 2, "xids": [ROW, ROW]}),
        json.dumps({"version": 2, "xids": [ROW | {"severity": "dire"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"remedy": "pray"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"class": "odd"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"scope": "moon"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"sources": []}]}),
        json.dumps({"version": 2, "xids": [ROW | {"sources": ["hearsay"]}]}),
        json.dumps({"version": 2, "xids": [ROW | {"examples": "x"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"examples": ["a\nb"]}]}),
        json.dumps({"version": 2, "xids": [ROW | {"code": "1"}]}),
        json.dumps({"version": 2, "xids": [ROW | {"code": True}]}),
        json.dumps({"version": 2, "xids": [ROW | {"meaning": ""}]}),
        json.dumps({"version": 2, "xids": [ROW | {"extra": 1}]}),
        json.dumps({"version": 2, "xids": [{"code": 1}]}),
    ],
)
def test_a_damaged_table_is_refused(text: str) -> None:
    with pytest.raises(CatalogError, match="xids"):
        catalog.load("xids", text)


@pytest.mark.parametrize(
    ("load", "name", "old", "new"),
    [
        (read.load_words, "words.json", '"investigate": "root"', '"investigate": "gone"'),
        (read.load_words, "words.json", '"severity": "info"', '"severity": "dire"'),
        (read.load_words, "words.json", '"classes"', '"cases"'),
        (rules.load_directives, "xid154.json", '"reset_gpu"', '"pray"'),
        (rules.load_directives, "xid154.json", '"value": 3', '"value": "three"'),
        (rules.load_registers, "xid74.json", '"register": 1', '"register": 8'),
        (rules.load_registers, "xid74.json", '"kind": "ignore"', '"kind": "forget"'),
        (rules.load_registers, "xid74.json", "[0, 23, 30]", "[32]"),
        (rules.load_registers, "xid74.json", "[0, 23, 30]", "7"),
        (rules.load_nvlink_rules, "nvlink5.json", '"by": "bits"', '"by": "luck"'),
        (rules.load_nvlink_rules, "nvlink5.json", '"action": "reset"', '"action": "burn"'),
        (rules.load_nvlink_rules, "nvlink5.json", '"look": "peer"', '"look": "away"'),
        (rules.load_nvlink_rules, "nvlink5.json", '"match": "0x1"', '"match": "one"'),
    ],
)
def test_damaged_rules_are_refused(
    load: Callable[[str], object], name: str, old: str, new: str
) -> None:
    text = read.content(name)
    assert old in text
    assert load(text)

    with pytest.raises(CatalogError):
        load(text.replace(old, new))


def test_a_row_takes_from_its_class_what_it_does_not_say() -> None:
    rows = [ROW, ROW | {"code": 2, "severity": "fatal", "remedy": "reboot", "scope": "node"}]

    plain, special = catalog.load("xids", json.dumps({"version": 2, "xids": rows})).values()

    watch = read.words().classes["watch"]
    assert (plain.severity, plain.remedy, plain.scope) == (Severity.INFO, Remedy.NONE, "gpu")
    assert plain.action == watch.action
    assert (special.severity, special.remedy) == (Severity.FATAL, Remedy.REBOOT)
    assert special.scope == "node"


@pytest.mark.parametrize(
    "fault_id", ["xid/0", "xid/178", "xid/", "xid/79x", "xid/²", "sxid/79", "probe/x", "", "79"]
)
def test_what_the_catalog_does_not_have_is_none(fault_id: str) -> None:
    assert catalog.entry(fault_id) is None


def test_what_the_controller_finds_is_no_lines_fault() -> None:
    assert catalog.controller().keys() == {"node/unexpected-reboot", "operator/taint"}
    assert not catalog.controller().keys() & catalog.uncoded().keys()
    assert not any(each.examples for each in catalog.controller().values())


def test_one_fact_stands_in_one_place() -> None:
    rules = {rule.fault_id for rule in (*kernel_rules().rules, *pod_rules().rules)}

    assert not rules & catalog.others().keys()
    assert len(catalog.uncoded()) == len(rules) + len(catalog.others())


@pytest.mark.parametrize(
    ("asked", "first"),
    [("kernel/xfs-shutdwn", ["kernel/xfs-shutdown"]), ("kernel/xfs", ["kernel/xfs-shutdown"]),
     ("workload/nccl-peer", ["workload/nccl-peer-error"]),
     ("node/unexpected", ["node/unexpected-reboot"]), ("odd", []), ("x" * 5000, [])],
)  # fmt: skip
def test_a_slip_of_the_pen_is_understood(asked: str, first: list[str]) -> None:
    assert catalog.nearest(asked)[:1] == first


def test_importing_the_parsers_reads_no_table() -> None:
    code = (
        "import sys, parsers.decode, parsers.catalog as c;"
        "print(c.xids.cache_info().currsize, c.sxids.cache_info().currsize,"
        " {'importlib.resources', 'parsers.catalog.rules', 'parsers.catalog.ruled',"
        " 'parsers.rules', 'difflib'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert done.stdout.split() == ["0", "0", "set()"], done.stderr
