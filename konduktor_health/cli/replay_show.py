"""How does a replay look on a terminal? The timeline line by line, then the sums.

What is shown is printable and never taken for markup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from konduktor_health.cli.replay_export import row
from konduktor_health.runtime.replay.timeline import Moment

MOST_NODES = 40  # nodes of a table; JSON has all
_STYLES = {
    "taint": "bold red",
    "clear": "green",
    "displace": "yellow",
    "reset": "green",
    "hold": "yellow",
    "surge": "bold magenta",
    "surge over": "magenta",
    "boot": "dim",
}


class AsTable:
    """Moments as lines of a terminal or a file."""

    def __init__(self, console: Console, *, several: bool, moments: bool = True) -> None:
        self._console = console
        self._several = several
        self._moments = moments

    def moment(self, policy: str, moment: Moment) -> None:
        """One line."""
        if not self._moments:
            return
        told = row(policy, moment)
        line = Text(str(told["time"]).replace("T", " ")[:19])
        if self._several:
            line.append(f"  {policy:<14.14}")
        line.append(f"  {moment.kind:<10}", _STYLES.get(moment.kind, ""))
        line.append(f"  {told['node']:<16}")
        what = " ".join(filter(None, (moment.reason, str(told["fault"]))))
        line.append(f"  {what}")
        notes = [f"rule {moment.rule}" if moment.rule else ""]
        if moment.pool:
            notes.append(f"{moment.pool} {moment.tainted}/{moment.limit}")
        if moment.kind in ("hold", "surge", "reset"):
            notes.append(str(told["message"]))
        if said := ", ".join(filter(None, notes)):
            line.append(f"  ({said})", "dim")
        self._console.print(line, soft_wrap=True)

    def end(self, report: Callable[[], dict[str, Any]]) -> None:
        """The sums."""
        show_report(report(), self._console)


def show_report(report: Mapping[str, Any], console: Console) -> None:
    """The sums of one policy or of two side by side, and what could not be known."""
    policies = report["policies"]
    lines = report["lines"]
    console.print(
        Text(f"\n{lines['heard']} lines with faults{_range(report)}; {lines['copies']} copies"),
        soft_wrap=True,
    )
    _table(console, "", policies, _head(policies))
    _table(console, "rule", policies, _named(policies, "rules", _rule))
    _table(console, "pool", policies, _named(policies, "pools", _pool))
    _table(console, "node", policies, _nodes(policies))
    if (parted := report.get("difference")) is not None:
        _difference(parted, console)
    console.print(Text("\nnot known:"))
    for each in report["not_known"]:
        console.print(Text(f"  {each}"), soft_wrap=True)


def _range(report: Mapping[str, Any]) -> str:
    return f", {report['from']} to {report['to']}" if report["from"] else ""


_Rows = list[tuple[str, list[str]]]


def _head(policies: list[dict[str, Any]]) -> _Rows:
    names = {
        "managed nodes": "managed_nodes",
        "nodes tainted": "tainted_nodes",
        "taints": "taints",
        "cleared": "clears",
        "node-hours out of scheduling": "hours_out_of_scheduling",
        "node-hours discouraged": "hours_discouraged",
        "node-hours wanted and held": "hours_wanted_and_held",
    }
    rows = [(name, [str(each[key]) for each in policies]) for name, key in names.items()]
    for what in ("holds", "surges"):
        keys = sorted({key for each in policies for key in each[what]})
        rows += [
            (f"{what}: {key}", [str(each[what].get(key, 0)) for each in policies]) for key in keys
        ]
    return rows


def _named(
    policies: list[dict[str, Any]], what: str, tell: Callable[[dict[str, Any]], str]
) -> _Rows:
    keys = sorted({key for each in policies for key in each[what]})
    return [
        (key, [tell(each[what][key]) if key in each[what] else "-" for each in policies])
        for key in keys
    ]


def _rule(rule: dict[str, Any]) -> str:
    faults = ", ".join(f"{fault_id} x{count}" for fault_id, count in rule["faults"].items())
    return f"{rule['taints']} taints on {rule['nodes']} nodes: {faults}"


def _pool(pool: dict[str, Any]) -> str:
    return (
        f"{pool['most_tainted']} of {pool['limit']} at most, exhausted {pool['hours_exhausted']} h"
    )


def _nodes(policies: list[dict[str, Any]]) -> _Rows:
    def tell(node: dict[str, Any]) -> str:
        parts = [f"{node['taints']} taints, {node['hours_out_of_scheduling']} h out"]
        parts += [f"held: {', '.join(node['holds'])}"] if node["holds"] else []
        return "; ".join(parts)

    rows = _named(policies, "nodes", tell)
    if len(rows) > MOST_NODES:
        left = len(rows) - MOST_NODES
        rows = [*rows[:MOST_NODES], (f"and {left} more", ["" for _ in policies])]
    return rows


def _table(console: Console, first: str, policies: list[dict[str, Any]], rows: _Rows) -> None:
    if not rows:
        return
    table = Table(
        first, *(Column(Text(each["policy"])) for each in policies), box=None, pad_edge=False
    )
    for name, cells in rows:
        style = "bold" if len(set(cells)) > 1 else ""
        table.add_row(Text(name), *(Text(cell, style) for cell in cells))
    console.print()
    console.print(table)


def _difference(parted: Mapping[str, Any], console: Console) -> None:
    console.print(Text("\ndifference:"))
    for name, nodes in parted["tainted_only_by"].items():
        shown = ", ".join(nodes[:MOST_NODES]) + (", ..." if len(nodes) > MOST_NODES else "")
        said = f"  {len(nodes)} tainted only by {name}" + (f": {shown}" if nodes else "")
        console.print(Text(said, "bold" if nodes else ""), soft_wrap=True)
    console.print(Text(f"  {parted['tainted_by_both']} tainted by both"))
