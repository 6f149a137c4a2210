"""What is known of each node's agent? Small for a healthy node: thousands are kept.

Results are kept only of nodes that are watched closely: proof is asked for once there is a fault,
and the agent still has its newest runs then. Memory over all nodes is bounded; what is let go is
read again when the agent is asked next.

Invariants:
- A run is taken up once, by its id, whatever else its report says again.
- Of a run all results are kept, or none.
- What was never measured, or not for long, is said (``AgentState``); it is never a result.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from konduktor_health.adapters.probes import reading
from konduktor_health.agents import AgentStanding, AgentState
from konduktor_health.model import Diagnosis, Fault, ProbeResult, Remedy, Severity
from konduktor_health.ports import MOST_PROBE_RESULTS
from konduktor_health.treatment import UNRESPONSIVE
from parsers.fault import Trust
from parsers.printable import printable
from probes.report import Report, Run

#: A check that could not be measured so many times in a row is told,
UNMEASURED = 5
#: and again each time that it has gone on for so many runs: hourly where it runs each minute.
UNMEASURED_AGAIN = 60
MOST_FAULTS = 256  # of one report, the newest: one agent must not crowd out what others have found
MOST_KEPT = 200_000  # results over all nodes, about 40 MB
_MOST_CHECKS = 256  # of one node whose failures to measure are counted


@dataclass(slots=True)
class Known:
    """What is known of one node's agent. Times: ``_s`` monotonic, ``_ns`` wall clock."""

    state: AgentState = AgentState.NEW
    since_ns: int = 0
    message: str = ""
    failures: int = 0  # times in a row that it was not reached
    etag: str = ""
    runs: frozenset[str] = frozenset()  # ids of the runs of its last report
    looked: bool = False  # a report of it was taken up before
    ran_s: float = 0.0  # when a run was seen that was not known,
    ran_ns: int = 0  # by both clocks
    unmeasured: dict[str, int] = field(default_factory=dict)  # check -> runs in a row
    settings: str = ""  # digest of the settings that it has
    diagnoses: tuple[Diagnosis, ...] = ()  # what DCGM's levels came to

    def standing(self) -> AgentStanding:
        """As the port tells it."""
        often = sorted(each for each in self.unmeasured.items() if each[1] >= UNMEASURED)
        return AgentStanding(self.state, self.since_ns, self.message, tuple(often[:16]))

    def becomes(self, state: AgentState, message: str, now_ns: int) -> bool:
        """Take up a state; True where it is another one."""
        changed = state is not self.state
        if changed:
            self.since_ns = now_ns
        self.state, self.message = state, message
        return changed


@dataclass(frozen=True, slots=True)
class Taken:
    """What one report brought."""

    news: bool  # results that were not known
    faults: tuple[Fault, ...] = ()
    runs: tuple[Run, ...] = ()  # that were not known


class Results:
    """The results of the nodes that are watched closely. Not thread-safe."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._of: OrderedDict[str, tuple[ProbeResult, ...]] = OrderedDict()
        self.kept = 0

    def of(self, name: str) -> tuple[ProbeResult, ...]:
        """The newest results of a node, in time order."""
        return self._of.get(name, ())

    def put(self, name: str, report: Report, *, accept_fake: bool) -> None:
        """The newest whole runs of a report, as many as there is room for."""
        runs: list[tuple[ProbeResult, ...]] = []
        size = 0
        for run in reversed(report.runs):
            if runs and size + len(run.results) > MOST_PROBE_RESULTS:
                break
            runs.append(reading.results_of(run, report.boot_id, accept_fake=accept_fake))
            size += len(run.results)
        self.drop(name)
        found = sorted((each for run in runs for each in run), key=lambda each: each.time_ns)
        self._of[name] = tuple(found)
        self.kept += size

    def drop(self, name: str) -> None:
        """Keep nothing of this node."""
        self.kept -= len(self._of.pop(name, ()))

    def let_go(self, but: str) -> list[str]:
        """Drop those that were told longest ago, until the rest fits; returns whose."""
        gone = []
        while self.kept > self._most:
            name = next(iter(self._of))
            if name == but:
                break
            self.drop(name)
            gone.append(name)
        return gone


def take_up(
    known: Known,
    name: str,
    report: Report,
    now: tuple[float, int],
    counts: Counter[str],
    *,
    accept_fake: bool,
) -> Taken:
    """Take up the runs of a report that are not known yet. ``now``: monotonic seconds and Unix ns.
    ``counts``: results by outcome."""
    fresh = [run for run in _once(report.runs) if run.run_id not in known.runs]
    first, known.looked = not known.looked, True
    known.runs = frozenset(run.run_id for run in report.runs)
    if fresh or first:
        known.ran_s, known.ran_ns = now
    if not fresh:
        return Taken(news=False)
    find = reading.standing_failures if first else reading.failures
    failed = find(fresh, accept_fake=accept_fake)
    faults = [reading.fault_of(name, run, each, report.boot_id) for run, each in failed]
    for run in fresh:
        for each in run.results:
            counts[each.outcome] += 1
        if not first:
            faults += _unresponsive(known, name, run, report.boot_id)
    return Taken(news=True, faults=tuple(faults[-MOST_FAULTS:]), runs=tuple(fresh))


def _once(runs: Sequence[Run]) -> list[Run]:
    return list({run.run_id: run for run in runs}.values())


def _unresponsive(known: Known, name: str, run: Run, boot_id: str) -> list[Fault]:
    """Count what could not be measured, and tell what goes on."""
    found = []
    for check, failed in reading.unmeasured(run).items():
        if not failed:
            known.unmeasured.pop(check, None)
        elif check in known.unmeasured or len(known.unmeasured) < _MOST_CHECKS:
            times = known.unmeasured[check] = known.unmeasured.get(check, 0) + 1
            if times == UNMEASURED or times % UNMEASURED_AGAIN == 0:
                found.append(_not_measured(name, run, check, times, boot_id))
    return found


def _not_measured(name: str, run: Run, check: str, times: int, boot_id: str) -> Fault:
    """It accuses nobody (severity unknown): the tool, the driver or the agent may be the reason."""
    said = next(
        (
            f"{each.outcome}: {each.message}"
            for each in run.results
            if each.check == check and each.outcome in ("error", "timeout")
        ),
        "",
    )
    return Fault(
        fault_id=UNRESPONSIVE,
        severity=Severity.UNKNOWN,
        remedy=Remedy.NONE,
        node=name,
        time_ns=run.ended_ns,
        event_ns=run.ended_ns,
        boot_id=run.boot_id or boot_id,
        identity=f"{run.run_id}/{check}/unmeasured",
        source=reading.SOURCE,
        trust=Trust.PROBE,
        text=printable(f"check {check} was not measured {times} times in a row: {said}", 512),
        detail={"process": check},
    )
