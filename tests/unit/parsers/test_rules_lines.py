"""Are the collected lines beside the GPU lines decoded, and is no benign one accused?

``data/other_lines.tsv``: every such line of two collections, with what we say of it, taken apart
as in a log of any origin. Noise is named by its rule and gives no fault. ``theirs`` is the
collection's own word where it has one. A row whose ``line`` is a regular expression has a
``sample`` that it finds. ``differs`` says why we say something else:

============  =====================================================================================
part          one of the three records of a lost GPU: nothing without the other two
no entry      a code that no table has: unknown, whatever its line says
host head     a tag behind a host name without a time: nobody prints this, so it is no head
glued         several records in one line, with printed line ends between them
no log line   output of a command, for a probe; or shortened by hand
context       what they call fatal depends on what else happened; the line alone is not enough
program       what they call fatal was written by a program, which never acts
============  =====================================================================================
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from konduktor_health.cli.scan import scan_file
from konduktor_health.cli.scan_show import render_jsonl
from parsers import catalog
from parsers.decode import Decoder
from parsers.fault import Fault, Severity
from parsers.record import unwrap
from parsers.rules import kernel_rules, pod_rules
from tests.support import wrapped_lines
from tests.support.wrapped_lines import WRAPPERS

Row = dict[str, str]
_PART = re.compile(r"NVRM: (?:The NVIDIA GPU [0-9a-f:.]+|installed in this system has)$")
with (Path(__file__).parent / "data" / "other_lines.tsv").open(
    encoding="utf-8", newline=""
) as file:
    ROWS: list[Row] = list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))

#: What the collections call benign, or companions that say nothing by themselves.
BENIGN = (
    "edac_info (benign boot line)", "nvswitch_open (benign boot line)", "mlx5_link_up",
    "nvrm_gpu_map", "gsp_rpc_history", "none",
)  # fmt: skip


def _line(row: Row) -> str:
    return row["line"] if row["sample"] == "-" else row["sample"]


def _decoded(line: str) -> Fault | None:
    decoder, record = Decoder(), unwrap(line)
    faults = decoder.feed(record) or decoder.feed_pod(record)
    assert len(faults) <= 1
    return faults[0] if faults else None


def _noise(row: Row) -> bool:
    entry = catalog.entry(row["fault_id"])
    return entry is not None and bool(entry.noise)


def _by_program(row: Row) -> bool:
    rule = kernel_rules().rule(row["fault_id"])
    return rule is None or rule.printed_by == "program"


DIFFERS: dict[str, Callable[[Row], bool]] = {
    "-": lambda row: (
        catalog.entry(row["fault_id"]) is not None or row["category"] in BENIGN or _malformed(row)
    ),
    "part": lambda row: _PART.search(row["line"]) is not None,
    "no entry": lambda row: row["severity"] == "unknown" and not catalog.entry(row["fault_id"]),
    "host head": lambda row: re.search(r"\S kernel: mlx5_", row["line"]) is not None,
    "glued": lambda row: "\\n" in row["line"],
    "no log line": lambda row: "lspci" in row["line"] or row["line"].startswith("[...]"),
    "context": lambda row: row["theirs"] == "fatal",
    "program": lambda row: row["theirs"] in ("fatal", "critical") and _by_program(row),
}  # fmt: skip


def _malformed(row: Row) -> bool:
    return row["theirs"] == "parse-negative"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['category']} {row['source'][-40:]}")
def test_a_line_is_named(row: Row) -> None:
    fault = _decoded(_line(row))
    if fault is None and _noise(row):
        text = unwrap(_line(row)).text
        fault = kernel_rules().match(text) or pod_rules().match(text)

    found = (fault.fault_id, fault.severity.value, fault.device or "-") if fault else ("-",) * 3
    assert found == (row["fault_id"], row["severity"], row["device"])
    assert DIFFERS[row["differs"]](row)
    if row["line"].startswith("re:") and row["sample"] != "-":
        assert re.search(row["line"].removeprefix("re:"), row["sample"])


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["differs"] == "-"], ids=lambda row: row["line"][:60]
)
def test_a_difference_in_severity_has_a_reason(row: Row) -> None:
    mild = row["severity"] in ("info", "application", "-")
    if row["theirs"] in ("fatal", "critical"):
        assert row["severity"] == "fatal"
    elif row["theirs"] in ("ignore", "cascade", "marker", "clear", "suspect", "suspect-node"):
        assert mild
    else:
        assert row["theirs"] == "-" or row["severity"] != "fatal"


def test_no_benign_line_is_worse_than_info() -> None:
    benign = [row for row in ROWS if row["category"] in BENIGN]

    assert len(benign) > 30
    for row in benign:
        fault = _decoded(_line(row))
        assert fault is None or fault.severity is Severity.INFO


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_scan_tells_every_line_in_every_form(wrapper: str) -> None:
    """One file of all messages that a rule names, as this shipper delivers them."""
    named = [row for row in ROWS if row["fault_id"].startswith(("kernel/", "workload/"))]
    messages = [(unwrap(_line(row)).text, row) for row in named if "\n" not in _line(row)]
    log = "\n".join(WRAPPERS[wrapper](message) for message, _ in messages)

    hits = list(scan_file("-", io.BytesIO(log.encode())))

    expected = [
        (number, row["fault_id"], row["severity"], row["device"])
        for number, (_, row) in enumerate(messages, start=1)
        if not _noise(row)
    ]
    told = [json.loads(render_jsonl(hit)) for hit in hits]
    assert [
        (one["line_number"], one["fault_id"], one["severity"], one["device"] or "-") for one in told
    ] == expected
    assert len(expected) > 150


def test_reasons_are_written_down() -> None:
    page = (Path(__file__).parents[3] / "docs/design/rules.md").read_text()
    counted = Counter(row["differs"] for row in ROWS if row["differs"] != "-")

    for reason, lines in counted.items():
        assert f"| {reason} | {lines} |" in page, reason
    assert f"{counted.total()} of {len(ROWS)} collected rows" in page


def test_no_line_of_the_collection_is_missing() -> None:
    collected = Counter(row.line for row in wrapped_lines.rows() if row.kind == "other")
    ours = Counter(row["line"] for row in ROWS)

    assert collected <= ours
    assert len(ROWS) == collected.total() + 92
