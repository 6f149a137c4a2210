"""Are the collected GPU lines decoded to kind, code, device, severity and remedy?

``data/gpu_lines.tsv`` says where the collection that the lines come from sees it differently, and
docs/design/decoding.md gives the reasons.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from parsers import catalog, sxid
from parsers.decode import Decoder
from parsers.device import normalise
from parsers.record import unwrap
from tests.support import wrapped_lines

with (Path(__file__).parent / "data" / "gpu_lines.tsv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['fault_id']} {row['source'][-40:]}")
def test_a_line_is_decoded(row: dict[str, str]) -> None:
    (fault,) = Decoder().feed(unwrap(row["line"]))

    found = (fault.fault_id, fault.device, fault.severity.value, fault.remedy.value)
    assert found == (row["fault_id"], row["device"], row["severity"], row["remedy"])
    for reason in row["differs"].split(","):
        assert DIFFERS[reason](row), reason


def _continues(row: dict[str, str]) -> bool:
    line = sxid.parse(unwrap(row["line"]).text, catalog.sxids())
    return line is not None and line.continuation


DIFFERS: dict[str, Callable[[dict[str, str]], bool]] = {
    "-": lambda _: True,
    "function": lambda row: f"{row['device']}." in row["line"],
    "continuation": _continues,
    "no entry": lambda row: catalog.entry(row["fault_id"]) is None,
}


def test_no_line_of_the_collection_is_missing() -> None:
    collected = {row.line: row for row in wrapped_lines.rows() if row.kind in ("xid", "sxid")}

    assert Counter(row["line"] for row in ROWS) == Counter(dict.fromkeys(collected, 1))
    for row in ROWS:
        theirs = collected[row["line"]]
        address = normalise(theirs.pci)
        assert row["fault_id"] == f"{theirs.kind}/{theirs.code}"
        assert address is not None
        assert row["device"] == address.device


def test_reasons_and_details_are_written_down() -> None:
    page = (Path(__file__).parents[3] / "docs/design/decoding.md").read_text()
    examples = [line for entry in catalog.xids().values() for line in entry.examples]
    for line in (*examples, *(row["line"] for row in ROWS)):
        for fault in Decoder().feed(unwrap(line)):
            for key in fault.detail:
                assert f"`{key}`" in page, (key, line)
    counted = Counter(each for row in ROWS for each in row["differs"].split(","))

    for reason, lines in counted.items():
        assert reason == "-" or f"| `{reason}` | {lines} |" in page, reason
    assert f"all {len(ROWS)} GPU lines" in page
