"""The control loop: observe, decode, fold, decide, apply, publish. Level-triggered.

A cycle derives everything from the Node objects and the sightings not on them yet, so a
crash at any point loses nothing and the next cycle derives the same answer. An unexpected
exception is reported as a bug and the loop backs off; it never ends silently.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.decide import decide
from konduktor_health.errors import HealthError, LeadershipLost
from konduktor_health.model import Plan, Policy, Snapshot
from konduktor_health.ports import NodeFeed
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.apply import Applier, Outcome
from konduktor_health.runtime.checkpoint import Checkpoint
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.report import Report
from konduktor_health.runtime.sources import Delivery, Sources

BACK_OFF_S = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0)


@dataclass(slots=True)
class Loop:
    """One controller's cycles. Everything that varies is an argument."""

    sources: Sources
    feed: NodeFeed
    fleet: Fleet
    observer: Observer
    applier: Applier | None  # None: dry run
    checkpoint: Checkpoint | None  # None: nothing is stored
    report: Report
    policy: Policy
    clock: Clock
    wake: threading.Event
    agenda: Agenda
    turned_at: float | None = None  # monotonic time of the last cycle

    def alive(self, standstill_s: float) -> bool:
        """False when the loop has started and not turned for so long."""
        turned_at = self.turned_at
        return turned_at is None or self.clock.monotonic() - turned_at < standstill_s

    def run(self, stop: threading.Event) -> None:
        """Cycle until ``stop`` is set. Raises LeadershipLost."""
        failures = 0
        while not stop.is_set():
            self.wake.clear()
            try:
                self.cycle(self.sources.take())
                failures = 0
            except LeadershipLost:
                raise
            except Exception as error:  # a bug must not end the loop unseen
                logger.error(f"{error}" if isinstance(error, HealthError) else f"bug: {error!r}")
                self.report.cycle_failed()
                self.clock.wait(stop, BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
                failures += 1
            self.clock.wait(self.wake, self.agenda.seconds_until_due(self.clock.now_ns()))

    def cycle(self, deliveries: Iterable[Delivery]) -> Plan:
        """One cycle over what was delivered and what has changed; returns what was decided."""
        started = self.turned_at = self.clock.monotonic()
        changed = self.fleet.take_changes()
        self.observer.follow(changed)
        names = changed.keys() | self.agenda.due(self.clock.now_ns(), bool(changed))
        for delivery in deliveries:
            names |= self.observer.take(delivery.poll.entries)
            self.report.source(delivery.poll.status)
            if self.checkpoint:
                self.checkpoint.update(delivery.source, delivery.checkpoint)
        self.agenda.postpone(names)  # kept until the Plan has been carried out
        if not self.feed.synced():
            return Plan()
        plan = self._decide(names)
        outcome = self.applier.apply(plan) if self.applier else Outcome()
        self.observer.settle(plan.settled - (outcome.unfinished - outcome.edited))
        self.agenda.note(plan, outcome.unfinished, self.clock.now_ns())
        self.report.plan(plan, outcome, dry_run=self.applier is None)
        if self.checkpoint:
            self.checkpoint.write_if_due(self.observer.oldest_pending_ns(), self.fleet.remembered)
        self.report.cycle(self.clock.monotonic() - started, self.observer, self.fleet)
        return plan

    def _decide(self, names: Iterable[str]) -> Plan:
        known = self.feed.nodes()
        nodes = {name: known[name] for name in names if name in known}
        if not nodes:
            return Plan()
        now_ns = self.clock.now_ns()
        fleet = self.fleet.view(now_ns, self.observer.fatal_sightings(now_ns))
        sightings = self.observer.sightings(nodes)
        snapshot = Snapshot(nodes, sightings, fleet, self.fleet.boot_changed_ns())
        return decide(snapshot, self.policy, now_ns)
