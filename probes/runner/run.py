"""How do the checks of a run become its results?

Invariants: each check that was asked for has at least one result; a check whose process cannot be
ended is ``timeout`` in each run, and is not started again while that process lives; whatever
becomes of one check, the others run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from probes.check import CheckSpec, Outcome
from probes.processes.seen import Processes, ProcessId
from probes.report import Run
from probes.runner.attend import Attendance, Attended, Begun, Broken
from probes.runner.catalog import Catalog
from probes.runner.job import Job
from probes.runner.marks import Mark, end_leftovers
from probes.runner.order import Clock, HostClock, Order, Progress, Ran, RunStopped, options_of
from probes.runner.process import Child
from probes.runner.results import bounded
from probes.runner.stuck import Stuck, StuckProcesses
from probes.runner.tally import Tally

CHOOSE = "probes.backends.choose:choose"
_GOODBYE_S = 2.0  # how long a child that has told its end may take to end


class Runner:
    """Runs one run at a time. ``stop`` and ``stuck`` may be called meanwhile from elsewhere."""

    def __init__(
        self,
        catalog: Catalog,
        stuck: StuckProcesses,
        *,
        boot_id: str,
        root: str = "/",
        environ: Mapping[str, str] = os.environ,
        backend: str = CHOOSE,
        clock: Clock | None = None,
        processes: Processes | None = None,
    ) -> None:
        """``backend``: "module:function", called in the child with (environ, root).

        Raises OSError: /proc is not there.
        """
        self._catalog, self._stuck = catalog, stuck
        self._boot_id, self._root, self._environ = boot_id, root, environ
        self._backend = backend
        self._clock = clock or HostClock()
        self._processes = processes or Processes()
        self._mark = Mark.of_this_process(self._processes)
        self._swept = self._stopped = False
        self._unreaped: list[Child] = []
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def stop(self) -> None:
        """End the run that is going on, and let no other begin. Safe in a signal handler."""
        self._stopped = True
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b".")

    def stuck(self) -> tuple[str, ...]:
        """Checks that are not started, since a process of theirs outlived SIGKILL."""
        return self._stuck.names()

    def close(self) -> None:
        """Nothing can be run any more."""
        self._stopped = True
        self._unreaped = [child for child in self._unreaped if not child.reap()]
        os.close(self._woken)
        os.close(self._wake)

    def run(self, order: Order, progress: Callable[[Progress], None] = lambda _: None) -> Ran:
        """Run the checks of an order. Raises KeyError (no such check), RunStopped.

        The checks' process ends with the thread that calls this.
        """
        known = {spec.name: spec for spec in self._catalog.specs()}
        specs = [known[name] for name in dict.fromkeys(order.checks)]
        self._tidy()
        began_ns = self._clock.wall_ns()
        tally = Tally(self._clock, progress)
        todo = []
        for spec in specs:
            if stuck := self._stuck.of(spec.name):
                tally.begins(spec)
                tally.judged(spec, Outcome.TIMEOUT, _still(stuck))
            else:
                todo.append(spec)
        while todo:
            todo = self._with_one_child(order, todo, tally)
        run = Run(
            run_id=order.run_id,
            cadence=order.cadence,
            reason=order.reason,
            boot_id=self._boot_id,
            began_ns=began_ns,
            ended_ns=max(began_ns, self._clock.wall_ns()),
            results=bounded(tally.results(specs)),
        )
        return Ran(run, tally.keep)

    def _with_one_child(self, order: Order, todo: list[CheckSpec], tally: Tally) -> list[CheckSpec]:
        """Run as many as one child comes to; returns those that are left for the next one."""
        if self._stopped:
            raise RunStopped
        try:
            child = Child(self._job(order, todo), self._environ, self._mark, self._processes)
        except OSError as error:  # no memory, no more processes or files
            for spec in todo:
                why = f"the checks' process cannot be started: {error.strerror}"
                tally.judged(spec, Outcome.ERROR, why)
            return []
        attendance = Attendance(
            child,
            todo,
            monotonic=self._clock.monotonic,
            waker=self._woken,
            stopped=lambda: self._stopped,
        )
        begun: list[CheckSpec] = []
        broken: Broken | None = None
        ended = False
        try:
            for event in attendance.events():
                tally.backend, tally.fake = attendance.backend, attendance.fake
                if isinstance(event, Begun):
                    begun.append(event.spec)
                    tally.begins(event.spec)
                elif isinstance(event, Attended):
                    self._attended(event, tally)
                else:
                    broken = event
            ended = broken is None and not self._stopped and child.wait(_GOODBYE_S)
        finally:
            left = () if ended else self._end(child, (begun or todo)[-1])
            child.close()
        if self._stopped:
            raise RunStopped
        if broken is not None:
            if not begun:  # neither will the next child do better
                for spec in todo:
                    tally.judged(spec, Outcome.ERROR, broken.why)
                return []
            if broken.check is not None:
                self._broke(broken, broken.check, left, tally)
        return todo[len(begun) :]

    def _attended(self, attended: Attended, tally: Tally) -> None:
        spec = attended.spec
        if not attended.left:
            tally.ended(attended)
            return
        self._stuck.add(spec.name, attended.left, self._clock.wall_ns())
        tally.broke(attended, Outcome.TIMEOUT, _unending(attended.left))

    def _broke(
        self, broken: Broken, check: Attended, left: tuple[ProcessId, ...], tally: Tally
    ) -> None:
        if left:
            tally.broke(check, Outcome.TIMEOUT, f"{broken.why}; {_unending(left)}")
        else:
            tally.broke(check, broken.outcome, broken.why)

    def _end(self, child: Child, spec: CheckSpec) -> tuple[ProcessId, ...]:
        known = {each.process for each in self._stuck.living()}  # of a check before it
        left = tuple(process for process in child.end() if process not in known)
        if left:
            self._stuck.add(spec.name, left, self._clock.wall_ns())
        self._unreaped.append(child)
        return left

    def _tidy(self) -> None:
        """Wait for stuck children that have ended at last; once, end what others left behind."""
        self._unreaped = [child for child in self._unreaped if not child.reap()]
        if not self._swept:
            self._swept = True
            for check, process in end_leftovers(self._processes):
                if check:
                    self._stuck.add(check, [process], self._clock.wall_ns())

    def _job(self, order: Order, todo: list[CheckSpec]) -> Job:
        names = tuple(spec.name for spec in todo)
        return Job(
            checks=names,
            registry=self._catalog.registry,
            backend=self._backend,
            user_checks=self._catalog.user_checks,
            root=self._root,
            boot_id=self._boot_id,
            node=order.node,
            options={name: options_of(name, order.options) for name in names},
            before={name: order.before.get(name, {}) for name in names},
        )


def _still(stuck: Stuck) -> str:
    return (
        f"process {stuck.process.pid} of an earlier run cannot be ended (SIGKILL has no effect: it"
        " waits in the kernel); not started again while it lives"
    )


def _unending(left: tuple[ProcessId, ...] | list[ProcessId]) -> str:
    named = ", ".join(str(process.pid) for process in left[:8])
    return f"SIGKILL does not end process {named}, which waits in the kernel"
