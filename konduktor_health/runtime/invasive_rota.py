"""Which healthy nodes are due to be tested by the site's schedule? (``core.invasive_turns``)

What is remembered is of this process alone: which interval of a node is done with, and until when a
node is left whose GPUs were held. Used by one thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from konduktor_health.clock import Clock
from konduktor_health.core.invasive_turns import interval_of, is_well
from konduktor_health.model import Keys, NodeView

LOOK_S = 60.0


class Rota:
    """``interval_s`` 0: nobody is ever due."""

    def __init__(self, keys: Keys, clock: Clock, *, interval_s: float, pause_s: float) -> None:
        """``pause_s``: so long a node is left whose GPUs are in use."""
        self._keys = keys
        self._clock = clock
        self._interval_s = interval_s
        self._pause_s = pause_s
        self._done_with: dict[str, int] = {}  # node UID -> its interval
        self._not_before_s: dict[str, float] = {}  # node -> when it is looked at again
        self._due: frozenset[str] = frozenset()
        self._looked_s = -math.inf

    def due(self, views: Mapping[str, NodeView]) -> frozenset[str]:
        """Names of nodes that are due and well, and are not left for a while."""
        now_s = self._clock.monotonic()
        if not self._interval_s:
            return frozenset()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._due = frozenset(self._find(views))
        return frozenset(
            name
            for name in self._due
            if name in views and now_s >= self._not_before_s.get(name, -math.inf)
        )

    def put_off(self, name: str) -> None:
        """Its GPUs are held."""
        self._not_before_s[name] = self._clock.monotonic() + self._pause_s

    def begun(self, view: NodeView) -> None:
        """Its test has begun: it is due again in its next interval."""
        self._due -= {view.name}
        if self._interval_s:
            now_ns = self._clock.now_ns()
            self._done_with[view.uid] = interval_of(view.uid, now_ns, self._interval_s)

    def _find(self, views: Mapping[str, NodeView]) -> set[str]:
        now_ns = self._clock.now_ns()
        uids = {view.uid for view in views.values()}
        self._done_with = {uid: at for uid, at in self._done_with.items() if uid in uids}
        found = set()
        for name, view in views.items():
            now_in = interval_of(view.uid, now_ns, self._interval_s)
            # of a node that was not known, the interval that has begun is done with
            if self._done_with.setdefault(view.uid, now_in) != now_in and is_well(view, self._keys):
                found.add(name)
        self._not_before_s = {
            name: at_s for name, at_s in self._not_before_s.items() if name in found
        }
        return found
