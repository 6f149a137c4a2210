"""What do the Nodes look like in the past that is played? A cluster in memory.

Edits are applied as the API server applies them, and told to the fleet as the watch would tell
them: the loop sees its own writes once more, and decides again on what is there, but for nodes of
which the Plan says that nothing would come of it. A node that lines name is a managed node from
then on, unless a list of nodes says which there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from konduktor_health.adapters.kube.names import NameIndex
from konduktor_health.frozen import replace
from konduktor_health.model import (
    Condition,
    EditNode,
    Keys,
    NodeEdit,
    NodeView,
    Plan,
    Policy,
    PublishEvent,
    SetCondition,
)
from konduktor_health.runtime.apply import Outcome
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.replay.past_clock import PastClock


@dataclass(frozen=True, slots=True)
class Inventory:
    """The nodes that are known before any line is."""

    views: tuple[NodeView, ...] = ()  # as they are at the start of the past
    only: bool = False  # there are no others: lines of other names are of no Node
    size: int = 0  # so many there are at least; those that no line names stay well


@dataclass(slots=True)
class PastFleet:
    """The fleet with a clock that can be held back: when a node was last seen in a boot is told by
    its last line of that boot, not by when the next boot was noticed."""

    keys: Keys
    clock: PastClock
    policy: Policy | None = None  # whose pools are counted; default: one pool
    _at_ns: int | None = None
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Fleet(self.keys, self._now_ns, policy=self.policy)

    def seen(self, view: NodeView, time_ns: int) -> None:
        """The node was as it is at this time."""
        self._at_ns = time_ns
        try:
            self.fleet.changed(view, view)
        finally:
            self._at_ns = None

    def _now_ns(self) -> int:
        return self.clock.now_ns() if self._at_ns is None else self._at_ns


class PastNodes:
    """``NodeFeed`` and applier of one policy. Used by one thread."""

    def __init__(
        self,
        keys: Keys,
        clock: PastClock,
        inventory: Inventory,
        *,
        policy: Policy | None = None,
    ) -> None:
        self._keys = keys
        self._past = PastFleet(keys, clock, policy)
        self.fleet = self._past.fleet
        self._only = inventory.only
        self._views: dict[str, NodeView] = {}
        self._index = NameIndex()
        self._version = 0
        self.restless = False  # something was changed that the loop has not seen
        self.wrote = False  # the last Plan that was applied changed something
        for view in inventory.views:
            self._index.put(view.name, view.aliases)
            if self.fleet.keep(view):
                self._store(None, view)
        self._spare = [f"(never named) {n}" for n in range(inventory.size - len(self._views))]
        for name in self._spare:
            self._store(None, NodeView(name, f"uid {name}", "0", selected=True))

    def meet(self, name: str) -> str | None:
        """The node that a line's name means, as ``resolve``; made where it may be a new one."""
        known = self.resolve(name)
        if known is not None or self._only or not name:
            return known
        if self._spare:
            spare = self._views.pop(self._spare.pop())
            self.fleet.changed(spare, None)
        self._index.put(name, ())
        self._store(None, NodeView(name, f"uid {name}", "0", selected=True))
        return name

    def boot(self, name: str, boot_id: str, before_seen_ns: int) -> None:
        """The node reports another boot from now on; the one before was last seen then (0: none
        was)."""
        view = self._views.get(name)
        if view is None:
            return
        if before_seen_ns:
            self._past.seen(view, before_seen_ns)
        self._store(view, replace(view, boot_id=boot_id, resource_version=self._next_version()))

    def edit(self, name: str, edit: NodeEdit) -> None:
        """Somebody changes a Node: an operator that is assumed, or the loop."""
        view = self._views[name]
        self._store(view, edited(view, edit, self._keys, self._next_version()))

    def say(self, name: str, condition: Condition) -> None:
        """Somebody writes our condition."""
        view = self._views[name]
        self._store(view, self._saying(view, condition))

    def apply(self, plan: Plan) -> Outcome:
        """Carry out a Plan. Nothing conflicts and nothing fails, and nobody else writes: where no
        count of the fleet has changed, nodes at rest are as the next decision would leave them."""
        outcome = Outcome()
        restless, self.restless = self.restless, False
        generation = self.fleet.generation()
        became: dict[str, NodeView] = {}  # what a node's actions make of it is told at once
        for action in plan.actions:
            if isinstance(action, EditNode):
                view = became.get(action.node) or self._views[action.node]
                became[action.node] = edited(view, action.edit, self._keys, self._next_version())
                outcome.applied.append(action)
            elif isinstance(action, SetCondition):
                view = became.get(action.node) or self._views[action.node]
                became[action.node] = self._saying(view, action.condition)
                outcome.conditions += 1
            elif isinstance(action, PublishEvent):
                outcome.events += 1
        for name, view in became.items():
            self._store(self._views[name], view)
        self.wrote = self.restless
        if self.wrote and self.fleet.generation() == generation:
            self.restless = self.fleet.pass_over(plan.at_rest)
        self.restless = self.restless or restless
        return outcome

    def _saying(self, view: NodeView, condition: Condition) -> NodeView:
        return replace(view, condition=condition, resource_version=self._next_version())

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _store(self, old: NodeView | None, new: NodeView) -> None:
        self._views[new.name] = new
        self.fleet.keep(new)
        self.fleet.changed(old, new)
        self.restless = True

    # NodeFeed

    def start(self, stop: threading.Event) -> None:
        """Nothing is watched."""
        del stop

    def synced(self) -> bool:
        """All there is is here."""
        return True

    def last_error(self) -> Exception | None:
        """Nothing can fail."""
        return None

    def nodes(self) -> Mapping[str, NodeView]:
        """The managed nodes now."""
        return self._views

    def resolve(self, name: str) -> str | None:
        """Node name for a name in a log; None: unknown."""
        return name if name in self._views else self._index.resolve(name)

    def put(self, view: NodeView) -> None:
        """Take up a view that was written elsewhere."""
        now = replace(view, resource_version=self._next_version())
        self._store(self._views.get(view.name), now)

    def on_change(self, callback: Callable[[NodeView | None, NodeView | None], None]) -> None:
        """The fleet is told directly."""
        raise NotImplementedError


