"""Which nodes are tested by Jobs that take all their GPUs, and when? A thread aside, while we lead.

Each look takes the Jobs that are there and the notes on the Nodes, and has one step taken for each
node (``core.invasive_step``, ``invasive_work``): what has begun comes first, then proof that is
missing the longest, then what the schedule asks for.

Invariants: at most so many nodes are tested at once; the pods of a few nodes only are listed in one
look; while nothing is wanted, noted or due, nothing is asked but, every ten minutes, whether a Job
was left behind. An error stops one node for one look. Memory is bounded by the nodes.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core import invasive
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.invasive_note import Purpose, Stage, parse_note
from konduktor_health.core.invasive_step import ERROR, Look, Pace, Subject, leftover, next_step
from konduktor_health.core.invasive_turns import is_well, most_at_once
from konduktor_health.errors import Conflict, HealthError, LeadershipLost, NotFound
from konduktor_health.job_ports import InvasiveJobs
from konduktor_health.jobs import InvasiveJob
from konduktor_health.model import NodeView, Policy
from konduktor_health.runtime.invasive_requests import InvasiveRequests
from konduktor_health.runtime.invasive_rota import Rota
from konduktor_health.runtime.invasive_work import InvasiveWork

LOOK_S = 5.0
LIST_AGAIN_S = 600.0  # for Jobs that nobody expects
LOOKS = 8  # nodes whose pods are listed in one look
NOT_HEARD = "its agent is not heard, or not believed"
NOT_WELL = "something is open on the node: konduktor-health explain says what it waits for"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many nodes are tested at once, and which checks of the site are of that kind."""

    most_percent: float = 10.0  # of the managed nodes, rounded up
    most: int = 10
    own: frozenset[str] = frozenset()


