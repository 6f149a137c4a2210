"""What is a measured figure, does it hold its bar, and how are figures shown and stored?

``build/bench.json`` maps a name to value, unit, bar ("<= 0.8" or null) and holds (null without
a bar), so that runs can be compared over time. A bar that was not measured does not hold.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to keep to."""

    comparison: Literal["<=", ">="]
    limit: float

    def __str__(self) -> str:
        return f"{self.comparison} {self.limit:g}"

    def kept_by(self, value: float) -> bool:
        """True when the value is on the right side."""
        return value <= self.limit if self.comparison == "<=" else value >= self.limit


def at_most(limit: float) -> Bar:
    """Bar for what should be small."""
    return Bar("<=", limit)


def at_least(limit: float) -> Bar:
    """Bar for what should be large."""
    return Bar(">=", limit)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ``value`` None: it could not be measured, ``note`` says why."""

    name: str
    value: float | None
    unit: str
    bar: Bar | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the bar is kept; None without a bar."""
        if self.bar is None:
            return None
        return self.value is not None and self.bar.kept_by(self.value)


def shown(value: float | None) -> str:
    """Four significant digits, thousands grouped."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """Name, value, unit, bar, holds, note."""
    table = Table("name", "value", "unit", "bar", "holds", "note", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for figure in figures:
        holds = {None: "", True: "yes", False: "NO"}[figure.holds]
        bar = "" if figure.bar is None else str(figure.bar)
        table.add_row(figure.name, shown(figure.value), figure.unit, bar, holds, figure.note)
    console.print(table)


def store(figures: Sequence[Figure], path: Path) -> None:
    """Write the figures as JSON."""
    content = {
        figure.name: {
            "value": None if figure.value is None else round(figure.value, 6),
            "unit": figure.unit,
            "bar": None if figure.bar is None else str(figure.bar),
            "holds": figure.holds,
        }
        for figure in figures
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
