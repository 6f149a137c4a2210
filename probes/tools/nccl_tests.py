"""What did ``all_reduce_perf`` (nccl-tests) measure, and were its results right?

Rows have a size and, once out of place and once in place, a time (µs), the bandwidth of the
algorithm and of the bus (decimal GB/s) and the count of wrong values. Columns differ between
versions (no ``root`` before 2.13, "error" for "#wrong"), so each row is read from its ends. What
the bus bandwidth is: ``doc/PERFORMANCE.md`` of github.com/NVIDIA/nccl-tests.

Invariants:
- A run counts only with its closing lines ("Out of bounds values", "Avg bus bandwidth"): one that
  is cut off, or that NCCL ended, is an error.
- "N/A" for the wrong values (validation off) says nothing of them: ``wrong`` is None, and a check
  must not call such a result verified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from probes.check import ToolOutput
from probes.errors import CheckError
from probes.tools.reading import ending, excerpt, number

_ROW = re.compile(r"\s*[0-9]{1,18}\s+[0-9]{1,18}\s+[a-z0-9_]{2,16}\s")
_BOUNDS = re.compile(r"^# Out of bounds values : ([0-9]{1,18}) (OK|FAILED)\s*$", re.MULTILINE)
_AVERAGE = re.compile(r"^# Avg bus bandwidth\s+: (\S{1,24})\s*$", re.MULTILINE)
_RANK = re.compile(
    r"^#\s+Rank\s+([0-9]{1,6}) .{0,80}? on\s+(\S{1,253}) device\s+([0-9]{1,3}) \[([^\]]{1,20})\]",
    re.MULTILINE,
)
_FAILURE = re.compile(r"Test (?:NCCL|CUDA) failure .{0,200}|Test failure common.{0,80}")
_MOST_ROWS = 512
#: time, algorithm, bus, wrong; twice.
_FIGURES = 8


@dataclass(frozen=True, slots=True)
class NcclRow:
    """One size. Bus bandwidths in GB/s; ``wrong`` counts values of both ways, None: not checked."""

    size_bytes: int
    out_of_place: float
    in_place: float
    wrong: int | None


@dataclass(frozen=True, slots=True)
class NcclRun:
    """A run that ended."""

    ranks: int
    hosts: tuple[str, ...]  # in order, each once
    rows: tuple[NcclRow, ...]
    average: float  # GB/s over all sizes; small ones pull it down
    wrong: int | None  # values that are wrong; None: not checked

    @property
    def busbw(self) -> float:
        """The better bus bandwidth of the largest size, GB/s: what limits are for."""
        largest = max(self.rows, key=lambda row: row.size_bytes)
        return max(largest.out_of_place, largest.in_place)


def parse_run(output: ToolOutput) -> NcclRun:
    """Read the output of one run. Raises CheckError that quotes NCCL where it failed."""
    text = output.stdout
    failure = _FAILURE.search(text) or _FAILURE.search(output.stderr)
    if failure is not None:
        raise CheckError(f"nccl-tests ({ending(output)}): {excerpt(failure[0])}")
    bounds, average = _BOUNDS.findall(text), _AVERAGE.findall(text)
    if len(bounds) != 1 or len(average) != 1:
        raise CheckError(
            f"nccl-tests ({ending(output)}) did not end its run: {excerpt(text + output.stderr)}"
        )
    rows = tuple(_row(line) for line in text.splitlines() if _ROW.match(line))
    if not 0 < len(rows) <= _MOST_ROWS:
        raise CheckError(f"nccl-tests: {len(rows)} rows of results")
    ranks = _RANK.findall(text)
    if not ranks or len({rank for rank, *_ in ranks}) != len(ranks):
        raise CheckError(f"nccl-tests: {len(ranks)} ranks told, or one of them twice")
    count, verdict = int(bounds[0][0]), bounds[0][1]
    wrong = _wrong(rows, count)
    # It exits with 1 when values are wrong; any other status says that something else went wrong.
    failed = bool(wrong) or verdict == "FAILED"
    if output.returncode != 0 and not (failed and output.returncode == 1):
        raise CheckError(f"nccl-tests ({ending(output)}): {excerpt(text + output.stderr)}")
    if verdict == "FAILED" and not wrong:
        wrong = max(count, 1)
    return NcclRun(
        ranks=len(ranks),
        hosts=tuple(dict.fromkeys(host for _, host, _, _ in ranks)),
        rows=rows,
        average=number(average[0], "average bus bandwidth"),
        wrong=wrong,
    )


def _row(line: str) -> NcclRow:
    fields = line.split()
    if not _FIGURES + 4 <= len(fields) <= _FIGURES + 5:
        raise CheckError(f"nccl-tests: a row with {len(fields)} columns: {excerpt(line)}")
    figures = fields[-_FIGURES:]
    for name, text in zip(
        ("time", "algbw", "busbw") * 2, (*figures[:3], *figures[4:7]), strict=True
    ):
        number(text.rstrip("*"), name)
    counts = [_count(figures[3]), _count(figures[7])]
    known = [count for count in counts if count is not None]
    return NcclRow(
        size_bytes=int(fields[0]),
        out_of_place=number(figures[2].rstrip("*"), "busbw"),
        in_place=number(figures[6].rstrip("*"), "busbw"),
        wrong=sum(known) if known else None,
    )


def _count(text: str) -> int | None:
    """Wrong values of one way. "N/A": not checked. Before 2.13 the largest deviation stood there
    (5e-07); whether it is too large is said by the closing line alone."""
    if text == "N/A":
        return None
    if text.isdecimal() and len(text) <= 18:
        return int(text)
    number(text, "error")
    return 0


def _wrong(rows: tuple[NcclRow, ...], out_of_bounds: int) -> int | None:
    known = [row.wrong for row in rows if row.wrong is not None]
    if not known:
        return out_of_bounds or None
    return max(sum(known), out_of_bounds)
