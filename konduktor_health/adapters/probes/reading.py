"""What does a report say, and is it to be believed? Bytes of an agent -> results and faults.

Invariants:
- A report is of the node of the pod that served it. The node that it names is only compared; so is
  its boot id, with the Node's. One that differs is not read any further.
- What a fake backend says is not believed, unless the whole report may be (the sandbox).
- Nothing that cannot be read is a pass: a body that does not fit the schema is no report, and a
  pass with a number that is none is an error.
- Texts are bounded and printable before they go anywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from sys import intern

from pydantic import ValidationError

from konduktor_health.agents import AgentState
from konduktor_health.model import Fault, NodeView, ProbeResult, ProbeStatus, Remedy, Severity
from konduktor_health.timestamps import NS
from konduktor_health.treatment import PROBE_FAULT
from parsers.fault import TEXT_LIMIT, Trust
from parsers.printable import printable
from probes.report import Limit, Measured, Report, Result, Run

#: Name of the source in faults, metrics and evidence.
SOURCE = "probes"
#: A run or a result that ends later than this is of a clock that cannot be compared with anything.
AHEAD_NS = 600 * NS
#: A requested run whose id begins so, and goes on with a tier, is of all checks of that tier.
WHOLE_TIER = "tier-"
#: A requested run whose id begins so is one half of a pair test.
PAIR = "pair-"
_REQUESTED = "requested"
_SIGNS = {"at_least": ">=", "at_most": "<=", "equal": "="}
_STATUS = {status.value: status for status in ProbeStatus}
_SEVERITY = {severity.value: severity for severity in Severity}
_REMEDY = {remedy.value: remedy for remedy in Remedy}
_UNMEASURED = frozenset({"error", "timeout"})


@dataclass(frozen=True, slots=True)
class NotBelieved:
    """A report that says nothing, and why."""

    state: AgentState
    message: str


def read(body: bytes, view: NodeView, now_ns: int, *, accept_fake: bool) -> Report | NotBelieved:
    """The report in a body that the agent of this node has served. Times are Unix ns."""
    try:
        report = Report.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(each) for each in first["loc"])
        return NotBelieved(
            AgentState.GARBLED, printable(f"no report: {where}: {first['msg']}", 200)
        )
    if report.node != view.name:
        what = f"it names node {printable(report.node, 100)!r}"
        return NotBelieved(AgentState.WRONG_NODE, what)
    if not view.boot_id or report.boot_id != view.boot_id:
        what = f"of boot {report.boot_id or '(none)'}; the Node has {view.boot_id or '(none)'}"
        return NotBelieved(AgentState.WRONG_BOOT, what)
    if not accept_fake and (report.fake or report.backend == "fake"):
        return NotBelieved(AgentState.FAKE, "its backend is fake: nothing was measured")
    newest_ns = max((_newest_ns(run) for run in report.runs), default=0)
    if newest_ns > now_ns + AHEAD_NS:
        what = "a run ends in the future: the node's clock is more than 10 minutes ahead"
        return NotBelieved(AgentState.GARBLED, what)
    return report


def _newest_ns(run: Run) -> int:
    return max([run.ended_ns, *(each.ended_ns for each in run.results)])


def results_of(run: Run, boot_id: str, *, accept_fake: bool) -> tuple[ProbeResult, ...]:
    """The results of a run, as the core takes them. ``boot_id``: of the report."""
    boot_id = intern(run.boot_id or boot_id)
    whole = _whole_tiers(run)
    return tuple(
        ProbeResult(
            check=intern(each.check),
            tier=intern(each.tier) if whole is None or each.tier in whole else "",
            status=_status(each),
            time_ns=each.ended_ns,
            device=intern(each.device),
            under_load=each.under_load,
            boot_id=boot_id,
            fake=each.fake and not accept_fake,
            run_id=run.run_id,
        )
        for each in run.results
    )


def failures(runs: Iterable[Run], *, accept_fake: bool) -> Iterator[tuple[Run, Result]]:
    """Each result that failed and accuses its node. A pair test does not: which of the two is to
    blame is decided over many pairs."""
    for run in runs:
        if not (run.cadence == _REQUESTED and run.run_id.startswith(PAIR)):
            for each in run.results:
                if each.outcome == "fail" and (accept_fake or not each.fake):
                    yield run, each


def standing_failures(runs: Iterable[Run], *, accept_fake: bool) -> Iterator[tuple[Run, Result]]:
    """The failures that no later run has seen pass. Of a report that is read for the first time
    the rest is history: nobody knows what was done about it meanwhile."""
    standing: dict[tuple[str, str], tuple[Run, Result]] = {}
    for run in runs:  # oldest first
        passed = {(each.check, each.device) for each in run.results if each.outcome == "pass"}
        for check, device in list(standing):
            if (check, device) in passed or (check, "") in passed:
                del standing[check, device]
        for _, each in failures([run], accept_fake=accept_fake):
            standing[each.check, each.device] = (run, each)
    yield from standing.values()


def unmeasured(run: Run) -> dict[str, bool]:
    """Each check of a run: whether it ended in an error or a time-out, on any device."""
    found: dict[str, bool] = {}
    for each in run.results:
        found[each.check] = found.get(each.check, False) or each.outcome in _UNMEASURED
    return found


def fault_of(node: str, run: Run, result: Result, boot_id: str) -> Fault:
    """The fault of a result that failed, with its measurements as evidence."""
    named = "\0".join((node, run.run_id, result.check, result.device))
    return Fault(
        fault_id=PROBE_FAULT + result.check,
        severity=_SEVERITY[result.severity],
        remedy=_REMEDY[result.remedy],
        device=result.device,
        node=node,
        time_ns=result.ended_ns,
        event_ns=result.ended_ns,
        boot_id=run.boot_id or boot_id,
        identity=hashlib.sha256(named.encode()).hexdigest()[:32],
        source=SOURCE,
        trust=Trust.PROBE,
        text=printable(" ".join(_evidence(result)), TEXT_LIMIT),
        detail={"run": run.run_id},
    )


def _whole_tiers(run: Run) -> frozenset[str] | None:
    """Of a requested run: the tiers of which all checks were run. Passes of a few checks that
    somebody asked for are no pass of their tier. None: all that it has results of."""
    if run.cadence != _REQUESTED:
        return None
    if not run.run_id.startswith(WHOLE_TIER):
        return frozenset()
    return frozenset({run.run_id.removeprefix(WHOLE_TIER).partition("-")[0]})


def _status(result: Result) -> ProbeStatus:
    if result.outcome == "pass" and not all(map(_is_a_number, result.measurements)):
        return ProbeStatus.ERROR
    return _STATUS[result.outcome]


def _is_a_number(measured: Measured) -> bool:
    limit = measured.threshold
    return math.isfinite(measured.value) and (limit is None or math.isfinite(limit.value))


def _evidence(result: Result) -> Iterator[str]:
    """The message, and what missed its threshold where the message does not say it."""
    yield result.message or "failed"
    for each in result.measurements:
        limit = each.threshold
        if limit is not None and not _is_met(each.value, limit):
            unit = f" {each.unit}" if each.unit else ""
            sign = _SIGNS[limit.bound]
            told = f"[{each.name} {each.value:g}{unit}, wanted {sign} {limit.value:g}{unit}"
            yield told + (f" ({limit.source})]" if limit.source else "]")


def _is_met(value: float, limit: Limit) -> bool:
    if limit.bound == "at_least":
        return value >= limit.value
    return value <= limit.value if limit.bound == "at_most" else value == limit.value