class InvasiveTests:
    """``changed`` is called by the feed, ``stages`` by the loop, ``ask`` by anybody, all else by
    one thread."""

    def __init__(
        self,
        jobs: InvasiveJobs,
        nodes: Callable[[], Mapping[str, NodeView]],
        work: InvasiveWork,
        policy: Policy,
        *,
        clock: Clock,
        believed: Callable[[str], bool],
        pace: Pace,
        limits: Limits,
        rota: Rota,
    ) -> None:
        """``believed``: the agent of this node is, so that it will tell what a Job delivers."""
        self._jobs = jobs
        self._nodes = nodes
        self._policy = policy
        self._clock = clock
        self._believed = believed
        self._pace = pace
        self._limits = limits
        self._rota = rota
        self._requests = InvasiveRequests(clock, pause_s=pace.busy_most_s)
        self.work = work
        self._lock = threading.Lock()
        self._wanting: set[str] = set()  # nodes with a note, or of which a test is wanted
        self._verified: dict[str, tuple[str, ...]] = {}  # node -> probes that rules verify by
        self._stages: Mapping[str, int] = {}
        self._seen: dict[str, str] = {}  # node -> run of the Job that was there last
        self._said: dict[str, str] = {}
        self._listed_s = -math.inf
        self._turns = 0
        self._changed = False  # the last look changed something: what follows from it is due

    def start(self, stop: threading.Event) -> None:
        """Look in a thread until ``stop`` is set."""
        threading.Thread(target=self._run, args=(stop,), name="invasive", daemon=True).start()

    def use(self, policy: Policy) -> None:
        """Go by this policy from now on."""
        self._policy = policy
        for view in self._nodes().values():
            self.changed(None, view)

    def changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        view = new or old
        if view is None:
            return
        own, wanting, verified = self._limits.own, False, tuple[str, ...]()
        if new is not None:
            ledger = read_ledger(new)[0]
            wanting = self._has_something(new) or bool(invasive.wanted_tests(ledger, own))
            verified = invasive.verifying_tests(new, ledger, self._policy, own)
        with self._lock:
            (self._wanting.add if wanting else self._wanting.discard)(view.name)
            if verified:
                self._verified[view.name] = verified
            elif self._verified.pop(view.name, None):
                self._requests.withdraw(view.name)
        if new is None:
            self._seen.pop(view.name, None)
            self._said.pop(view.name, None)
            self._requests.drop(view.name)

    def ask(self, name: str) -> str:
        """Have a node that is well tested once its GPUs are idle; why not, or "". Of one with
        something open clearing decides: a GPU that awaits its repair would only fail again."""
        view = self._nodes().get(name)
        if view is None:
            return "no node of that name is managed"
        if self._has_something(view):
            return "it is being tested, or waits for it"
        if not is_well(view, self._policy.keys):
            return NOT_WELL
        return self._alone(view) or self._requests.ask(name)

    def stages(self) -> Mapping[str, int]:
        """How many nodes have a note, by what it says."""
        with self._lock:
            return self._stages

    def turn(self) -> int:
        """Look once; returns how many changes were made. Raises HealthError where the Jobs cannot
        be listed, LeadershipLost."""
        views, now_s = self._nodes(), self._clock.monotonic()
        with self._lock:
            verified = dict(self._verified)
        for name in verified:
            self._requests.ask(name)
        due, asked = self._rota.due(views), self._requests.due() & views.keys()
        with self._lock:
            names = {name for name in self._wanting if name in views} | due | asked
        quiet = not (names or self._changed)
        if quiet and now_s - self._listed_s < LIST_AGAIN_S:
            self._tell_stages(())
            return 0
        jobs = self._jobs.jobs()
        self._listed_s = now_s
        changes = sum(self._leave(job) for job in jobs if job.node not in views)
        ours = _by_node(jobs, views)
        subjects = [self._subject(views[name], due, asked) for name in names | ours.keys()]
        for each in subjects:
            if each.node in asked and (each.alone or not each.requested):
                self._requests.put_off(each.node)  # not well by now, or left alone
        self._tell_stages(subjects)
        self._turns += 1
        ordered = sorted(subjects, key=partial(_first, self._turns))
        changes += self._go_through(ordered, views, ours)
        self._changed = changes > 0
        return changes

    # ------------------------------------------------------------ one look

    def _go_through(
        self,
        subjects: list[Subject],
        views: Mapping[str, NodeView],
        jobs: Mapping[str, InvasiveJob],
    ) -> int:
        limits, now_ns = self._limits, self._clock.now_ns()
        room = most_at_once(len(views), limits.most_percent, limits.most)
        room -= sum(map(_is_testing, subjects))
        looks, changes = LOOKS, 0
        for subject in subjects:
            job = jobs.get(subject.node)
            run_id = subject.note.run_id if subject.note is not None else ""
            was_there = bool(run_id) and self._seen.get(subject.node) == run_id
            if job is not None:
                self._seen[subject.node] = job.run_id
            step = next_step(subject, job, self._pace, now_ns, was_there=was_there)
            begins = isinstance(step, Look)
            if begins and (room <= 0 or looks <= 0):
                continue
            looks -= begins
            view = views[subject.node]
            taken = self._carefully(subject.node, partial(self.work.take, view, subject, step))
            if isinstance(taken, NodeView):
                self.changed(view, taken)
                room -= begins and _is_testing(self._subject(taken))
            self._note_begun(step, view, begun=isinstance(taken, NodeView))
            changes += bool(taken)
        return changes

    def _note_begun(self, step: object, view: NodeView, *, begun: bool) -> None:
        """Of what clearing does not ask for nothing stands on the Node until it begins."""
        if not isinstance(step, Look) or step.purpose is Purpose.PROOF:
            return
        if begun:
            self._requests.begun(view.name)
            self._rota.begun(view)
        elif step.purpose is Purpose.REQUEST:
            self._requests.put_off(view.name)
        else:
            self._rota.put_off(view.name)

    def _alone(self, view: NodeView) -> str:
        """Why no test may begin on the node now; "" when one may."""
        alone = invasive.why_left_alone(view, self._policy, self._clock.now_ns())
        return alone or ("" if self._believed(view.name) else NOT_HEARD)

    def _subject(
        self,
        view: NodeView,
        due: frozenset[str] = frozenset(),
        asked: frozenset[str] = frozenset(),
    ) -> Subject:
        own = self._limits.own
        ledger, _ = read_ledger(view)
        with self._lock:
            verifies = self._verified.get(view.name, ())
        note = parse_note(view.testing)
        since_ns = note.since_ns if note is not None else 0
        return Subject(
            node=view.name,
            uid=view.uid,
            note=note,
            wanted=invasive.wanted_tests(ledger, own),
            asks=invasive.still_asks(ledger),
            alone=self._alone(view),
            passed=note is not None and invasive.has_passed_since(ledger, since_ns, own),
            scheduled=view.name in due,
            requested=view.name in asked and (bool(verifies) or is_well(view, self._policy.keys)),
            verifies=verifies,
            untidy=note is None and self._has_something(view),
            since_ns=invasive.since_when(ledger, own),
        )

    def _leave(self, job: InvasiveJob) -> bool:
        """A Job of a node that is gone, or is not ours to look after."""
        if leftover(job) is None:
            return False
        return bool(self._carefully(job.node, partial(self.work.remove, job)))

    def _has_something(self, view: NodeView) -> bool:
        return view.testing is not None or view.label(self._policy.keys.testing) is not None

    def _tell_stages(self, subjects: Iterable[Subject]) -> None:
        stages = Counter(each.note.stage.value for each in subjects if each.note is not None)
        with self._lock:
            self._stages = stages

    def _carefully(self, node: str, work: Callable[[], NodeView | bool]) -> NodeView | bool:
        """An error stops this node until the next look."""
        try:
            done = work()
        except LeadershipLost:
            raise
        except (Conflict, NotFound):
            return False
        except HealthError as error:
            self.work.count(ERROR)
            if self._said.get(node) != str(error):
                self._said[node] = str(error)
                logger.bind(node=node, hint=error.hint).warning(f"test not gone on with: {error}")
            return False
        self._said.pop(node, None)
        return done

    def _run(self, stop: threading.Event) -> None:
        said = ""
        while not self._clock.wait(stop, LOOK_S):
            try:
                self.turn()
                said = ""
            except LeadershipLost:
                return
            except HealthError as error:
                if str(error) != said:
                    logger.bind(hint=error.hint).warning(f"nodes are not tested: {error}")
                said = str(error)
            except Exception as error:  # a bug must not end the testing unseen
                logger.opt(exception=error).error(f"bug: nodes are not tested: {error!r}")


def _by_node(jobs: Iterable[InvasiveJob], views: Mapping[str, NodeView]) -> dict[str, InvasiveJob]:
    """Of each node the Job; where two have had its name, that of the Node before comes first, so
    that it is taken away."""
    found: dict[str, InvasiveJob] = {}
    for job in jobs:
        view = views.get(job.node)
        if view is not None and (job.node not in found or job.node_uid != view.uid):
            found[job.node] = job
    return found


def _is_testing(subject: Subject) -> bool:
    return subject.note is not None and subject.note.stage is Stage.TESTING


def _first(turn: int, subject: Subject) -> tuple[bool, bool, int, int, str]:
    """What has begun, then proof that is missing the longest, then what schedule, rules and people
    ask for: in another order each time, as only a few nodes are looked at in one turn."""
    shuffled = 0 if subject.wanted else zlib.crc32(f"{turn} {subject.node}".encode())
    return (
        not _is_testing(subject),
        not subject.wanted,
        subject.since_ns,
        shuffled,
        subject.node,
    )
