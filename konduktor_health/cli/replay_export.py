"""How are the moments of a replay written for programs? JSON and CSV, as they happen.

Nothing is kept: a long past is written as it is played. All text is printable, and no cell of the
CSV is a formula to a spreadsheet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from konduktor_health.cli.times import when
from konduktor_health.runtime.replay.timeline import Moment
from parsers.printable import printable

FORMAT = 1
_TEXT_LIMIT = 2000
_COLUMNS = (
    "policy", "time", "kind", "node", "reason", "rule", "fault", "effect", "pool", "tainted",
    "limit", "message", "evidence",
)  # fmt: skip


class Writes(Protocol):
    """Takes moments, then the sums."""

    def moment(self, policy: str, moment: Moment) -> None:
        """Something happened under this policy."""
        ...

    def end(self, report: Callable[[], dict[str, Any]]) -> None:
        """Everything has happened."""
        ...


class AsJson:
    """One JSON object: ``moments`` first, then what they come to."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._between = f'{{"format": {FORMAT},\n"moments": [\n'

    def moment(self, policy: str, moment: Moment) -> None:
        """One object in a line."""
        told = {name: value for name, value in row(policy, moment).items() if value not in ("", [])}
        self._file.write(self._between + json.dumps(told, ensure_ascii=False))
        self._between = ",\n"

    def end(self, report: Callable[[], dict[str, Any]]) -> None:
        """Close the list, and tell the sums."""
        if self._between != ",\n":
            self._file.write(self._between)
        body = json.dumps(report(), ensure_ascii=False, indent=1)
        self._file.write("\n],\n" + body[1:].lstrip() + "\n")


class AsCsv:
    """A table of moments with a head line; the sums are not part of it."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(_COLUMNS)

    def moment(self, policy: str, moment: Moment) -> None:
        """One row."""
        told = row(policy, moment)
        told["evidence"] = " | ".join(told["evidence"])
        self._rows.writerow([_cell(told[name]) for name in _COLUMNS])

    def end(self, report: Callable[[], dict[str, Any]]) -> None:
        """Nothing follows."""


def row(policy: str, moment: Moment) -> dict[str, Any]:
    """A moment by column; ``tainted`` and ``limit`` only where a pool is told."""
    return {
        "policy": policy,
        "time": when(moment.time_ns),
        "kind": moment.kind,
        "node": printable(moment.node, _TEXT_LIMIT),
        "reason": moment.reason,
        "rule": moment.rule,
        "fault": printable(moment.fault, _TEXT_LIMIT),
        "effect": moment.effect,
        "pool": moment.pool,
        "tainted": moment.tainted if moment.pool else "",
        "limit": moment.limit if moment.pool else "",
        "message": printable(moment.message, _TEXT_LIMIT),
        "evidence": [printable(each, _TEXT_LIMIT) for each in moment.evidence],
    }


def _cell(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value
