"""Which mass events are there, who has been told, and which did an operator release?

Followed at every cycle, whether a node is due or not: a surge ends by time alone. What began and
what ended is told once (log, metric, one Event on the controller's namespace; no Node is written)
and stored at once, so that a new leader goes on holding. While a surge holds, the request of
`konduktor-health resume` is looked for every LOOK_S.

The request cannot be lost to the leader's own writes: it is an annotation, the leader replaces
only the data of its ConfigMap, and does so at exactly the version it has read. It names the surges
as they are stored, so that it is harmless to read it again (``core.resumed``).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.resumed import parse_request, released, render_surges
from konduktor_health.core.surge import follow, told
from konduktor_health.errors import HealthError, LeadershipLost
from konduktor_health.frozen import replace
from konduktor_health.model import FleetView, Policy, PublishEvent, Scope, Surge

LOOK_S = 3.0
RETRY_S = 5.0
MAX_UNTOLD = 100
STATE_KEY = "surges"

Key = tuple[str, Scope, str]


class SurgeWatch:
    """The surges there are. Used by one thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        tell: Callable[[PublishEvent], None] = lambda _event: None,
        store: Callable[[str, Any, bool], None] = lambda _key, _value, _soon: None,
        asked: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``tell`` publishes an Event; ``store`` keeps a value in the state, True: soon; ``asked``
        reads the operator's request. The first and the last raise errors of the cluster port."""
        self._clock = clock
        self._tell = tell
        self._store = store
        self._asked = asked
        self._untold: deque[PublishEvent] = deque(maxlen=MAX_UNTOLD)
        self._tell_at = 0.0
        self._look_at = 0.0
        self._complaint = ""
        self.now: tuple[Surge, ...] = ()

    def restore(self, stored: Iterable[Surge]) -> None:
        """Take up what an earlier leader has stored."""
        self.now = tuple(stored)

    @property
    def is_quiet(self) -> bool:
        """There are none, and nothing is left to tell."""
        return not self.now and not self._untold

    def holding(self) -> frozenset[Key]:
        """What is held now."""
        return frozenset(each.key for each in self.now if not each.released_ns)

    def follow(self, fleet: FleetView, policy: Policy) -> frozenset[Key]:
        """Bring the surges up to date; returns those that hold. Raises LeadershipLost."""
        before = self.now
        now_ns = self._clock.now_ns()
        self.now = follow(replace(fleet, surges=before), policy, now_ns)
        self._look_for_a_request(now_ns)
        if self.now != before:
            self._take_up(before)
        self._tell_what_is_due()
        return self.holding()

    def _look_for_a_request(self, now_ns: int) -> None:
        now_s = self._clock.monotonic()
        if not self.holding() or now_s < self._look_at:
            return
        self._look_at = now_s + LOOK_S
        try:
            request = parse_request(self._asked())
        except LeadershipLost:
            raise
        except HealthError as error:
            self._complain(f"cannot look for a request to resume: {error}", error.hint)
            return
        self._complaint = ""
        self.now = released(self.now, request, now_ns)

    def _take_up(self, before: tuple[Surge, ...]) -> None:
        was = {each.key: each for each in before}
        are = {each.key: each for each in self.now}
        for key, surge in are.items():
            known = was.get(key)
            if known is None or known.since_ns != surge.since_ns:
                self._changed(surge, "Surge", "Warning", "many nodes at once, held")
            if surge.released_ns and not (known and known.released_ns):
                self._changed(surge, "SurgeResumed", "Normal", "an operator lets it act")
        for key in was.keys() - are.keys():
            self._changed(was[key], "SurgeOver", "Normal", "over; what is still so is decided now")
        begun_or_ended = [(each.key, each.since_ns, each.released_ns) for each in self.now] != [
            (each.key, each.since_ns, each.released_ns) for each in before
        ]
        self._store(STATE_KEY, render_surges(self.now), begun_or_ended)

    def _changed(self, surge: Surge, reason: str, kind: str, what: str) -> None:
        message = f"{told(surge)}: {what}"
        logger.bind(fault_id=surge.fault_id, scope=surge.scope.value, name=surge.name).log(
            "ERROR" if kind == "Warning" else "INFO", f"surge: {message}"
        )
        parts = (reason, *map(str, surge.key), str(surge.since_ns))
        dedupe = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        self._untold.append(PublishEvent("", "", kind, reason, message, dedupe))

    def _tell_what_is_due(self) -> None:
        """Publish the Events in order; what cannot be published is tried again a little later."""
        while self._untold and self._clock.monotonic() >= self._tell_at:
            try:
                self._tell(self._untold[0])
            except LeadershipLost:
                raise
            except HealthError as error:
                self._tell_at = self._clock.monotonic() + RETRY_S
                self._complain(f"Event about a surge not published: {error}", error.hint)
                return
            self._untold.popleft()

    def _complain(self, message: str, hint: str) -> None:
        """Once per trouble."""
        if message != self._complaint:
            self._complaint = message
            logger.bind(hint=hint).warning(message)
