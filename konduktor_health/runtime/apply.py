"""How is a Plan carried out? One action at a time per node, several nodes at once.

Each edit reads the Node afresh and is applied only if what the decision rests on is still so;
otherwise that node stops with a conflict and the next cycle decides again. Taints come first,
Events and conditions of all nodes after. Leadership is asserted before every effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

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

T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What became of a Plan."""

    applied: list[EditNode] = field(default_factory=list)
    conditions: int = 0
    events: int = 0
    conflicts: list[str] = field(default_factory=list)
    failed: dict[str, HealthError] = field(default_factory=dict)

    @property
    def edited(self) -> frozenset[str]:
        """Nodes whose edit is on the API server, whatever became of Event and condition."""
        return frozenset(action.node for action in self.applied)

    @property
    def unfinished(self) -> frozenset[str]:
        """Nodes that have to be decided again."""
        return frozenset(self.conflicts) | frozenset(self.failed)


class Applier:
    """Carries out Plans against a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        feed: NodeFeed,
        *,
        now_ns: Callable[[], int],
        on_write: Callable[[NodeView], None] = lambda _view: None,
        assert_leader: Callable[[], None] = lambda: None,
        writers: int = 8,
    ) -> None:
        self._cluster = cluster
        self._feed = feed
        self._now_ns = now_ns
        self._on_write = on_write
        self._assert_leader = assert_leader
        self._pool = ThreadPoolExecutor(max_workers=writers, thread_name_prefix="writer")

    def close(self) -> None:
        """Let running writes end; no new ones start."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def apply(self, plan: Plan) -> Outcome:
        """Carry out a Plan. Raises LeadershipLost; other errors stop only their node."""
        outcome = Outcome()
        edits = [action for action in plan.actions if isinstance(action, EditNode)]
        self._each(edits, self._edit, outcome)
        followers: dict[str, list[Action]] = {}
        for action in plan.actions:
            follows = isinstance(action, PublishEvent | SetCondition)
            if follows and action.node not in outcome.unfinished:
                followers.setdefault(action.node, []).append(action)
        self._each(list(followers.values()), self._follow, outcome)
        return outcome

    def _each(
        self, items: Iterable[T], effect: Callable[[T, Outcome], None], outcome: Outcome
    ) -> None:
        futures = [self._pool.submit(effect, item, outcome) for item in items]
        lost: LeadershipLost | None = None
        for future in futures:
            try:
                future.result()
            except LeadershipLost as error:
                lost = error
        if lost:
            raise lost

    def _edit(self, action: EditNode, outcome: Outcome) -> None:
        with _Guarded(action.node, outcome):
            self._assert_leader()
            fresh = self._cluster.get_node(action.node)
            if not same_basis(fresh, replace(action.basis, condition=fresh.condition)):
                self._feed.put(fresh)
                raise Conflict(f"node {action.node} has changed since the decision")
            self._assert_leader()
            written = self._cluster.edit_node(fresh, action.edit)
            self._feed.put(written)
            self._on_write(written)
            outcome.applied.append(action)

    def _follow(self, actions: list[Action], outcome: Outcome) -> None:
        with _Guarded(actions[0].node, outcome):
            for action in actions:
                self._assert_leader()
                if isinstance(action, PublishEvent):
                    self._cluster.publish_event(action, self._now_ns())
                    outcome.events += 1
                elif isinstance(action, SetCondition):
                    current = self._current(action.node)
                    self._feed.put(
                        self._cluster.set_condition(current, action.condition, self._now_ns())
                    )
                    outcome.conditions += 1

    def _current(self, name: str) -> NodeView:
        return self._feed.nodes().get(name) or self._cluster.get_node(name)


class _Guarded:
    """Notes what stopped a node; leadership lost goes on up."""

    def __init__(self, node: str, outcome: Outcome) -> None:
        self._node = node
        self._outcome = outcome

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None:
            return False
        if isinstance(error, Conflict | NotFound):
            self._outcome.conflicts.append(self._node)
            return True
        if isinstance(error, LeadershipLost):
            return False
        if isinstance(error, HealthError):
            self._outcome.failed[self._node] = error
            return True
        return False
