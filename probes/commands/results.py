"""How are the results of a run shown, and what is its exit code?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from probes.commands.table import print_table
from probes.report import Result, Run
from probes.runner.order import Progress

#: Measured, and good: pass and warn of each result.
PASSED = 0
#: At least one result is ``fail``.
FAILED = 3
#: Nothing failed, but something was not measured: ``skip``, ``error``, ``timeout``.
NOT_MEASURED = 4

_ORDER = ("fail", "timeout", "error", "warn", "skip", "pass")
_STYLES = {
    "fail": "bold red",
    "timeout": "red",
    "error": "red",
    "warn": "yellow",
    "skip": "cyan",
    "pass": "green",
}


def exit_code(run: Run) -> int:
    """What the results of a run, or none at all, come to."""
    outcomes = {result.outcome for result in run.results}
    if "fail" in outcomes:
        return FAILED
    return PASSED if outcomes and outcomes <= {"pass", "warn"} else NOT_MEASURED


def print_results(run: Run, console: Console) -> None:
    """A table, and a line that counts."""
    head = ("check", "device", "outcome", "seconds", "message")
    rows = [_row(result) for result in run.results]
    print_table(head, rows, lambda at, text: _STYLES.get(text, "") if at == 2 else "", console)
    console.print(_sum(run), soft_wrap=True, highlight=False, markup=False)


def _row(result: Result) -> tuple[str, ...]:
    seconds = f"{result.duration_s:.1f}"
    return (result.check, result.device, result.outcome, seconds, result.message)


def _sum(run: Run) -> str:
    counts: Counter[str] = Counter(result.outcome for result in run.results)
    counted = ", ".join(f"{counts[name]} {name}" for name in _ORDER if counts[name])
    seconds = (run.ended_ns - run.began_ns) / 1e9
    text = f"run {run.run_id}: {counted or 'no result'} in {seconds:.1f} s"
    if any(result.fake for result in run.results):
        text += "; of a fake backend, which proves nothing"
    return text


@contextmanager
def bar(total: int) -> Iterator[_Shown | None]:
    """A bar on standard error while somebody looks at it; None: nobody does."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as shown:
        yield _Shown(shown, total)


class _Shown:
    """Moves the bar with each check that has ended."""

    def __init__(self, shown: Bar, total: int) -> None:
        self._bar, self._task = shown, shown.add_task("starting", total=total)

    def __call__(self, progress: Progress) -> None:
        spec = progress.check
        if progress.results is None:
            what = f"{spec.name} (at most {spec.deadline_s:g} s)"
            self._bar.update(self._task, description=what)
        else:
            self._bar.advance(self._task)