def at_the_start(views: Iterable[NodeView], passing: Container[str]) -> tuple[NodeView, ...]:
    """Nodes of a list as they are taken to have been at the start of the past: names, age, labels
    and GPUs are of the list; what was written on them since, by us or by others, is not known of
    that time, and neither is the boot. ``passing``: labels that say what is done to a node now."""
    return tuple(
        NodeView(
            view.name,
            view.uid or f"uid {view.name}",
            "0",
            created_ns=view.created_ns,
            system_uuid=view.system_uuid,
            aliases=view.aliases,
            gpu_capacity=view.gpu_capacity,
            selected=view.selected,
            managed_label=view.managed_label,
            labels=tuple(pair for pair in view.labels if pair[0] not in passing),
        )
        for view in views
    )


def edited(view: NodeView, edit: NodeEdit, keys: Keys, version: str = "") -> NodeView:
    """The Node once an edit has been applied. ``version``: its resource version then."""
    gone = {(taint.key, taint.effect) for taint in (*edit.remove_taints, *edit.add_taints)}
    taints = tuple(one for one in view.taints if (one.key, one.effect) not in gone)
    notes, labels = edit.annotations, dict(view.labels)
    for key, value in edit.labels.items():
        if value is None:
            labels.pop(key, None)
        else:
            labels[key] = value
    return replace(
        view,
        resource_version=version or view.resource_version,
        taints=taints + edit.add_taints,
        ledger=notes.get(keys.ledger, view.ledger),
        ledger_corrupt=notes.get(keys.ledger_corrupt, "" if view.ledger_corrupt else None)
        is not None,
        reset_at=notes.get(keys.reset_at, view.reset_at),
        hold=notes.get(keys.hold, view.hold),
        maintenance=notes.get(keys.maintenance, view.maintenance),
        labels=tuple(sorted(labels.items())) if edit.labels else view.labels,
        health_label=edit.labels.get(keys.health, view.health_label),
        managed_label=edit.labels.get(keys.managed, view.managed_label),
    )
