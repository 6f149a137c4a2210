"""How does the fleet's table appear on a terminal, and in a pipe?

Cells are plain text, never markup. A terminal cuts lines at its width; elsewhere they are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from rich.console import Console, Group
from rich.text import Text

from konduktor_health.cli.scan_show import STYLES
from konduktor_health.cli.status_rows import Choice, Fleet, columns, fleet_text, rows, shown
from konduktor_health.cli.times import age
from konduktor_health.model import Verdict
from parsers.fault import Severity

_VERDICTS = {
    Verdict.FAULTY.value: "bold red",
    Verdict.SUSPECT.value: "yellow",
    Verdict.RECOVERING.value: "cyan",
    Verdict.UNOBSERVED.value: "magenta",
    Verdict.HEALTHY.value: "green",
}
_STYLES = {
    "verdict": _VERDICTS,
    "severity": {severity.value: STYLES[severity] for severity in Severity},
}
_CELL_LIMIT = 64  # columns that a cell is padded to at most; a wider one pushes the rest
_AROUND = 4  # lines of a frame that are not rows: sums, heading, what is left out, the cursor


def print_fleet(fleet: Fleet, choice: Choice, console: Console) -> None:
    """The table, and under it the sums, which are never cut."""
    found = _rows(fleet, choice)
    for line in table(found, columns(choice)) if found else ():
        _print(line, console)
    console.print(Text(fleet_text(fleet)), soft_wrap=True, highlight=False)


def frame(fleet: Fleet, choice: Choice, height: int, *, note: str = "") -> Group:
    """What a terminal of that height shows: the sums first, then what fits, the worst."""
    found = _rows(fleet, choice)
    lines = [Text(fleet_text(fleet))]
    if note:
        lines.append(Text(note, style="bold red"))
    room = max(1, height - _AROUND - bool(note))
    if found:
        lines += table(found[:room], columns(choice))
    if len(found) > room:
        lines.append(Text(f"and {len(found) - room} more"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _rows(fleet: Fleet, choice: Choice) -> list[tuple[str, ...]]:
    since = partial(age, now_ns=fleet.now_ns)
    return rows(shown(fleet, choice), since, wide=choice.wide)


def table(
    found: Sequence[tuple[str, ...]],
    names: Sequence[str],
    styles: Mapping[str, Mapping[str, str]] = _STYLES,
) -> list[Text]:
    """A heading and the rows, in columns as wide as what is in them. ``styles``: by column and
    cell."""
    heading = [Text(column.upper(), style="bold") for column in names]
    lines = [heading]
    for row in found:
        pairs = zip(names, row, strict=True)
        lines.append([Text(cell, styles.get(column, {}).get(cell, "")) for column, cell in pairs])
    widths = [
        min(_CELL_LIMIT, max(line[number].cell_len for line in lines))
        for number in range(len(names))
    ]
    return [_joined(line, widths) for line in lines]


def _joined(cells: Iterable[Text], widths: Iterable[int]) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        line.append_text(cell).append(" " * max(0, width - cell.cell_len) + "  ")
    line.rstrip()
    return line


def _print(line: Text, console: Console) -> None:
    if console.is_terminal:
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)
    else:
        console.print(line, soft_wrap=True, highlight=False)
