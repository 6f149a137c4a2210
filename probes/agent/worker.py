"""What does the agent run now?

One run at a time. What was asked for comes first, then the boot checks of a new boot or a newly
loaded driver, then the cadence that is due longest.

Invariants: whatever a run comes to, the next one is tried; a runner that fails is asked again after
a pause, never in a circle; invasive checks wait while something is known to run on a GPU (the
runner asks again whether it does, just before they begin).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from probes.agent.boots import driver_load
from probes.agent.clocks import Clock
from probes.agent.intake import Intake
from probes.agent.log import Log
from probes.agent.memory import Booted, Memory
from probes.agent.requests import Request, Requests
from probes.agent.running import Runner
from probes.agent.schedule import Schedule
from probes.check import Cadence, CheckSpec
from probes.runner.order import Order, RunStopped

#: Longest sleep: how late a newly loaded driver is noticed.
_LOOK_EVERY_S = 5.0
#: Pause after a run that could not be run at all, and between looks whether GPUs have become idle.
RETRY_S = 60.0
#: A run is overdue when it takes longer than all its deadlines and this.
_GRACE_S = 60.0
_BOOT = Cadence.BOOT.value
_INVASIVE = Cadence.INVASIVE.value
REQUESTED = "requested"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the worker is to run, of what this node has."""

    node: str
    boot_id: str
    root: str
    specs: tuple[CheckSpec, ...]
    options: Mapping[str, str] = field(default_factory=dict)  # "ping.count": "3"
    boot_checks: bool = True

    def of(self, cadence: str) -> tuple[str, ...]:
        """Names of the checks of a cadence, in order."""
        return tuple(spec.name for spec in self.specs if spec.cadence.value == cadence)

    def deadline_s(self, checks: Collection[str]) -> float:
        """How long these may take together."""
        return sum(spec.deadline_s + 1 for spec in self.specs if spec.name in checks)


class Worker:
    """Runs in a thread of its own. ``busy`` tells devices on which something runs."""

    def __init__(
        self,
        plan: Plan,
        runner: Runner,
        schedule: Schedule,
        requests: Requests,
        memory: Memory,
        intake: Intake,
        clock: Clock,
        log: Log,
        *,
        busy: Callable[[], Collection[str]],
        stuck: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._plan, self._runner, self._schedule = plan, runner, schedule
        self._requests, self._memory, self._intake = requests, memory, intake
        self._clock, self._log = clock, log
        self._busy, self._stuck = busy, stuck
        self._woken = threading.Event()
        self._stopping = False
        self._boot_retry = clock.monotonic()
        self._overdue = float("inf")
        self._failed = False

    def run(self) -> None:
        """Until ``stop``."""
        while not self._stopping:
            self._woken.clear()
            wait_s = self.step()
            if wait_s > 0 and not self._stopping:
                self._woken.wait(wait_s)

    def step(self) -> float:
        """Run what is due first, if anything is; returns how long nothing is due then, seconds."""
        request = self._requests.take()
        if request is not None:
            self._requested(request)
            return 0.0
        if self._boot_is_due():
            self._boot()
            return 0.0
        if self._run_what_is_due():
            return 0.0
        return min(self._schedule.wait_s(self._clock.monotonic()), _LOOK_EVERY_S)

    def wake(self) -> None:
        """A request was put into the queue. Any thread."""
        self._woken.set()

    def stop(self) -> None:
        """End the run that is going on, and the loop. Any thread."""
        self._stopping = True
        self._runner.stop()
        self._woken.set()

    def trouble(self) -> str:
        """Why no checks are run; "" when all is well. Any thread."""
        if self._clock.monotonic() > self._overdue:
            return "a run has not come to its end"
        return "the last run could not be run" if self._failed else ""

    def stands_still(self) -> bool:
        """Whether only a restart helps. Any thread."""
        return self._clock.monotonic() > self._overdue

    # ------------------------------------------------------------ what is due

    def _requested(self, request: Request) -> None:
        self._carry_out(
            Order(
                run_id=request.run_id,
                checks=request.checks,
                cadence=REQUESTED,
                reason=f"request {request.run_id}",
                options={**self._plan.options, **request.options},
            )
        )

    def _booted(self) -> Booted:
        return Booted(self._plan.boot_id, driver_load(self._plan.root))

    def _boot_is_due(self) -> bool:
        if not self._plan.boot_checks or self._clock.monotonic() < self._boot_retry:
            return False
        before, now = self._memory.booted, self._booted()
        if before is None or before.boot_id != now.boot_id:
            return True
        # While a driver is being exchanged there is none: that is no new one.
        return bool(now.driver) and now.driver != before.driver

    def _boot(self) -> None:
        booted = self._booted()
        checks = self._plan.of(_BOOT)
        if not checks or self._scheduled(_BOOT, checks):
            self._memory.has_booted(booted)
        else:
            self._boot_retry = self._clock.monotonic() + RETRY_S

    def _run_what_is_due(self) -> bool:
        now = self._clock.monotonic()
        for cadence in self._schedule.due(now):
            checks = self._plan.of(cadence)
            if not checks:
                self._schedule.ran(cadence, now)
            elif cadence == _INVASIVE and self._busy():
                self._schedule.postpone(cadence, now + RETRY_S)
            else:
                self._schedule.ran(cadence, now)
                self._scheduled(cadence, checks)
                return True
        return False

    def _scheduled(self, cadence: str, checks: Iterable[str]) -> bool:
        return self._carry_out(
            Order(
                # The time makes it unlike any run of before, also when the state was lost.
                run_id=f"{cadence}-{self._clock.now_ns()}",
                checks=tuple(checks),
                cadence=cadence,
                reason="schedule",
                options=self._plan.options,
            )
        )

    def _carry_out(self, order: Order) -> bool:
        """Run it and take in what came of it. False: it could not be run."""
        checks = tuple(order.checks)
        self._overdue = self._clock.monotonic() + self._plan.deadline_s(checks) + _GRACE_S
        try:
            ran = self._runner.run(
                Order(
                    run_id=order.run_id,
                    checks=checks,
                    cadence=order.cadence,
                    reason=order.reason,
                    node=self._memory.facts(self._plan.node),
                    options=order.options,
                    before=self._memory.before(checks),
                )
            )
        except RunStopped:
            return False
        except Exception as error:  # a bug of a check's runner is no reason to measure no more
            self._failed = True
            self._log.warning(
                "a run could not be run", run=order.run_id, why=f"{type(error).__name__}: {error}"
            )
            return False
        finally:
            self._overdue = float("inf")
        self._failed = False
        self._memory.keep(ran.keep)
        self._intake.put(ran.run, tuple(self._stuck()))
        return True
