"""How is a Plan carried out? One action at a time per node, several nodes at once.

Each edit reads the Node afresh and is applied only if what the decision rests on is still so;
otherwise that node stops with a conflict and the next cycle decides again. The same holds for
the condition: a node that was reset meanwhile must not be called faulty. Taints come first,
Events and conditions of all nodes after. Leadership is asserted before every effect. A Plan that
takes too long, or is interrupted by ``stop``, is left: what was not done is decided again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.errors import Conflict, HealthError, LeadershipLost, NotFound
from konduktor_health.model import (
    Action,
    EditNode,
    NodeView,
    Plan,
    PublishEvent,
    SetCondition,
)
from konduktor_health.ports import Cluster, NodeFeed
from konduktor_health.runtime.fleet import same_basis
from konduktor_health.runtime.writers import Writers

PLAN_DEADLINE_S = 45.0  # below the standstill that ends the process


@dataclass(slots=True)
class Outcome:
    """What became of a Plan."""

    applied: list[EditNode] = field(default_factory=list)
    conditions: int = 0
    events: int = 0
    conflicts: set[str] = field(default_factory=set)
    failed: dict[str, HealthError] = field(default_factory=dict)
    postponed: set[str] = field(default_factory=set)  # no time was left for them

    @property
    def edited(self) -> frozenset[str]:
        """Nodes whose edit is on the API server, whatever became of Event and condition."""
        return frozenset(action.node for action in self.applied)

    @property
    def unfinished(self) -> frozenset[str]:
        """Nodes that have to be decided again."""
        return frozenset(self.conflicts) | frozenset(self.failed) | frozenset(self.postponed)


class Applier:
    """Carries out Plans against a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        feed: NodeFeed,
        *,
        clock: Clock,
        stop: threading.Event | None = None,
        on_write: Callable[[NodeView], None] = lambda _view: None,
        on_edit: Callable[[EditNode], None] = lambda _action: None,
        assert_leader: Callable[[], None] = lambda: None,
        writers: int = 8,
    ) -> None:
        """``on_write``: a Node as our write left it; ``on_edit``: an edit that was applied. Both
        are called from several threads, and must not block."""
        self._cluster = cluster
        self._feed = feed
        self._clock = clock
        self._stop = stop or threading.Event()
        self._on_write = on_write
        self.on_edit = on_edit
        self._assert_leader = assert_leader
        self._writers = Writers(writers)

    def close(self) -> None:
        """No new writes start; one that hangs is not waited for."""
        self._writers.close()

    def apply(self, plan: Plan) -> Outcome:
        """Carry out a Plan. Raises LeadershipLost; other errors stop only their node."""
        work = _Work(self, plan)
        self._run(work, work.edits)
        followers = {
            name: actions
            for name, actions in work.followers.items()
            if name not in work.outcome.unfinished
        }
        self._run(work, followers)
        return work.outcome

    def _run(self, work: _Work, actions: dict[str, list[Action]]) -> None:
        work.done = set()
        ends_s = self._clock.monotonic() + PLAN_DEADLINE_S
        self._writers.run(
            [partial(work.carry_out, name, each) for name, each in actions.items()],
            lambda: self._stop.is_set() or self._clock.monotonic() > ends_s,
        )
        work.outcome.postponed |= actions.keys() - work.done

    def edit(self, action: EditNode) -> NodeView:
        """Read afresh, compare, write. Raises Conflict when the Node has changed."""
        self._assert_leader()
        fresh = self._cluster.get_node(action.node)
        if not same_basis(fresh, replace(action.basis, condition=fresh.condition)):
            self._feed.put(fresh)
            raise Conflict(f"node {action.node} has changed since the decision")
        self._assert_leader()
        return self._written(self._cluster.edit_node(fresh, action.edit))

    def set_condition(self, action: SetCondition, basis: NodeView) -> None:
        """Write the condition if the Node is still as decided; heartbeats do not matter."""
        self._assert_leader()
        now_ns = self._clock.now_ns()
        try:
            self._written(self._cluster.set_condition(basis, action.condition, now_ns))
        except Conflict:
            fresh = self._cluster.get_node(action.node)
            self._feed.put(fresh)
            if not same_basis(fresh, replace(basis, condition=fresh.condition)):
                raise
            self._assert_leader()
            self._written(self._cluster.set_condition(fresh, action.condition, now_ns))

    def publish(self, event: PublishEvent) -> None:
        """Create the Event."""
        self._assert_leader()
        self._cluster.publish_event(event, self._clock.now_ns())

    def _written(self, view: NodeView) -> NodeView:
        self._feed.put(view)
        self._on_write(view)
        return view


class _Work:
    """One Plan while it is carried out. Called from several threads, one per node at a time."""

    def __init__(self, applier: Applier, plan: Plan) -> None:
        self._applier = applier
        self._lock = threading.Lock()
        self._views: dict[str, NodeView] = {}  # as our edit left them
        self.outcome = Outcome()
        self.done: set[str] = set()
        self.edits: dict[str, list[Action]] = {}
        self.followers: dict[str, list[Action]] = {}
        for action in plan.actions:
            if isinstance(action, EditNode):
                self.edits.setdefault(action.node, []).append(action)
            elif isinstance(action, PublishEvent | SetCondition):
                self.followers.setdefault(action.node, []).append(action)

    def carry_out(self, node: str, actions: list[Action]) -> None:
        """A node's actions in order. What stops them is noted; leadership lost goes on up."""
        try:
            for action in actions:
                self._one(action)
        except LeadershipLost:
            raise
        except (Conflict, NotFound):
            self.outcome.conflicts.add(node)
        except HealthError as error:
            self.outcome.failed[node] = error
        except Exception as error:  # a bug on one node must not stop the others
            logger.bind(node=node).opt(exception=error).error(f"bug: write failed: {error!r}")
            self.outcome.failed[node] = HealthError(f"bug: {error!r}")
        self.done.add(node)

    def _one(self, action: Action) -> None:
        if isinstance(action, EditNode):
            self._views[action.node] = self._applier.edit(action)
            self.outcome.applied.append(action)
            self._applier.on_edit(action)
        elif isinstance(action, PublishEvent):
            self._applier.publish(action)
            with self._lock:
                self.outcome.events += 1
        elif isinstance(action, SetCondition):
            basis = self._views.get(action.node, action.basis)
            self._applier.set_condition(action, basis)
            with self._lock:
                self.outcome.conditions += 1
