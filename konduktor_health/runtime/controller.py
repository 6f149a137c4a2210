"""In which order is a controller started, run and put down?

Order: node watch, watch of the agents and status port first, then leadership, then stored cursors,
then the log.
A replica that does not lead keeps its node cache warm and reads no log. One that cannot read
nodes or stored state does not stand for leadership: another one may be able to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from loguru import logger

from konduktor_health.clock import NS, Clock
from konduktor_health.core.resumed import parse_surges
from konduktor_health.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    HealthError,
    LeadershipLost,
    TransientError,
)
from konduktor_health.ports import Cluster, Leadership, NodeFeed
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.autopilot_http import AutopilotServer
from konduktor_health.runtime.checkpoint import Checkpoint, short_hash
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.http import StatusServer
from konduktor_health.runtime.loop import Loop
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.pod_news import PodTeller
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.report import Report, Trouble
from konduktor_health.runtime.roll_call import RollCall
from konduktor_health.runtime.sources import Sources
from konduktor_health.runtime.surges import STATE_KEY
from konduktor_health.settings import Settings

SYNC_TIMEOUT_S = 30.0
AGENTS_TIMEOUT_S = 5.0  # afterwards it is decided without knowing who has an agent
ONCE_ROUNDS = 10
ONCE_LEASES = 2  # so many lease durations --once waits for another replica
SAVE_S = 1.5  # of the seconds that the end may take
T = TypeVar("T")


class Starts(Protocol):
    """A part with a thread of its own."""

    def start(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        ...


@dataclass(slots=True)
class Controller:
    """A wired controller. ``run`` blocks until ``stop`` is set; ``once`` does one pass."""

    settings: Settings
    clock: Clock
    stop: threading.Event
    wake: threading.Event
    cluster: Cluster
    feed: NodeFeed
    fleet: Fleet
    observer: Observer
    sources: Sources
    applier: Applier | None
    checkpoint: Checkpoint
    report: Report
    loop: Loop
    lease: Leadership | None  # None: dry run
    teller: PodTeller | None = None  # None: pods are told nothing
    status: StatusServer | None = None
    autopilot: AutopilotServer | None = None  # None: Autopilot's paths are not answered
    roll_call: RollCall | None = None  # who ships logs at all; not in a single pass
    probes: ProbeWatch | None = None  # who measures on the nodes
    aside: tuple[Starts, ...] = ()  # parts that work while this replica leads
    state_error: HealthError | None = None  # why the stored state could not be read yet

    def run(self) -> None:
        """Control until stopped. Raises LeadershipLost and errors that retrying cannot mend."""
        try:
            self._start()
            self._await_nodes()
            if self.lease is not None:
                self._patiently(self.cluster.read_state)
            if not self._lead():
                return
            self._resume()
            self._await_agents()
            for part in (*self.aside, *([self.probes] if self.probes else ())):
                part.start(self.stop)
            self.sources.start(self.stop)
            if self.roll_call is not None:
                self.roll_call.start(self.stop)
            self.loop.run(self.stop)
        finally:
            self._put_down()

    def once(self) -> None:
        """One pass over all sources. Raises what kept it from being complete."""
        try:
            self._start()
            self._wait_synced()
            if not self._lead(once=True):
                return
            self._resume(once=True)
            self._await_agents()
            self.loop.cycle(self.sources.poll_once(self.stop))
            for _ in range(ONCE_ROUNDS):
                if self.stop.is_set() or not self.loop.agenda.unfinished():
                    break
                self.clock.wait(self.stop, self.loop.agenda.seconds_until_due())
                self.loop.cycle([])
            if troubles := self.report.troubles():
                raise TransientError(troubles[0].message, hint=troubles[0].hint)
            if unfinished := self.loop.agenda.unfinished():
                raise TransientError(f"{unfinished} nodes could not be written; see the log")
        finally:
            self._put_down()

    def reading(self) -> bool:
        """True once every source has been polled."""
        return len(self.report.sources()) == self.sources.count

    def troubles(self) -> list[Trouble]:
        """Why the controller is not ready; empty when it is."""
        error = self.feed.last_error()
        if error is not None:
            return [Trouble(f"nodes: {error}", getattr(error, "hint", ""))]
        if not self.feed.synced():
            return [Trouble("nodes: the first list has not arrived yet")]
        error = self.lease.last_error() if self.lease else None
        if error is not None:
            return [Trouble(f"lease: {error}", getattr(error, "hint", ""))]
        if (unread := self.state_error) is not None:
            return [Trouble(f"stored state: {unread}", unread.hint)]
        leads = self.lease is None or self.lease.is_leader()
        if leads and not self.reading():
            return [*self.report.troubles(), Trouble("logs: not all sources have been read yet")]
        return self.report.troubles()

    def _start(self) -> None:
        self.feed.start(self.stop)
        if self.probes is not None:
            self.probes.follow(self.stop)
        if self.teller:
            self.teller.start()
        for server in (self.status, self.autopilot):
            if server is not None:
                server.start()

    def _wait_synced(self) -> None:
        deadline = self.clock.monotonic() + SYNC_TIMEOUT_S
        while not self.feed.synced():
            error = self.feed.last_error()
            if isinstance(error, HealthError) and not isinstance(error, TransientError):
                raise error
            if self.clock.monotonic() > deadline or self.stop.is_set():
                raise error or ClusterUnavailable("the node list did not arrive in time")
            self.clock.wait(self.stop, 0.02)

    def _await_nodes(self) -> None:
        """Read no log before the nodes are known: a line is handed out once, and a line from an
        unknown name is dropped."""
        while not self.feed.synced() and not self.stop.is_set():
            self.clock.wait(self.stop, 0.02)

    def _await_agents(self) -> None:
        """Decide nothing before it is known who has an agent, if that can be had soon: what proof
        is still missing depends on it, and stands on the Node."""
        deadline = self.clock.monotonic() + AGENTS_TIMEOUT_S
        while self.probes is not None and not self.probes.known() and not self.stop.is_set():
            if self.clock.monotonic() > deadline:
                logger.warning("not known yet which nodes have agents: deciding without")
                return
            self.clock.wait(self.stop, 0.02)

    def _lead(self, *, once: bool = False) -> bool:
        """Wait to lead; False when stopped before. ``once``: what cannot mend itself is raised."""
        lease = self.lease
        if lease is None:
            return True
        lease.start(self.stop)
        if not lease.wait_leader(1.0) and lease.last_error() is None:
            logger.info("waiting for the Lease: another replica leads")
        patience_s = ONCE_LEASES * self.settings.lease.duration_s
        deadline = self.clock.monotonic() + patience_s
        while not self.stop.is_set():
            if lease.wait_leader(0.2):
                logger.info("leading")
                return True
            error = lease.last_error()
            if once and isinstance(error, HealthError) and not isinstance(error, TransientError):
                raise error
            if once and self.clock.monotonic() > deadline:
                raise error or LeadershipLost(
                    f"another replica has been leading for {patience_s:g} s",
                    hint="a running controller does what --once would; or use --dry-run",
                )
        return False

    def _resume(self, *, once: bool = False) -> None:
        """Take up stored cursors; a first start looks back no further than the setting."""
        floor_ns = self.clock.now_ns() - int(self.settings.reading.first_lookback_s * NS)
        stored = self._patiently(lambda: self.checkpoint.load(floor_ns), once=once)
        if stored is not None:
            self.sources.restore(stored.sources)
            self.observer.floor_ns = stored.floor_ns
            self._recall(stored.managed)
            self.loop.situation.surges.restore(parse_surges(stored.kept.get(STATE_KEY)))

    def _patiently(self, read: Callable[[], T], *, once: bool = False) -> T | None:
        """What ``read`` says of the stored state; None when stopped before.

        A right that is missing is waited for, as everywhere: roles may be applied after us.
        ``once``: it is raised.
        """
        while not self.stop.is_set():
            try:
                found = read()
            except (TransientError, ClusterForbidden) as error:
                if once and isinstance(error, ClusterForbidden):
                    raise
                if str(self.state_error) != str(error):
                    logger.bind(hint=error.hint).warning(f"stored state not read yet: {error}")
                self.state_error = error
                self.clock.wait(self.stop, 1.0)
                continue
            self.state_error = None
            return found
        return None

    def _recall(self, hashes: frozenset[str]) -> None:
        """Nodes that were managed before stay so. The feed has taken its list without knowing
        them: those whose GPUs are gone since are looked up once."""
        self.fleet.recall(hashes)
        missing = hashes - {short_hash(view.uid) for view in self.feed.nodes().values()}
        if not missing:
            return
        try:
            views = self.cluster.list_nodes()
        except (TransientError, ClusterForbidden) as error:
            logger.warning(f"nodes managed before are kept as the watch reports them: {error}")
            return
        for view in views:
            if short_hash(view.uid) in missing and self.fleet.keep(view):
                self.feed.put(view)
                self.fleet.changed(None, view)

    def _put_down(self) -> None:
        """Each step whatever became of those before it: the Lease must not stay taken."""
        self.stop.set()
        self.wake.set()
        steps: list[Callable[[], object]] = []
        if self.applier:
            steps.append(self.applier.close)
        if self.teller:
            steps.append(self.teller.close)
        if self.lease is not None:
            steps += [self._save, self.lease.release]
        steps += [server.stop for server in (self.status, self.autopilot) if server is not None]
        for step in steps:
            try:
                step()
            except Exception as error:
                logger.opt(exception=error).error(f"bug: not put down well: {error!r}")

    def _save(self) -> None:
        """The last checkpoint, if it can be had quickly: without it the log is read again."""

        def write() -> None:
            try:
                self.checkpoint.write(self.observer.oldest_pending_ns(), self.fleet.uids())
            except HealthError as error:
                logger.warning(f"checkpoint not written: {error}")

        if self.lease is not None and self.lease.is_leader() and self.observer.floor_ns:
            thread = threading.Thread(target=write, name="last-checkpoint", daemon=True)
            thread.start()
            thread.join(SAVE_S)
