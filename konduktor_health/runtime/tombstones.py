"""Which machines were deleted with open records, and which of them have come back?

Follows the node watch. Invariants: a UUID that several live Nodes share makes no tombstone and
takes none; a node that was opted out, or is another shard's now, leaves none; a watch that finds
all nodes gone, and finds them again, leaves none of those that came back. Thread-safe: the watch
tells, the loop asks.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core import tombstones
from konduktor_health.core.tombstones import MOST, Grave, grave_of, is_settled, kept, machine_of
from konduktor_health.model import NodeView, Tombstone
from konduktor_health.ports import NodeFeed

MOST_SHOWN = 10


class Tombstones:
    """A part of the checkpoint (``Part``), urgent while there is news."""

    def __init__(
        self,
        feed: NodeFeed,
        *,
        clock: Clock,
        let_go: Callable[[str], bool] = lambda _name: False,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``let_go``: a node of this name is there still, and no longer ours to look after."""
        self._feed = feed
        self._clock = clock
        self._let_go = let_go
        self._wake = wake
        self._lock = threading.Lock()
        self._graves: dict[str, Grave] = {}  # by system UUID as 32 digits
        self._alive: Counter[str] = Counter()
        self._due: set[str] = set()
        self._news: deque[str] = deque(maxlen=MOST_SHOWN)
        self._version = self._taken = self._written = 0

    def changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Callback of the feed."""
        with self._lock:
            news = self._follow(old, new)
        if news:
            self._wake()

    def due(self) -> set[str]:
        """Nodes that came back since the last call."""
        with self._lock:
            due, self._due = self._due, set()
        return due

    def of(self, views: Iterable[NodeView]) -> dict[str, Tombstone]:
        """The tombstones of these nodes, by system UUID as the Node has it."""
        with self._lock:
            if not self._graves:
                return {}
            found = ((view, self._stone(view)) for view in views)
            return {view.system_uuid: stone for view, stone in found if stone is not None}

    # ------------------------------------------------------------ as a part of the checkpoint

    def urgent(self) -> bool:
        """A node was deleted, or one came back, since the last write."""
        return self._version != self._written

    def state(self) -> Any:
        """All tombstones (``core.tombstones.to_json``)."""
        with self._lock:
            self._graves = kept(self._graves, self._clock.now_ns())
            self._taken = self._version
            news, found = list(self._news), tombstones.to_json(self._graves)
            self._news.clear()
        if news:
            logger.bind(nodes=news).warning(
                "deleted with open records, remembered by system UUID for 30 days"
            )
        return found

    def saved(self) -> None:
        """What ``state`` gave last has been written."""
        self._written = self._taken

    def restore(self, state: Any) -> None:
        """Take up what another controller stored, beside what this one saw while it stood by."""
        views = list(self._feed.nodes().values())
        with self._lock:
            stored = tombstones.from_json(state)
            self._graves = kept({**stored, **self._graves}, self._clock.now_ns())
            for view in views:
                self._meet(view)

    # ------------------------------------------------------------

    def _follow(self, old: NodeView | None, new: NodeView | None) -> bool:
        before = machine_of(old.system_uuid) if old else ""
        after = machine_of(new.system_uuid) if new else ""
        shared = bool(before) and self._alive[before] > 1
        if before != after or old is None or new is None:
            self._alive[before] -= 1 if before else 0
            self._alive[after] += 1 if after else 0
            if self._alive[before] <= 0:
                del self._alive[before]
        gone = old is not None and (new is None or new.uid != old.uid)
        news = False
        if old is not None and new is None:
            self._due.discard(old.name)
        if old is not None and gone and not shared and not self._let_go(old.name):
            news = self._bury(before, old)
        return (new is not None and self._meet(new)) or news

    def _bury(self, machine: str, view: NodeView) -> bool:
        grave = grave_of(view, self._clock.now_ns())
        if grave is None:
            return False
        self._graves[machine] = grave
        if len(self._graves) > 2 * MOST:  # all nodes at once: bounded, not sorted each time
            self._graves = kept(self._graves, self._clock.now_ns())
        self._version += 1
        self._news.append(view.name)
        return True

    def _meet(self, view: NodeView) -> bool:
        """A node that is there: does a tombstone wait for it, or is it done with?"""
        grave = self._graves.get(machine_of(view.system_uuid)) if self._graves else None
        if grave is None:
            return False
        if is_settled(grave.stone, view):
            del self._graves[machine_of(view.system_uuid)]
            self._version += 1
        elif self._stone(view) is not None:
            self._due.add(view.name)
        return True

    def _stone(self, view: NodeView) -> Tombstone | None:
        machine = machine_of(view.system_uuid)
        grave = self._graves.get(machine)
        if grave is None or self._alive[machine] > 1 or is_settled(grave.stone, view):
            return None
        return grave.stone
