"""Does a controller hold the Lease? Seen from somebody who does not want it.

Judged as a replica judges: the times in the Lease are of another machine's clock and are not
trusted. A Lease with a holder is watched for its own duration: a controller that lives renews it
within that time; one that does not is taken for dead. One that was released is watched for as long
as a standing-by replica takes to notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from konduktor_health.clock import Clock
from konduktor_health.errors import LeadershipLost
from konduktor_health.ports import Belongings, OwnObject

LOOK_S = 0.5  # between two looks; a controller renews every 2 s (lease.retry_s)
MAX_WATCH_S = 300.0  # a Lease that lasts longer is not sat out
_CHANGES = 5  # of released Leases that nobody was seen to hold


@dataclass(frozen=True, slots=True)
class Vacancy:
    """How long to watch, seconds. ``on_wait`` is told before it, with the Lease and how long."""

    duration_s: float  # of a Lease that does not say it
    retry_s: float  # between two tries of a replica
    clock: Clock
    on_wait: Callable[[OwnObject, float], None]

    def judge(self, belongings: Belongings) -> OwnObject | None:
        """The Lease that nobody holds any more (None: there is no Lease). Raises LeadershipLost
        when a controller leads."""
        seen = belongings.lease()
        for _ in range(_CHANGES):
            if seen is None:
                return None
            seconds = (seen.duration_s or self.duration_s) if seen.holder else self.retry_s * 1.5
            if seconds > MAX_WATCH_S:
                break
            self.on_wait(seen, seconds)
            then = self._watch(belongings, seen, seconds)
            if then == seen:
                return seen
            if then is not None and then.holder:
                raise held(then)
            seen = then
        if seen is None:
            return None
        raise held(seen)

    def _watch(self, belongings: Belongings, first: OwnObject, seconds: float) -> OwnObject | None:
        """The Lease once it has changed, or as it was after all that time."""
        ends_s, never = self.clock.monotonic() + seconds, threading.Event()
        while (left_s := ends_s - self.clock.monotonic()) > 0:
            self.clock.wait(never, min(LOOK_S, left_s))
            seen = belongings.lease()
            if seen != first:
                return seen
        return first


def still_vacant(belongings: Belongings, known: OwnObject | None) -> OwnObject | None:
    """The Lease now. Raises LeadershipLost when somebody took it after it was judged vacant."""
    seen = belongings.lease()
    if seen is not None and seen.holder and seen != known:
        raise held(seen)
    return seen


def held(lease: OwnObject) -> LeadershipLost:
    """What to tell whom a controller is in the way of."""
    where = f"-n {lease.namespace}"
    return LeadershipLost(
        f"a controller runs: {lease.holder or 'somebody'} holds Lease "
        f"{lease.namespace}/{lease.name}; it would write to the Nodes again",
        hint=(
            f"stop it first: helm uninstall RELEASE {where}, or kubectl delete deployment "
            f"konduktor-health {where}, or kubectl scale deployment konduktor-health "
            f"--replicas=0 {where}; --force goes on all the same"
        ),
    )
