"""The control loop: observe, decode, fold, decide, apply, publish. Level-triggered.

A cycle derives everything from the Node objects and the sightings not on them yet, so a
crash at any point loses nothing and the next cycle derives the same answer. An unexpected
exception is reported as a bug and the loop backs off; it never ends silently.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import LeadershipLost
from konduktor_health.model import Plan
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.apply import Outcome
from konduktor_health.runtime.checkpoint import Checkpoint
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.parts import CarriesOut, FollowsPolicy, Tells
from konduktor_health.runtime.situation import Situation
from konduktor_health.runtime.sources import Delivery, Sources

if TYPE_CHECKING:
    from konduktor_health.runtime.watch import FileWatch

BACK_OFF_S = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0)


@dataclass(slots=True)
class Loop:
    """One controller's cycles. Everything that varies is an argument."""

    sources: Sources
    situation: Situation
    fleet: Fleet
    observer: Observer
    applier: CarriesOut | None  # None: dry run
    checkpoint: Checkpoint | None  # None: nothing is stored
    report: Tells
    clock: Clock
    wake: threading.Event
    agenda: Agenda
    files: tuple[FileWatch[Any], ...] = ()  # of the site: rules, policy
    followers: tuple[FollowsPolicy, ...] = ()  # parts that go by the policy too
    not_lost: Callable[[], None] = lambda: None  # raises LeadershipLost once it is lost for good
    turned_at: float | None = None  # monotonic time of the last cycle

    def alive(self, standstill_s: float) -> bool:
        """False when the loop has started and not turned for so long."""
        turned = self.turned_at
        return turned is None or self.clock.monotonic() - turned < standstill_s

    def run(self, stop: threading.Event) -> None:
        """Cycle until ``stop`` is set. Raises LeadershipLost."""
        failures = 0
        while not stop.is_set():
            self.wake.clear()
            try:
                self.cycle(self.sources.in_turn())
                failures = 0
            except LeadershipLost:
                raise
            except Exception as error:  # a bug must not end the loop unseen
                logger.opt(exception=error).error(f"cycle failed: {error!r}")
                self.report.cycle_failed()
                self.clock.wait(stop, BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
                failures += 1
            self.clock.wait(self.wake, self.agenda.seconds_until_due())

    def cycle(self, deliveries: Iterable[Delivery]) -> Plan:
        """One cycle over what was delivered and what has changed; returns what was decided.
        Raises LeadershipLost, even when there is nothing to do: others may have led meanwhile."""
        self.not_lost()
        started = self.turned_at = self.clock.monotonic()
        for file in self.files:
            file.look()
        changed = self.fleet.take_changes()
        self.agenda.add(changed)  # due until the Plan has been carried out, whatever happens
        self.observer.follow(changed)
        for delivery in deliveries:
            self.agenda.add(self.observer.hear(delivery.poll))
            self.report.source(delivery.poll.status)
            if self.checkpoint and delivery.checkpoint is not None:
                self.checkpoint.update(delivery.source, delivery.checkpoint)
        self.agenda.add(self.observer.revisit())
        names = self.agenda.due(
            self.fleet.generation(), self.situation.surges_now(), self.situation.places
        )
        plan, failing = self.situation.decide(names)
        outcome = self.applier.apply(plan) if self.applier else Outcome()
        self.observer.settle(plan.settled - (outcome.unfinished - outcome.edited))
        self.agenda.note(names, plan, outcome.unfinished | failing)
        self.report.plan(plan, outcome, dry_run=self.applier is None)
        self.report.surges(self.situation.surges.now)
        if self.checkpoint:
            self.checkpoint.write_if_due(self.observer.oldest_pending_ns, self.fleet.uids)
        self.report.cycle(self.clock.monotonic() - started, self.observer, self.fleet)
        return plan
