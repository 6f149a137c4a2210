"""What has the agent of one node measured last? Asked when somebody wants to see it.

``explain`` shows it beside the story, which does not depend on it: an agent that is not there, or
does not answer, is a sentence. Text of an agent is bounded and printable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from konduktor_health.cli.probe_show import ORDER, result_as_json
from konduktor_health.cli.probe_told import newest
from konduktor_health.cli.times import ago
from konduktor_health.clock import Clock
from konduktor_health.errors import HealthError, NotFound
from konduktor_health.model import NodeView
from konduktor_health.settings import Settings
from konduktor_health.treatment import PROBE_FAULT
from parsers.printable import printable
from probes.report import Limit, Measured, Result

if TYPE_CHECKING:
    from konduktor_health.adapters.kube import KubeHttp

Row = tuple[str, str]

MOST = 40  # results that are told
_MOST_VALUES = 8  # of one result
_TEXT = 300
_SIDE = {"at_least": "at least", "at_most": "at most", "equal": ""}


@dataclass(frozen=True, slots=True)
class MeasuredByAgent:
    """The newest result of each check on each device; ``why``: why there is none."""

    results: tuple[Result, ...] = ()
    why: str = ""


def ask_agent(
    view: NodeView, settings: Settings, http: KubeHttp, clock: Clock, *, direct: bool
) -> MeasuredByAgent:
    """Ask the agent of a node for its report. Whatever goes wrong is ``why``."""
    from konduktor_health.adapters.probes.operators import find_agents, reach

    try:
        pods = find_agents(settings, http, clock)
        agents = reach(settings, http, pods, {view.name: view}, clock, direct=direct)
        report = agents.asked.report(view.name)
    except NotFound:
        return MeasuredByAgent(why="no agent runs there")
    except HealthError as error:
        text = f"{error} ({error.hint})" if error.hint else str(error)
        return MeasuredByAgent(why=printable(text, _TEXT))
    return MeasuredByAgent(newest(report, frozenset(), ""))


def measured_rows(
    told: MeasuredByAgent, open_checks: Collection[str], now_ns: int
) -> Iterator[Row]:
    """What is no pass, and what checks with an open fault say, each in a row; the rest in one."""
    if told.why:
        yield "", f"not known: {told.why}"
        return
    if not told.results:
        yield "", "nothing in this boot yet"
        return
    shown = [
        each
        for each in told.results
        if each.outcome != "pass" or each.fake or each.check in open_checks
    ]
    shown.sort(key=lambda each: (ORDER.index(each.outcome), each.check, each.device))
    for each in shown[:MOST]:
        yield each.outcome, _sentence(each, now_ns)
    if len(shown) > MOST:
        yield "", f"and {len(shown) - MOST} more: konduktor-health probe results --node"
    passed = len(told.results) - len(shown)
    if passed:
        newest_ns = max(each.ended_ns for each in told.results)
        yield "pass", f"{passed} more results, the newest {ago(newest_ns, now_ns)}"


def measured_json(told: MeasuredByAgent | None) -> dict[str, Any] | None:
    """Described in docs/reference/node-json.md. None: the agent was not asked."""
    if told is None:
        return None
    return {
        "unknown_because": told.why or None,
        "results": [result_as_json(each) for each in told.results],
    }


def checks_of(fault_ids: Sequence[str]) -> frozenset[str]:
    """The checks behind these faults."""
    return frozenset(
        each.removeprefix(PROBE_FAULT) for each in fault_ids if each.startswith(PROBE_FAULT)
    )


def _sentence(result: Result, now_ns: int) -> str:
    where = f" on {printable(result.device, 100)}" if result.device else ""
    fake = "fake backend, which proves nothing: " if result.fake else ""
    message = printable(result.message, _TEXT)
    said = f": {message}" if message else ""
    values = "; ".join(map(_value, result.measurements[:_MOST_VALUES]))
    measured = f" [{values}]" if values else ""
    when = ago(result.ended_ns, now_ns)
    return f"{fake}{printable(result.check, 64)}{where}, {when}{said}{measured}"


def _value(measured: Measured) -> str:
    text = f"{printable(measured.name, 64)} {measured.value:g} {printable(measured.unit, 16)}"
    return text.rstrip() + (_limit(measured.threshold) if measured.threshold else "")


def _limit(limit: Limit) -> str:
    side = _SIDE.get(limit.bound, "")
    return f", wanted {side} {limit.value:g} ({printable(limit.source, 100)})".replace("  ", " ")
