"""How is one step of a node's invasive test carried out? On the Node, and with its Job.

Invariants: leadership is asserted before each effect; a step makes one change at most, and a look
or a judgement none but that of the step that follows from it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.invasive_note import Note, Stage, busy, in_words, render_note
from konduktor_health.core.invasive_step import (
    Judge,
    Look,
    Make,
    Pace,
    Remove,
    Step,
    Subject,
    Write,
    after_judging,
    after_look,
)
from konduktor_health.job_ports import InvasiveJobs
from konduktor_health.jobs import InvasiveJob, WantedJob
from konduktor_health.model import EditKind, EditNode, Keys, NodeEdit, NodeView

NO_GPUS = "the Node offers no GPUs to pods"


class InvasiveWork:
    """Carries steps out; ``drain_counts`` may be called from another thread."""

    def __init__(
        self,
        jobs: InvasiveJobs,
        edit: Callable[[EditNode], NodeView],
        keys: Keys,
        *,
        clock: Clock,
        pace: Pace,
        assert_leader: Callable[[], None] = lambda: None,
    ) -> None:
        """``edit``: read afresh, compare, write (``Applier.edit``)."""
        self._jobs = jobs
        self._edit = edit
        self._keys = keys
        self._clock = clock
        self._pace = pace
        self._assert_leader = assert_leader
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def drain_counts(self) -> Counter[str]:
        """What came of tests since the last call (``invasive_step.OUTCOMES``)."""
        with self._lock:
            drained, self._counts = self._counts, Counter()
        return drained

    def count(self, outcome: str) -> None:
        """One more of these."""
        with self._lock:
            self._counts[outcome] += 1

    def take(self, view: NodeView, subject: Subject, step: Step | None) -> NodeView | bool:
        """Take the step: the Node as it is now where it was written, else whether something was
        changed. Raises HealthError."""
        match step:
            case None:
                return False
            case Remove(job):
                return self.remove(job)
            case Look():
                held = self._held(view.name)
                then = after_look(subject, step, held, self._pace, self._clock.now_ns())
                return self.take(view, subject, then)
            case Judge(_, job):
                why = self._judged(view.name, job)
                then = after_judging(step, why, self._pace, self._clock.now_ns())
                return self.take(view, subject, then)
            case Make(note):
                return self._make(view, note)
            case Write():
                return self._write(view, step)

    def remove(self, job: InvasiveJob) -> bool:
        """Delete a Job."""
        self._assert_leader()
        self._jobs.remove(job)
        logger.bind(node=job.node, job=job.name).info("the Job of a test was deleted")
        return True

    def _held(self, node: str) -> str:
        """Why a Job could not begin on the node now; "" when it could."""
        pods = self._jobs.holding_gpus(node)
        if pods:
            return busy(f"{pod.namespace}/{pod.name}" for pod in pods)
        return "" if self._jobs.gpus_of(node) else NO_GPUS

    def _judged(self, node: str, job: InvasiveJob) -> str:
        """Why the Job's pod does not run; "" where it does."""
        why = self._jobs.why_not_running(job)
        pods = self._jobs.holding_gpus(node) if why else ()
        return busy(f"{pod.namespace}/{pod.name}" for pod in pods) if pods else why

    def _make(self, view: NodeView, note: Note) -> bool:
        gpus = self._jobs.gpus_of(view.name)
        if not gpus:
            return False  # looked at again, until the test is given up
        self._assert_leader()
        self._jobs.make(WantedJob(view.name, view.uid, note.run_id, note.probes, gpus))
        logger.bind(node=view.name, run=note.run_id).info(
            f"a Job on {sum(gpus.values())} GPUs tests the node: {', '.join(note.probes)}"
        )
        return True

    def _write(self, view: NodeView, step: Write) -> NodeView:
        note = step.note
        if note is not None and step.failed is not None:
            said = self._jobs.why_failed(step.failed)
            note = replace(note, why=said) if said else note
        testing = note is not None and note.stage is Stage.TESTING
        edit = NodeEdit(
            annotations={self._keys.testing: None if note is None else render_note(note)},
            labels={self._keys.testing: "true" if testing else None},
        )
        words = "no invasive test" if note is None else f"invasive test: {in_words(note)}"
        written = self._edit(EditNode(view.name, view, edit, EditKind.TESTING, words))
        self.count(step.outcome)
        logger.bind(node=view.name, outcome=step.outcome).info(words)
        return written
