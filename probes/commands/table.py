"""How does a table appear on a terminal, and in a pipe?

Cells are plain text, never markup. On a terminal the last column is folded; elsewhere a line is
never broken, so that other programs can read it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parsers.printable import printable

_CELL_LIMIT = 512


def print_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    style: Callable[[int, str], str] = lambda _column, _text: "",
    console: Console | None = None,
) -> None:
    """To standard output. ``style``: of a cell, by its column and text."""
    console = console or Console()
    if not console.is_terminal:
        for line in _padded([head, *rows]):
            console.file.write(line + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in head:
        table.add_column(name, overflow="fold", no_wrap=name != head[-1])
    for row in rows:
        cells = [printable(text, _CELL_LIMIT) for text in row]
        table.add_row(*(Text(text, style=style(at, text)) for at, text in enumerate(cells)))
    console.print(table)


def _padded(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[printable(text, _CELL_LIMIT) for text in row] for row in rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
