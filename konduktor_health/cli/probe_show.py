"""How does a person, or a program, see what nodes have measured?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from konduktor_health.cli.probe_visits import State, Visit
from konduktor_health.cli.status_show import table
from konduktor_health.timestamps import rfc3339_micro
from parsers.printable import printable
from probes.report import OutcomeName, Result

ORDER: tuple[OutcomeName, ...] = ("fail", "timeout", "error", "warn", "skip", "pass")
FAILED, UNMEASURED = 3, 4  # exit codes
COLUMNS = ("node", "check", "device", "outcome", "message")
_GOOD = frozenset({"pass", "warn"})
_STYLES = {
    "fail": "bold red", "timeout": "magenta", "error": "magenta", "warn": "yellow", "skip": "dim",
    "pass": "green", State.SILENT.value: "bold red", State.REFUSED.value: "yellow",
    State.NO_AGENT.value: "yellow", State.RUNNING.value: "cyan", State.DONE.value: "green",
}  # fmt: skip
_AROUND = 4  # lines of a frame that are not rows


def proves(result: Result) -> bool:
    """It was measured, by a real backend, and is not bad."""
    return result.outcome in _GOOD and not result.fake


def exit_code(visits: Iterable[Visit]) -> int:
    """0: all of it is good; 3: something failed; 4: something was not measured."""
    visits = list(visits)
    results = [result for visit in visits for result in visit.results]
    if any(each.outcome == "fail" for each in results):
        return FAILED
    whole = all(visit.state is State.DONE and visit.results for visit in visits)
    return 0 if whole and all(map(proves, results)) else UNMEASURED


def rows_of(
    visits: Iterable[Visit], *, wide: bool, age: Callable[[int], str] | None = None
) -> list[tuple[str, ...]]:
    """A row for each result that is not a pass, and one for the passes of a node; ``wide``: one
    for each. ``age``: of a time (Unix ns), before the message."""
    aged = ("",) if age else ()
    found: list[tuple[str, ...]] = []
    for visit in visits:
        if visit.state is not State.DONE:
            found.append((visit.node, "", "", visit.state.value, *aged, visit.message))
            continue
        shown = [each for each in visit.results if wide or each.outcome != "pass" or each.fake]
        for each in sorted(shown, key=lambda one: ORDER.index(one.outcome)):
            found.append(_row(visit.node, each, (age(each.ended_ns),) if age else ()))
        passed = len(visit.results) - len(shown)
        if passed:
            found.append(
                (visit.node, "", "", "pass", *aged, f"{passed} {_plural(passed, 'result')}")
            )
        if not visit.results:
            found.append((visit.node, "", "", "error", *aged, "there are no results"))
    return found


def _row(node: str, result: Result, aged: tuple[str, ...]) -> tuple[str, ...]:
    message = printable(result.message, 300)
    if result.fake:
        message = f"(fake backend: proves nothing) {message}"
    return (node, result.check, result.device, result.outcome, *aged, message)


def _plural(count: int, word: str) -> str:
    return word if count == 1 else word + "s"


def sums(visits: Sequence[Visit]) -> str:
    """One line."""
    states = Counter(visit.state.value for visit in visits)
    outcomes = Counter(result.outcome for visit in visits for result in visit.results)
    told = [
        f"{len(visits)} {_plural(len(visits), 'node')}: "
        + ", ".join(f"{n} {name}" for name, n in states.items())
    ]
    told += [", ".join(f"{outcomes[name]} {name}" for name in ORDER if outcomes[name])]
    return "; ".join(filter(None, told))


def print_rows(found: Sequence[tuple[str, ...]], columns: Sequence[str], console: Console) -> None:
    """The table. A terminal cuts lines at its width; elsewhere they are whole."""
    for line in styled(found, columns) if found else ():
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)
        else:
            console.print(line, soft_wrap=True, highlight=False)


def styled(found: Sequence[tuple[str, ...]], columns: Sequence[str]) -> list[Text]:
    """A heading and the rows; words that matter have colours."""
    return table(found, columns, {"outcome": _STYLES, "state": _STYLES})


def frame(visits: Sequence[Visit], height: int) -> Group:
    """What a terminal shows while it goes on: the sums, then those that are not done."""
    busy = [visit for visit in visits if visit.state is not State.DONE]
    done = [visit for visit in visits if visit.state is State.DONE]
    room = max(1, height - _AROUND)
    rows = [(each.node, each.state.value, _progress(each)) for each in (*busy, *done)]
    lines = [Text(sums(visits))]
    lines += styled(rows[:room], ("node", "state", "message"))
    if len(rows) > room:
        lines.append(Text(f"and {len(rows) - room} more"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _progress(visit: Visit) -> str:
    outcomes = Counter(result.outcome for result in visit.results)
    told = ", ".join(f"{outcomes[name]} {name}" for name in ORDER if outcomes[name])
    return told or visit.message


def as_json(visits: Sequence[Visit], now_ns: int) -> dict[str, Any]:
    """One object (docs/reference/probe-json.md)."""
    outcomes = Counter(result.outcome for visit in visits for result in visit.results)
    states = Counter(visit.state.value for visit in visits)
    return {
        "version": 1,
        "time": rfc3339_micro(now_ns),
        "summary": {
            "nodes": len(visits),
            "states": {state.value: states[state.value] for state in State},
            "outcomes": {name: outcomes[name] for name in ORDER},
        },
        "nodes": [
            {
                "node": visit.node,
                "state": visit.state.value,
                "message": visit.message or None,
                "run_id": visit.run_id or None,
                "results": [result_as_json(each) for each in visit.results],
            }
            for visit in visits
        ],
    }


def result_as_json(result: Result) -> Mapping[str, Any]:
    """A result as the wire has it; times beside the nanoseconds for people."""
    told = result.model_dump(mode="json")
    told["ended"] = rfc3339_micro(result.ended_ns)
    return told
