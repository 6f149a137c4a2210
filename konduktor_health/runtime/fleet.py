"""How is the fleet now, and which nodes need a decision? Kept up to date by node changes.

The feed's thread reports changes; the loop takes them once a cycle. Work per cycle grows
with what changed, not with the number of nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from loguru import logger

from konduktor_health.core.managed import is_managed, odd_label, opted_out
from konduktor_health.core.reset import needs_reset
from konduktor_health.core.shard import Shard
from konduktor_health.model import FleetView, Keys, NodeView, Policy, Surge
from konduktor_health.runtime.awaiting import Awaiting
from konduktor_health.runtime.census import Census, Repairing
from konduktor_health.runtime.checkpoint import RememberedUids

MAX_OPTED_OUT = 20_000
MAX_ELSEWHERE = 200_000  # names, deleted ones too; beyond, a line is one of an unmanaged node


@dataclass(frozen=True, slots=True)
class Change:
    """A node as it was and as it is (None: not there)."""

    old: NodeView | None
    new: NodeView | None


class Fleet:
    """Counts over the managed nodes and the queue of changed ones. Thread-safe."""

    def __init__(
        self,
        keys: Keys,
        now_ns: Callable[[], int],
        wake: Callable[[], None] = lambda: None,
        shard: Shard | None = None,
        *,
        policy: Policy | None = None,
        in_repair: Repairing = lambda _view: False,
    ) -> None:
        self._keys = keys
        self._now_ns = now_ns
        self._wake = wake
        self._lock = threading.Lock()
        self._changed: dict[str, Change] = {}
        self._taken = False  # somebody has asked for the changes
        self._census = Census(policy or Policy(keys=keys), in_repair)
        self._awaiting = Awaiting(keys)
        self._boots: dict[str, tuple[int, int]] = {}  # changed after, noticed at
        self._opted_out: set[str] = set()
        self._shard = shard or Shard()
        self._elsewhere: set[str] = set()  # names of other shards' nodes
        self._seen_at: dict[str, int] = {}
        self.remembered = RememberedUids()

    def use(self, policy: Policy) -> None:
        """Count by this policy's pools from now on."""
        with self._lock:
            self._census.use(policy)

    def recall(self, hashes: Iterable[str]) -> None:
        """Take up who was managed before this process started."""
        self.remembered.hashes = frozenset(hashes)

    def keep(self, view: NodeView) -> bool:
        """The feed's predicate: managed nodes of our shard are kept, and remembered by UID."""
        if not self._shard.has(view):
            if len(self._elsewhere) < MAX_ELSEWHERE:
                self._elsewhere.add(view.name)
            return False
        self._elsewhere.discard(view.name)
        if opted_out(view):
            if len(self._opted_out) < MAX_OPTED_OUT:
                self._opted_out.add(view.name)
            return False
        self._opted_out.discard(view.name)
        managed = is_managed(view, self._keys, self.remembered)
        if managed:
            self.remembered.add(view.uid)
        return managed

    def manages(self, name: str) -> bool:
        """There is a managed node of this name."""
        with self._lock:
            return name in self._census

    def is_opted_out(self, name: str) -> bool:
        """The node of this name was last seen with the opt-out label."""
        return name in self._opted_out

    def is_elsewhere(self, name: str) -> bool:
        """The node of this name was last seen in another shard."""
        return name in self._elsewhere

    def let_go(self, name: str) -> bool:
        """The node of this name was last seen as one that is not ours to look after."""
        return self.is_opted_out(name) or self.is_elsewhere(name)

    def changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        view = new or old
        if view is None:
            return
        name = view.name
        now_ns = self._now_ns()
        with self._lock:
            if new is not None:
                self._census.put(new)
                self._awaiting.put(new)
            else:
                self._census.drop(name)
                self._awaiting.drop(name)
                self._boots.pop(name, None)
                self._seen_at.pop(name, None)
            if new is not None:
                if old and old.boot_id and new.boot_id and old.boot_id != new.boot_id:
                    self._boots[name] = (self._seen_at.get(name, now_ns), now_ns)
                self._seen_at[name] = now_ns
            if old is not None and (new is None or old.uid != new.uid):
                self.remembered.discard(old.uid)
            needed = self._needs_decision(old, new)
            if new is None and not self._taken:
                self._changed.pop(name, None)  # nobody has heard of it: a standby's
            elif needed:
                first = self._changed.get(name)
                self._changed[name] = Change(first.old if first else old, new)
        if new is not None and odd_label(new) and (old is None or not odd_label(old)):
            shown = (new.managed_label or "")[:64]
            logger.bind(node=name).warning(f"{self._keys.managed}={shown}: only false opts out")
        if needed:
            self._wake()

    def wrote(self, view: NodeView) -> None:
        """Our own write counts at once: the watch delivers it later, budgets must not wait."""
        with self._lock:
            if view.name in self._census:
                self._census.put(view)
                self._awaiting.put(view)

    def take_changes(self) -> dict[str, Change]:
        """Changes since the last call."""
        with self._lock:
            changes, self._changed, self._taken = self._changed, {}, True
        return changes

    def pass_over(self, names: Iterable[str]) -> bool:
        """What has changed of these nodes needs no decision; returns whether other changes do."""
        with self._lock:
            for name in names:
                self._changed.pop(name, None)
            return bool(self._changed)

    def boots(self, names: Iterable[str]) -> dict[str, tuple[int, int]]:
        """For boot changes under our eyes: when the previous boot was last seen, and when we
        noticed that it had ended (Unix ns)."""
        with self._lock:
            return {name: self._boots[name] for name in names if name in self._boots}

    def view(
        self,
        now_ns: int,
        fatal: Mapping[str, Mapping[str, int]],
        surges: tuple[Surge, ...] = (),
    ) -> FleetView:
        """The counts that the core decides with. ``fatal`` and ``surges`` as in FleetView."""
        with self._lock:
            managed, tainted, _ = self._census.totals()
            pools = self._census.pools(now_ns)
            return FleetView(
                managed=managed,
                tainted=tainted,
                taint_times_ns=tuple(
                    sorted(time for counts in pools.values() for time in counts.taint_times_ns)
                ),
                fatal_sightings=fatal,
                pools=pools,
                surges=surges,
                groups=self._census.groups({name for nodes in fatal.values() for name in nodes}),
                drivers=self._census.drivers() if fatal else {},
            )

    def displaceable(self) -> Mapping[str, tuple[str, ...]]:
        """Per pool the nodes that may give their taint up, the weakest proof first."""
        with self._lock:
            return self._census.displaceable()

    def uids(self) -> frozenset[str]:
        """UIDs of the nodes that were managed in this process and still exist."""
        return frozenset(self.remembered.copy())

    def counts(self) -> tuple[int, int, int]:
        """(managed, tainted, adopted) nodes."""
        with self._lock:
            return self._census.totals()

    def awaiting(self) -> Mapping[str, tuple[int, int]]:
        """Of each thing that clearing may wait for: how many nodes with our taint wait for it, and
        since when the first of them does (Unix ns; 0: not known)."""
        with self._lock:
            return self._awaiting.counts()

    def generation(self) -> int:
        """Another number whenever a count of any pool has changed, or how pools are counted."""
        with self._lock:
            return self._census.generation

    def _needs_decision(self, old: NodeView | None, new: NodeView | None) -> bool:
        """Anything that a decision rests on, for nodes that carry something of ours."""
        if new is None:
            return old is not None
        if old is None:
            unwell = new.condition is not None and new.condition.status != "True"
            return needs_reset(new, self._keys) or unwell
        return _basis(old) != _basis(new) or old.labels != new.labels  # rules and pauses read them


def _basis(view: NodeView) -> tuple[object, ...]:
    return (
        view.uid,
        view.taints,
        view.boot_id,
        view.managed_label,
        view.health_label,
        view.ledger,
        view.reset_at,
        view.condition,
        view.hold,
        view.maintenance,
        view.testing,
        view.unschedulable,
    )


def same_basis(one: NodeView, other: NodeView) -> bool:
    """True when a decision about one holds for the other (heartbeats and the like aside)."""
    return _basis(one) == _basis(other)
