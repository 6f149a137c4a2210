"""Who leads? One Lease, client-go's wire format, compare-and-swap on every write.

Why not the official client's elector: it cannot be stopped, does not release, judges by the
wall clock and does not tell the workers when it has lost.

Safety. Let R be the renew deadline, D the lease duration, T the time-out of one API call.
- We lead for R seconds from *before* the request that renewed was sent, by the boot-time clock.
  Another replica counts D seconds (the holder's own figure) from when it *saw* the Lease
  change, which is later. R + T <= D (checked), so a call that began while we led has
  ended before anybody else leads. Offsets between clocks do not matter, only rates do.
- The wall clock can only take leadership away: the boot-time clock counts a suspended machine's
  time, and not that of a virtual machine that was paused; its wall clock is set right after it.
  A jump of the wall clock so costs one try to renew, and never gives anything.
- A write that may or may not have arrived counts as not arrived, for us.
- Who has led and may have been followed by somebody never leads again (``lost``): what it has in
  memory is older than the cluster. Its process ends, and starts again as a standby.
- Whose time has run out reads the Lease before it writes it: after a pause nothing is written.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from konduktor_health.clock import NS, Clock, rfc3339_micro
from konduktor_health.errors import (
    ConfigError,
    Conflict,
    HealthError,
    LeadershipLost,
)

_RELEASE_TIMEOUT_S = 2.0  # shutdown is not held up longer
_LEAST_PAUSE_S = 0.05  # between two tries of a standby


def new_identity() -> str:
    """Holder identity of this process, as client-go makes it: host name and a UUID."""
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class LeaseApi(Protocol):
    """One Lease object on the API server."""

    def get(self, timeout_s: float) -> dict[str, Any] | None:
        """The raw object, None when there is none."""
        ...

    def create(self, spec: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Create it. Conflict when it exists."""
        ...

    def replace(self, lease: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Replace exactly the version that ``lease`` carries. Conflict otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds. ``call`` is the longest that one API call of an effect may take."""

    duration: float
    renew_deadline: float
    retry: float
    call: float

    def __post_init__(self) -> None:
        if int(self.duration) < 1 or self.duration != int(self.duration):
            raise ConfigError(f"lease duration {self.duration:g} s: whole seconds, at least 1")
        if self.renew_deadline + self.call > self.duration:
            raise ConfigError(
                f"lease: renew deadline ({self.renew_deadline:g} s) and one API call "
                f"({self.call:g} s) together exceed the lease duration ({self.duration:g} s)",
                hint="raise lease.duration_s, or lower lease.renew_deadline_s or cluster.timeout_s",
            )
        if self.retry >= self.renew_deadline:
            raise ConfigError(
                f"lease: retry ({self.retry:g} s) must be shorter than the renew deadline "
                f"({self.renew_deadline:g} s)"
            )


class LeaseElector:
    """Leadership of ports. All methods are thread-safe."""

    def __init__(self, api: LeaseApi, identity: str, times: LeaseTimes, clock: Clock) -> None:
        self._api = api
        self._times = times
        self._clock = clock
        self._step_lock = threading.Lock()  # one request at a time
        self._state_lock = threading.Lock()  # _until, _wall_until_ns, _leading
        self._lease: dict[str, Any] | None = None  # as last seen
        self._seen_at = 0.0  # boot time at which that version was first seen
        self._certain = False  # the version that we hold is on the server, as far as we know
        self._until = float("-inf")  # boot time
        self._led = False
        self._lost = False
        self._wall_until_ns = 0
        self._leading = threading.Event()
        self._released = False
        self._error: Exception | None = None
        self.identity = identity

    def start(self, stop: threading.Event) -> None:
        """Start renewing in a thread. Stopping does not release: release() does, after the last
        effect."""
        threading.Thread(target=self._run, args=(stop,), name="lease", daemon=True).start()

    def is_leader(self) -> bool:
        """True while our lease has not expired."""
        with self._state_lock:
            leads = (
                not self._lost
                and self._clock.monotonic() < self._until
                and self._clock.now_ns() < self._wall_until_ns
            )
            if not leads:
                self._leading.clear()
            return leads

    def assert_leader(self) -> None:
        """Raise LeadershipLost unless we lead; called before each effect."""
        if not self.is_leader():
            holder = self.holder()
            raise LeadershipLost(
                f"{holder} leads" if holder not in ("", self.identity) else "no lease is held"
            )

    def assert_not_lost(self) -> None:
        """Raise LeadershipLost when somebody else may have led since we did."""
        if self._lost:
            raise LeadershipLost(f"{self.holder() or 'nobody'} leads, and we did before")

    def wait_leader(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds to become leader."""
        return self.is_leader() or (self._clock.wait(self._leading, timeout) and self.is_leader())

    def holder(self) -> str:
        """Identity in the Lease as last seen; "" when nobody's."""
        return _holder(self._lease)

    def last_error(self) -> Exception | None:
        """Why the last try failed (missing RBAC, server down), or None."""
        return self._error

    def release(self) -> None:
        """Give the Lease up if it is ours. Leadership ends before the request is sent, and for
        good; a failure only means that the others wait for expiry. When our time has run out
        nothing is sent: somebody else may lead."""
        with self._state_lock:
            ours = self._clock.monotonic() < self._until
        self._released = True
        self._stop_leading()
        if not ours or not self._step_lock.acquire(timeout=_RELEASE_TIMEOUT_S):
            return  # a request hangs
        try:
            if self._lease is None or self.holder() != self.identity:
                return
            now = rfc3339_micro(self._clock.now_ns())
            spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
            self._see(self._api.replace(self._with(spec), _RELEASE_TIMEOUT_S))
        except HealthError as error:
            logger.info("lease not released, it expires by itself: {}", error)
        finally:
            self._step_lock.release()

    def step(self) -> None:
        """One try to acquire or renew; what the thread does every ``retry`` seconds."""
        with self._step_lock:
            if self._released:
                return
            try:
                self._try()
                self._error = None
            except Conflict:
                self._lost_race()
            except HealthError as error:
                self._certain = False
                if self._error is None:
                    logger.warning("lease: {}", error)
                self._error = error
            self.is_leader()  # clears the event when the lease has run out

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.step()
            except Exception as error:  # never a dead elector beside a living loop
                logger.opt(exception=error).error("lease: unexpected error")
                self._error = error
            self._clock.wait(stop, self.seconds_until_due())

    def seconds_until_due(self) -> float:
        """How long the next try may wait. A standby looks twice as often as a leader renews, and
        at the moment at which the holder's time is over."""
        retry = self._times.retry
        if self._error is not None or self.holder() == self.identity:
            return retry
        left = self._ends_at() - self._clock.monotonic()
        return min(retry / 2, max(left, _LEAST_PAUSE_S))

    def _try(self) -> None:
        mine = self._certain and self.holder() == self.identity and self.is_leader()
        if not mine:
            self._look()
        if self._released:
            return
        sent, sent_wall = self._clock.monotonic(), self._clock.now_ns()
        now = rfc3339_micro(sent_wall)
        spec: dict[str, Any] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._times.duration),
            "renewTime": now,
        }
        if self._led and self.holder() != self.identity:
            self._lose()
        elif self._lease is None:
            spec |= {"acquireTime": now, "leaseTransitions": 0}
            self._see(self._api.create(spec, self._timeout()))
        elif self.holder() == self.identity:
            self._see(self._api.replace(self._with(spec), self._timeout()))
        elif self._expired():
            spec |= {"acquireTime": now, "leaseTransitions": _transitions(self._lease) + 1}
            self._see(self._api.replace(self._with(spec), self._timeout()))
        else:
            self._stop_leading()
            return
        if self.holder() == self.identity:
            self._certain = True
            self._lead(sent, sent_wall)

    def _timeout(self) -> float:
        """Two tries fit into the renew deadline."""
        return min(self._times.call, self._times.renew_deadline / 2)

    def _look(self) -> None:
        lease = self._api.get(self._timeout())
        if lease is None:
            self._lease = None
        else:
            self._see(lease)
        if self.holder() != self.identity:
            self._lose() if self._led else self._stop_leading()

    def _see(self, lease: dict[str, Any]) -> None:
        if self._lease is None or _version(lease) != _version(self._lease):
            self._seen_at = self._clock.monotonic()
        self._lease = lease

    def _expired(self) -> bool:
        return not self.holder() or self._clock.monotonic() >= self._ends_at()

    def _ends_at(self) -> float:
        """Boot time at which the holder's time is over, counted from what we saw."""
        duration = _spec(self._lease).get("leaseDurationSeconds")
        known = isinstance(duration, int) and not isinstance(duration, bool) and duration > 0
        seconds = duration if known else self._times.duration
        return self._seen_at + float(seconds or 0)

    def _with(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        lease = dict(self._lease or {})
        return lease | {"spec": {**_spec(self._lease), **changes}}

    def _lost_race(self) -> None:
        """Somebody wrote: if it was another replica, stop at once and not when time is up."""
        self._certain = False
        try:
            self._look()
        except HealthError as error:
            self._error = error

    def _lead(self, sent: float, sent_wall: int) -> None:
        was = self.is_leader()
        with self._state_lock:
            if self._released:
                return
            self._led = True
            self._until = sent + self._times.renew_deadline
            self._wall_until_ns = sent_wall + int(self._times.renew_deadline * NS)
            self._leading.set()
        if self.is_leader() and not was:  # false where the answer came too late
            logger.info("lease acquired as {}", self.identity)

    def _lose(self) -> None:
        if not self._lost:
            logger.warning("lease lost: {} holds it", self.holder() or "nobody")
        self._lost = True
        self._stop_leading()

    def _stop_leading(self) -> None:
        with self._state_lock:
            self._until = float("-inf")
            self._leading.clear()


def _spec(lease: Mapping[str, Any] | None) -> dict[str, Any]:
    spec = (lease or {}).get("spec")
    return spec if isinstance(spec, dict) else {}


def _holder(lease: Mapping[str, Any] | None) -> str:
    holder = _spec(lease).get("holderIdentity")
    return holder if isinstance(holder, str) else ""


def _transitions(lease: Mapping[str, Any] | None) -> int:
    count = _spec(lease).get("leaseTransitions")
    return count if isinstance(count, int) and not isinstance(count, bool) else 0


def _version(lease: Mapping[str, Any]) -> Any:
    """resourceVersion and content: a server that reuses versions is not trusted."""
    meta = lease.get("metadata")
    version = meta.get("resourceVersion") if isinstance(meta, dict) else None
    return version, json.dumps(_spec(lease), sort_keys=True, default=str)
