"""What have agents found, without being asked for anything? Their reports and lists of checks.

Many are asked at once; one that does not answer costs its own node.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from konduktor_health.cli.probe_visits import State, Visit
from konduktor_health.errors import AgentRefused, AgentUnavailable, NotFound
from parsers.printable import printable
from probes.report import CheckInfo, Report, Result

AT_ONCE = 16
_Told = TypeVar("_Told")


def each_agent(
    nodes: Sequence[str], agents: frozenset[str], ask: Callable[[str], _Told]
) -> list[tuple[Visit, _Told | None]]:
    """What each agent says, in the order of the nodes; None where it says nothing. Raises what is
    no single agent's."""
    told: dict[str, tuple[Visit, _Told | None]] = {}
    left = deque(nodes)
    errors: list[BaseException] = []

    def work() -> None:
        while left and not errors:
            try:
                name = left.popleft()
            except IndexError:
                return
            visit = Visit(name, State.DONE)
            said: _Told | None = None
            try:
                if name in agents:
                    said = ask(name)
                else:
                    visit.state = State.NO_AGENT
            except (AgentUnavailable, AgentRefused, NotFound) as error:
                refused = isinstance(error, AgentRefused)
                visit.state = State.REFUSED if refused else State.SILENT
                visit.message = printable(str(error), 400)
            except BaseException as error:
                errors.append(error)
                return
            told[name] = (visit, said)

    threads = [
        threading.Thread(target=work, name=f"probe-{number}", daemon=True)
        for number in range(min(AT_ONCE, len(nodes)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [told[name] for name in nodes]


def newest(report: Report, checks: frozenset[str], run_id: str) -> tuple[Result, ...]:
    """The newest result of each check on each device; of one run, where it is named. Empty
    ``checks``: of all."""
    found: dict[tuple[str, str], Result] = {}
    for run in report.runs:  # oldest first
        if run_id and run.run_id != run_id:
            continue
        ran = {each.check for each in run.results}
        found = {key: each for key, each in found.items() if key[0] not in ran}
        for each in run.results:
            if not checks or each.check in checks:
                found[each.check, each.device] = each
    return tuple(found[key] for key in sorted(found))


def summed(told: Iterable[tuple[Visit, Sequence[CheckInfo] | None]]) -> list[tuple[str, ...]]:
    """A row for each check: name, tier, how often, deadline, on how many nodes, what they came to
    last."""
    known: dict[str, tuple[CheckInfo, int, dict[str, int]]] = {}
    for _, checks in told:
        for each in checks or ():
            first, many, lasts = known.get(each.name, (each, 0, {}))
            last = each.last or "not run"
            known[each.name] = (first, many + 1, {**lasts, last: lasts.get(last, 0) + 1})
    rows: list[tuple[str, ...]] = []
    for name, (first, many, lasts) in known.items():
        said = ", ".join(f"{count} {last}" for last, count in sorted(lasts.items()))
        every = f"{first.interval_s:g} s" if first.interval_s else first.cadence
        idle = "idle GPUs" if first.needs_idle_gpus else ""
        rows.append((name, first.tier, every, f"{first.deadline_s:g} s", idle, str(many), said))
    return rows
