from __future__ import annotations

import json

import pytest

from parsers import catalog
from parsers.catalog import CatalogError
from parsers.fault import Remedy, Severity

ENTRY = {"code": 1, "mnemonic": "A", "meaning": "b", "severity": "info", "remedy": "none"}


def test_all_codes_are_there() -> None:
    assert sorted(catalog.xids()) == list(range(1, 178))
    assert len(catalog.sxids()) == 420
    assert all(10_000 <= code < 31_000 for code in catalog.sxids())


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


@pytest.mark.parametrize(
    "content",
    [
        "nonsense",
        json.dumps([]),
        json.dumps({"version": 2, "xids": [ENTRY]}),
        json.dumps({"version": 1, "xids": []}),
        json.dumps({"version": 1, "xids": [ENTRY, ENTRY]}),
        json.dumps({"version": 1, "xids": [ENTRY | {"severity": "dire"}]}),
        json.dumps({"version": 1, "xids": [ENTRY | {"remedy": "pray"}]}),
        json.dumps({"version": 1, "xids": [ENTRY | {"code": "1"}]}),
        json.dumps({"version": 1, "xids": [ENTRY | {"meaning": ""}]}),
        json.dumps({"version": 1, "xids": [ENTRY | {"extra": 1}]}),
    ],
)
def test_a_damaged_table_is_refused(content: str) -> None:
    with pytest.raises(CatalogError, match="xids"):
        catalog.load("xids", content)
