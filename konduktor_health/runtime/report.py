"""What do the log, the metrics and readiness say about the loop's work?

Transitions are logged once, steady states are not: a hold or a source's trouble appears when
it begins and when it changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from loguru import logger

from konduktor_health.model import EditNode, Hold, HoldReason, Plan, Surge
from konduktor_health.ports import SourceStatus
from konduktor_health.runtime.agent_report import AgentReport
from konduktor_health.runtime.apply import Outcome
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.metrics import MAX_CHECKS, MAX_FAULT_IDS, Metrics
from konduktor_health.runtime.observe import Observer
from konduktor_health.timestamps import NS
from konduktor_health.treatment import PROBE_FAULT

MAX_KNOWN_HOLDS = 50_000
MOST_GONE = 100  # texts about nodes that are gone, beside those about nodes that are there


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the controller is not ready: one message and what to do about it."""

    message: str
    hint: str = ""


class Report:
    """Takes what the loop did. Readiness may be read from another thread."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        emit: Callable[[str], None] | None = None,
        optional: Container[str] = frozenset(),
        pods: Container[str] = frozenset(),
        agents: AgentReport | None = None,
    ) -> None:
        self.metrics = metrics
        self._agents = agents
        self._pods = pods
        self._optional = optional
        self._emit = emit
        self._lock = threading.Lock()
        self._sources: dict[str, SourceStatus] = {}
        self._holds: dict[str, frozenset[HoldReason]] = {}
        self._failures: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._surges: set[tuple[str, str]] = set()
        self._fault_ids: set[str] = set()
        self._checks = 0
        self._unknown_shown: set[str] = set()
        self._prune_at = MOST_GONE

    def troubles(self) -> list[Trouble]:
        """Sources that are not read; empty when all are.

        An optional source is a trouble only while no kernel source is read.
        """
        with self._lock:
            bad = [status for status in self._sources.values() if not status.ok]
            read = [status.name for status in self._sources.values() if status.ok]
        some_read = any(name not in self._pods for name in read)
        return [
            Trouble(f"source {status.name}: {status.message}", status.hint)
            for status in bad
            if not (some_read and status.name in self._optional)
        ]

    def sources(self) -> dict[str, SourceStatus]:
        """The newest status of each source."""
        with self._lock:
            return dict(self._sources)

    def source(self, status: SourceStatus) -> None:
        """A source was polled."""
        if not status.name:
            return
        with self._lock:
            before = self._sources.get(status.name)
            self._sources[status.name] = status
        told = before is not None and before.message == status.message
        if status.message and not told:
            level = "INFO" if status.ok else "WARNING"
            logger.bind(source=status.name, hint=status.hint).log(level, status.message)
        elif status.ok and before is not None and not before.ok:
            logger.bind(source=status.name).info("source is read again")
        label = status.name
        self.metrics.source_ok.labels(label).set(status.ok)
        self.metrics.source_lag.labels(label).set(status.newest_ns / NS)
        if status.lag_s is not None:
            self.metrics.lag.labels(label).set(status.lag_s)
        self.metrics.source_gaps.labels(label).set(len(status.gaps))
        self.metrics.source_bytes.labels(label).set(status.bytes_per_minute)

    def plan(self, plan: Plan, outcome: Outcome, *, dry_run: bool) -> None:
        """A Plan was carried out (or, in a dry run, only shown)."""
        holds: dict[str, list[Hold]] = {}
        for action in plan.actions:
            if isinstance(action, Hold):
                holds.setdefault(action.node, []).append(action)
        for name in plan.settled - holds.keys():
            self._holds.pop(name, None)
        for name, held in holds.items():
            self._hold(name, held)
        done = [a for a in plan.actions if isinstance(a, EditNode)] if dry_run else outcome.applied
        for edit in done:
            self._say(edit, dry_run)
            self.metrics.edits.labels(edit.kind.value).inc()
        self.metrics.conflicts.inc(len(outcome.conflicts))
        self.metrics.write_errors.inc(len(outcome.failed))
        self.metrics.events.inc(outcome.events)
        self.metrics.conditions.inc(outcome.conditions)
        self._failed(outcome)

    def surges(self, surges: Iterable[Surge]) -> None:
        """The mass events there are; the log tells of each where it is found."""
        holding = {
            (self._label(each.fault_id), each.scope.value)
            for each in surges
            if not each.released_ns
        }
        for fault_id, scope in holding | self._surges:
            self.metrics.surge.labels(fault_id, scope).set((fault_id, scope) in holding)
        self._surges = holding

    def cycle(self, seconds: float, observer: Observer, fleet: Fleet) -> None:
        """A cycle has ended."""
        metrics = self.metrics
        metrics.cycles.labels("ok").inc()
        metrics.cycle_seconds.observe(seconds)
        managed, tainted, adopted = fleet.counts()
        metrics.managed.set(managed)
        metrics.tainted.set(tainted)
        metrics.adopted.set(adopted)
        for what, (nodes, since_ns) in fleet.awaiting().items():
            metrics.awaiting.labels(what).set(nodes)
            metrics.awaiting_since.labels(what).set(since_ns / NS)
        metrics.pending.set(observer.pending_nodes())
        metrics.unknown_lines.set(observer.unknown_lines)
        metrics.unmanaged.set(observer.unmanaged_faults)
        metrics.missed.set(observer.missed_records)
        metrics.undecodable.set(observer.undecodable)
        if observer.observation is not None:
            metrics.observed.set(observer.observation.observed_nodes)
            metrics.unobserved.set(observer.observation.silent_nodes)
        if self._agents is not None:
            self._agents.cycle()
        self._forget_the_gone(fleet)
        self._count_faults(observer)
        for peer, lines in observer.drain_accusations().items():
            metrics.accusations.labels(peer).inc(lines)
        for kind, found in observer.drain_relations().items():
            metrics.relations.labels(kind).inc(found)
        if len(observer.unknown_names) > len(self._unknown_shown):
            for name in observer.unknown_names.keys() - self._unknown_shown:
                self._unknown_shown.add(name)
                logger.bind(name=name[:253]).warning("log lines from a name that is no Node")

    def cycle_failed(self) -> None:
        """A cycle ended in an error."""
        self.metrics.cycles.labels("failed").inc()

    def _forget_the_gone(self, fleet: Fleet) -> None:
        """Nodes come and go. They are looked for each time that what is kept has doubled."""
        if len(self._holds) + len(self._failures) + len(self._said) <= self._prune_at:
            return
        for known in (self._holds, self._failures, self._said):
            for key in [key for key in known if not fleet.manages(key.rpartition(" ")[2])]:
                del known[key]
        left = len(self._holds) + len(self._failures) + len(self._said)
        self._prune_at = 2 * left + MOST_GONE

    def _hold(self, name: str, holds: list[Hold]) -> None:
        """Say what has not been said: a node may be held for several reasons at a time."""
        known = self._holds.get(name, frozenset())
        for hold in holds:
            if hold.reason in known:
                continue
            self.metrics.holds.labels(hold.reason.value).inc()
            self._print(f"hold {name}: {hold.reason.value}: {hold.message}", hold.evidence)
            if hold.reason is not HoldReason.REPEAT:
                logger.bind(node=name, reason=hold.reason.value).info(f"held: {hold.message}")
        if len(self._holds) < MAX_KNOWN_HOLDS or name in self._holds:
            self._holds[name] = frozenset(hold.reason for hold in holds)

    def _failed(self, outcome: Outcome) -> None:
        """A write that keeps failing is told once, and again when the reason changes."""
        for action in outcome.applied:
            self._failures.pop(action.node, None)
        for name, error in outcome.failed.items():
            if self._failures.get(name) == str(error):
                continue
            if len(self._failures) < MAX_KNOWN_HOLDS or name in self._failures:
                self._failures[name] = str(error)
            logger.bind(node=name, hint=error.hint).warning(f"write failed: {error}")

    def _say(self, edit: EditNode, dry_run: bool) -> None:
        self._print(f"{edit.kind.value} {edit.node}: {edit.message}", edit.evidence)
        verb = "would edit" if dry_run else "edited"
        logger.bind(node=edit.node, kind=edit.kind.value, evidence=list(edit.evidence)).info(
            f"{verb}: {edit.message}"
        )

    def _print(self, line: str, evidence: tuple[str, ...]) -> None:
        if self._emit is None:
            return
        node = line.split(":", 1)[0]
        text = "\n    ".join([line, *evidence])
        if self._said.get(node) != text:
            self._said[node] = text
            self._emit(text)

    def _count_faults(self, observer: Observer) -> None:
        for (fault_id, severity, source), count in observer.drain_faults().items():
            self.metrics.faults.labels(self._label(fault_id), severity, source).inc(count)

    def _label(self, fault_id: str) -> str:
        """Codes come from log lines: bound how many become labels."""
        if fault_id in self._fault_ids:
            return fault_id
        if len(self._fault_ids) >= MAX_FAULT_IDS:
            return "other"
        if fault_id.startswith(PROBE_FAULT):  # names of checks come from agents
            if self._checks >= MAX_CHECKS:
                return "other"
            self._checks += 1
        self._fault_ids.add(fault_id)
        return fault_id
