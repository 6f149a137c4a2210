from __future__ import annotations

import pytest

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.nccl_tests import parse_run
from tests.support.tool_output import output, text


def test_a_run_over_two_nodes_is_read() -> None:
    run = parse_run(output("nccl-tests/gh200-2-nodes.txt"))

    assert (run.ranks, run.hosts) == (8, ("nid005471", "nid005487"))
    assert [row.size_bytes for row in run.rows] == [8, 8388608, 67108864, 134217728]
    assert run.busbw == 123.11
    assert run.average == 19.7866
    assert run.wrong == 0


def test_the_columns_of_old_versions_are_read_and_nothing_is_called_verified() -> None:
    run = parse_run(output("nccl-tests/a100-no-validation.txt"))

    assert (run.ranks, run.hosts, run.busbw) == (8, ("localhost",), 235.26)
    assert run.wrong is None


def test_wrong_values_are_counted_whatever_the_exit_status() -> None:
    for code in (0, 1):
        assert parse_run(output("nccl-tests/wrong-results.txt", code)).wrong == 64


def test_the_closing_line_alone_is_enough_to_fail() -> None:
    document = text("nccl-tests/gh200-2-nodes.txt").replace(": 0 OK", ": 3 FAILED")

    assert parse_run(ToolOutput(1, document, "")).wrong == 3


def test_a_failure_of_nccl_is_an_error_that_quotes_it() -> None:
    with pytest.raises(CheckError, match="unhandled cuda error"):
        parse_run(output("nccl-tests/cuda-failure.txt", 3))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# Avg bus bandwidth    : 19.7866", ""),
        ("# Out of bounds values : 0 OK", ""),
        ("19.7866", "nan"),
        ("122.57", "inf"),
        ("123.11", "-123.11"),
        ("1907.8   70.35", "1907.8"),
        ("#  Rank  1 Group", "#  Rank  0 Group"),
        ("#  Rank ", "#  Runk "),
        ("float", "0"),
    ],
)
def test_what_is_cut_or_garbled_is_an_error(old: str, new: str) -> None:
    document = text("nccl-tests/gh200-2-nodes.txt")
    assert old in document

    with pytest.raises(CheckError):
        parse_run(ToolOutput(0, document.replace(old, new), ""))


def test_a_run_that_ended_badly_is_an_error() -> None:
    with pytest.raises(CheckError, match="signal 6"):
        parse_run(output("nccl-tests/gh200-2-nodes.txt", -6))
