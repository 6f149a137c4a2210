"""What did ``nvbandwidth`` measure? Its JSON (``-j``) and its text.

A test case has a matrix: rows are the CPU (one row) or GPUs, columns are GPUs, counted from 0 as
CUDA does; "N/A" stands for a pair that was not measured. Bandwidths are decimal GB/s, latencies ns.
Formats: ``json_output.cpp`` and ``README.md`` of github.com/NVIDIA/nvbandwidth.

Invariants:
- A case is measured only with the status "Passed" and a matrix of numbers; one that is waived (one
  GPU has no peers) is told as not measured; all else is an error.
- "Invalid value when checking the pattern" means that data arrived wrong: DataWrong, which is no
  bandwidth whatever else was printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, items, json_object, mapping, number, word

_WRONG = "Invalid value when checking the pattern"
_RUNNING = re.compile(r"^Running ([a-z0-9_]{1,64})\.\s*$")
_CAPTION = re.compile(r"^(?:memcpy|memory) .{1,80}\((GB/s|ns)\)\s*$")
_MOST_GPUS = 256


class DataWrong(CheckError):
    """What was copied did not arrive as it was sent. Names the test case."""


@dataclass(frozen=True, slots=True)
class BandwidthCase:
    """One test case; cells are None where a pair was not measured."""

    name: str  # "host_to_device_memcpy_ce"
    unit: str  # "GB/s" or "ns"
    matrix: tuple[tuple[float | None, ...], ...]


def parse_json(output: ToolOutput) -> dict[str, BandwidthCase]:
    """The measured cases of ``nvbandwidth -j`` by name. Raises DataWrong, CheckError."""
    _refuse_wrong_data(output)
    document = json_object(output.stdout, ("nvbandwidth",), "nvbandwidth")
    root = mapping(document["nvbandwidth"], "nvbandwidth")
    if root.get("error"):
        raise CheckError(f"nvbandwidth ({ending(output)}): {word(root['error'], 'error')}")
    cases: dict[str, BandwidthCase] = {}
    for entry in items(root.get("testcases"), "testcases", 128):
        case = mapping(entry, "testcase")
        name, status = word(case.get("name"), "name"), word(case.get("status"), "status")
        if case.get("error"):
            raise CheckError(f"nvbandwidth: {name}: {word(case['error'], 'error')}")
        if status == "Waived":
            continue
        if status != "Passed":
            raise CheckError(f"nvbandwidth: {name} has the status {status!r}")
        unit = _unit(word(case.get("bandwidth_description"), f"description of {name}"))
        rows = items(case.get("bandwidth_matrix"), f"matrix of {name}", _MOST_GPUS)
        matrix = tuple(_cells(items(row, f"row of {name}", _MOST_GPUS), name) for row in rows)
        cases[name] = _case(name, unit, matrix)
    _refuse_status(output)
    return cases


def parse_text(output: ToolOutput) -> dict[str, BandwidthCase]:
    """The measured cases of ``nvbandwidth`` without ``-j``. Raises DataWrong, CheckError."""
    _refuse_wrong_data(output)
    cases: dict[str, BandwidthCase] = {}
    name, unit, columns = "", "", 0
    rows: list[tuple[float | None, ...]] = []
    for line in [*output.stdout.splitlines(), ""]:
        running = _RUNNING.match(line)
        caption = _CAPTION.match(line)
        if running is not None:
            if name and not rows:
                raise CheckError(f"nvbandwidth: {name} has no matrix")
            name, unit, columns, rows = running[1], "", 0, []
        elif caption is not None and name:
            unit = caption[1]
        elif unit and not columns:
            columns = _header(line, name)
        elif columns and line.strip():
            rows.append(_cells(list(line.split()[1:]), name))
            if len(rows[-1]) != columns or len(rows) > _MOST_GPUS:
                raise CheckError(f"nvbandwidth: {name}: a row that does not fit: {excerpt(line)}")
        elif columns:
            cases[name] = _case(name, unit, tuple(rows))
            name, unit, columns, rows = "", "", 0, []
    if name:
        raise CheckError(f"nvbandwidth ({ending(output)}): {name} did not end")
    if not cases:
        raise CheckError(
            f"nvbandwidth ({ending(output)}): no results: {excerpt(output.stdout + output.stderr)}"
        )
    _refuse_status(output)
    return cases


def _header(line: str, name: str) -> int:
    columns = line.split()
    if columns != [str(index) for index in range(len(columns))] or not columns:
        raise CheckError(f"nvbandwidth: {name}: columns {excerpt(line)}")
    return len(columns)


def _cells(row: list[object], name: str) -> tuple[float | None, ...]:
    return tuple(None if cell == "N/A" else number(cell, name) for cell in row)


def _case(name: str, unit: str, matrix: tuple[tuple[float | None, ...], ...]) -> BandwidthCase:
    if not matrix or len({len(row) for row in matrix}) != 1 or not matrix[0]:
        raise CheckError(f"nvbandwidth: {name}: the matrix is empty or ragged")
    return BandwidthCase(name, unit, matrix)


def _unit(description: str) -> str:
    found = re.search(r"\((GB/s|ns)\)\s*$", description)
    if found is None:
        raise CheckError(f"nvbandwidth: no unit in {excerpt(description)}")
    return found[1]


def _refuse_wrong_data(output: ToolOutput) -> None:
    for text in (output.stdout, output.stderr):
        at = text.find(_WRONG)
        if at >= 0:
            running = re.findall(r"Running ([a-z0-9_]{1,64})", text[:at])
            raise DataWrong(
                f"nvbandwidth: data arrived wrong in {running[-1] if running else 'a copy'}: "
                f"{excerpt(text[at : at + 120])}"
            )


def _refuse_status(output: ToolOutput) -> None:
    if output.returncode != 0:
        raise CheckError(
            f"nvbandwidth ({ending(output)}): {excerpt(output.stdout + output.stderr)}"
        )
