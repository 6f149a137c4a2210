"""Are the collected lines that are no Xid and no SXid named, and is no benign one accused?

``data/other_lines.tsv``: every such line of two collections, with what we say of it. ``theirs`` is
the collection's own word where it has one. A row whose ``line`` is a regular expression has a
``sample`` that it finds. ``differs`` says why we say something else:

============  =====================================================================================
gpu rule      Xid, SXid and lost GPUs are decoded elsewhere (test_gpu_lines.py, test_lost.py)
host head     a host name behind the kernel's own stamp: nobody prints this, so it is no head
glued         several records in one line, with printed line ends between them
no log line   output of a command: for a probe
context       what they call fatal depends on what else happened; the line alone is not enough
program       what they call fatal was written by a program, which never acts
============  =====================================================================================
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from parsers.fault import Fault, Severity
from parsers.record import unwrap
from parsers.rules import kernel_rules, pod_rules
from tests.support import wrapped_lines

Row = dict[str, str]
_GPU = re.compile(r"Xid \(|allen off the bus|The NVIDIA GPU|installed in this system")
with (Path(__file__).parent / "data" / "other_lines.tsv").open(
    encoding="utf-8", newline=""
) as file:
    ROWS: list[Row] = list(csv.DictReader(file, dialect="excel-tab", quoting=csv.QUOTE_NONE))

#: What the collections call benign, or companions that say nothing by themselves.
BENIGN = (
    "edac_info (benign boot line)", "nvswitch_open (benign boot line)", "mlx5_link_up",
    "nvrm_gpu_map", "gsp_rpc_history", "none",
)  # fmt: skip


def _fault(row: Row) -> Fault | None:
    text = unwrap(row["line"] if row["sample"] == "-" else row["sample"]).text
    return kernel_rules().match(text) or pod_rules().match(text)


def _rule_of(row: Row) -> object:
    return kernel_rules().rule(row["fault_id"]) or pod_rules().rule(row["fault_id"])


def _by_program(row: Row) -> bool:
    rule = kernel_rules().rule(row["fault_id"])
    return rule is None or rule.printed_by == "program"


DIFFERS: dict[str, Callable[[Row], bool]] = {
    "-": lambda row: _rule_of(row) is not None or row["category"] in BENIGN or _malformed(row),
    "gpu rule": lambda row: _GPU.search(row["line"]) is not None,
    "host head": lambda row: re.search(r"\S kernel: mlx5_", row["line"]) is not None,
    "glued": lambda row: "\\n" in row["line"],
    "no log line": lambda row: "lspci" in row["line"],
    "context": lambda row: row["theirs"] == "fatal",
    "program": lambda row: row["theirs"] in ("fatal", "critical") and _by_program(row),
}  # fmt: skip


def _malformed(row: Row) -> bool:
    return row["theirs"] == "parse-negative"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['category']} {row['source'][-40:]}")
def test_a_line_is_named(row: Row) -> None:
    fault = _fault(row)

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
        fault = _fault(row)
        assert fault is None or fault.severity is Severity.INFO


def test_no_line_of_the_collection_is_missing() -> None:
    collected = Counter(row.line for row in wrapped_lines.rows() if row.kind == "other")
    ours = Counter(row["line"] for row in ROWS)

    assert collected <= ours
    assert len(ROWS) == collected.total() + 92
