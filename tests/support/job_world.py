"""Jobs that test nodes, in memory: by an API server's rules, and run when a test says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from konduktor_health.adapters.kube.job_manifest import job_name
from konduktor_health.core.invasive_note import Note, parse_note
from konduktor_health.core.invasive_step import Pace
from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.record import Missing, Passes
from konduktor_health.errors import Conflict, LeadershipLost
from konduktor_health.jobs import InvasiveJob, JobState, WantedJob
from konduktor_health.model import NodeView
from konduktor_health.ports import PodOnNode
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.invasive import InvasiveTests, Limits
from konduktor_health.runtime.invasive_rota import Rota
from konduktor_health.runtime.invasive_work import InvasiveWork
from tests.support.builders import BOOT, KEYS, NOW, OUR_TAINT, node, policy
from tests.support.ledgers import record
from tests.support.memory_loki import FakeClock
from tests.support.world import MemoryCluster


class Crash(BaseException):
    """The process ends here."""


class MemoryJobs:
    """``ports.InvasiveJobs``. ``before`` and ``after`` are called around each effect."""

    def __init__(self) -> None:
        self.there: dict[str, InvasiveJob] = {}
        self.made: list[WantedJob] = []
        self.removed: list[InvasiveJob] = []
        self.held: dict[str, tuple[str, ...]] = {}  # node -> pods that hold its GPUs
        self.gpus: dict[str, Mapping[str, int]] = {}
        self.pod_says = ""  # why a Job's pod does not run
        self.last_words = ""
        self.lists = self.pod_lists = 0
        self.before: Callable[[str], None] = lambda _what: None
        self.after: Callable[[str], None] = lambda _what: None
        self._numbers = itertools.count(1)

    def jobs(self) -> tuple[InvasiveJob, ...]:
        self.lists += 1
        return tuple(self.there.values())

    def make(self, wanted: WantedJob) -> None:
        self.before("make")
        name = job_name(wanted.node_uid)
        if name in self.there:
            raise Conflict(name)
        self.made.append(wanted)
        uid = f"job-uid-{next(self._numbers)}"
        self.there[name] = InvasiveJob(name, uid, wanted.node, wanted.node_uid, wanted.run_id)
        self.after("make")

    def remove(self, job: InvasiveJob) -> None:
        self.before("remove")
        known = self.there.get(job.name)
        if known is not None and known.uid == job.uid:
            self.removed.append(self.there.pop(job.name))
        self.after("remove")

    def gpus_of(self, node: str) -> Mapping[str, int]:
        return self.gpus.get(node, {"nvidia.com/gpu": 8})

    def holding_gpus(self, node: str) -> tuple[PodOnNode, ...]:
        self.pod_lists += 1
        names = (each.split("/") for each in self.held.get(node, ()))
        return tuple(PodOnNode(space, name, f"uid-{name}") for space, name in names)

    def why_not_running(self, job: InvasiveJob) -> str:
        return self.pod_says

    def why_failed(self, job: InvasiveJob) -> str:
        return self.last_words

    def becomes(self, node: str, state: JobState, message: str = "") -> None:
        """The Job of a node comes so far."""
        for name, job in self.there.items():
            if job.node == node:
                self.there[name] = replace(job, state=state, message=message)


class JobScene:
    """Nodes in memory, and who has them tested. ``restart``: a new process on the same cluster."""

    def __init__(self, *views: NodeView, **more: Any) -> None:
        self.clock = FakeClock(NOW)
        self.cluster, self.jobs = MemoryCluster(), MemoryJobs()
        self.believed = self.leading = True
        self.more = more
        self.on_edit: Callable[[str], None] = lambda _moment: None
        for view in views:
            self.cluster.put(view)
        self.restart()

    def restart(self) -> None:
        pace = self.more.get("pace", Pace())
        applier = Applier(self.cluster, _Feed(), clock=self.clock, assert_leader=self._assert)  # type: ignore[arg-type]

        def edit(action: Any) -> NodeView:
            self.on_edit("before")
            written = applier.edit(action)
            self.on_edit("after")
            return written

        work = InvasiveWork(
            self.jobs, edit, KEYS, clock=self.clock, pace=pace, assert_leader=self._assert
        )
        interval_s = self.more.get("interval_s", 0.0)
        self.tests = InvasiveTests(
            self.jobs,
            lambda: dict(self.cluster.nodes),
            work,
            self.more.get("policy", policy()),
            clock=self.clock,
            believed=lambda _name: self.believed,
            pace=pace,
            limits=self.more.get("limits", Limits(most_percent=100, most=10)),
            rota=Rota(KEYS, self.clock, interval_s=interval_s, pause_s=pace.busy_most_s),
        )
        for view in self.cluster.nodes.values():
            self.tests.changed(None, view)

    def put(self, view: NodeView) -> None:
        """Somebody else writes the Node; what we have noted on it stays."""
        old = self.cluster.nodes.get(view.name)
        if old is not None:
            view = replace(view, testing=old.testing)
        self.cluster.put(view)
        self.tests.changed(old, view)

    def turn(self, seconds: float = 0.0) -> int:
        self.clock.advance(seconds)
        return self.tests.turn()

    def settle(self) -> None:
        """Looks until nothing is changed any more."""
        for _ in range(20):
            if not self.tests.turn():
                return
        raise AssertionError("the steps do not come to rest")

    def note(self, name: str = "gpu-1") -> Note | None:
        return parse_note(self.cluster.nodes[name].testing)

    def stage(self, name: str = "gpu-1") -> str:
        note = self.note(name)
        return "" if note is None else note.stage.value

    def labelled(self, name: str = "gpu-1") -> bool:
        return self.cluster.nodes[name].label(KEYS.testing) == "true"

    def _assert(self) -> None:
        if not self.leading:
            raise LeadershipLost("somebody else leads")


class _Feed:
    def put(self, view: NodeView) -> None:
        """Views are the cluster's own."""


def proving(
    *missing: str, name: str = "gpu-1", passed_ns: int = 0, since_ns: int = NOW, **fields: Any
) -> NodeView:
    """A node with our taint whose record waits for these."""
    waits = tuple(Missing(what, since_ns) for what in missing)
    passes = (Passes("invasive", 1, passed_ns, passed_ns),) if passed_ns else ()
    one = record(rule="fatal", reached=True, missing=waits, passes=passes)
    ledger = Ledger(
        uid=f"uid-{name}",
        boot_id=BOOT,
        written_ns=NOW,
        since_ns=NOW,
        owned=("NoSchedule",),
        tainted_ns=NOW,
        records=(one,),
    )
    return node(name, **({"ledger": render(ledger), "taints": (OUR_TAINT,)} | fields))
