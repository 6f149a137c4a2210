"""The controller's loop on a clock that moves when told, a cluster and a log in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from konduktor_health.core.resumed import parse_surges
from konduktor_health.core.shard import Shard
from konduktor_health.errors import Conflict, HealthError, NotFound
from konduktor_health.model import (
    Condition,
    EditKind,
    EditNode,
    NodeEdit,
    NodeView,
    PublishEvent,
    Taint,
    Trust,
)
from konduktor_health.ports import Diagnoses, LogEntry, Poll, Probes, Request, SourceStatus
from konduktor_health.runtime.agenda import Agenda
from konduktor_health.runtime.allocatable import AllocatableGpus
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.attesting import AsksKernel, Attesting
from konduktor_health.runtime.beside import Beside
from konduktor_health.runtime.checkpoint import Checkpoint
from konduktor_health.runtime.coverage import Observation
from konduktor_health.runtime.diagnoses import DiagnosisWatch
from konduktor_health.runtime.domains import DomainWatch
from konduktor_health.runtime.fleet import Fleet
from konduktor_health.runtime.loop import Loop
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.observe import Observer
from konduktor_health.runtime.pair_findings import PairFindings
from konduktor_health.runtime.probes import ProbeWatch
from konduktor_health.runtime.reboots import Reboots
from konduktor_health.runtime.report import Report
from konduktor_health.runtime.situation import Situation
from konduktor_health.runtime.sources import Delivery, Sources
from konduktor_health.runtime.surges import STATE_KEY, SurgeWatch
from konduktor_health.runtime.tombstones import Tombstones
from konduktor_health.timestamps import NS
from parsers.record import unwrap
from tests.support.builders import KEYS, NOW, edited, node, policy
from tests.support.memory_loki import FakeClock

LOST = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=x, GPU has fallen off the bus."


class MemoryCluster:
    """Nodes with resource versions, Events and the state; ``before`` may interfere or raise."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeView] = {}
        self.events: dict[str, PublishEvent] = {}
        self.state: Mapping[str, Any] | None = None
        self.asked: str | None = None
        self.writes: list[str] = []
        self.before: Callable[[str, str], None] = lambda _what, _node: None
        self._version = 0

    def put(self, view: NodeView) -> NodeView:
        """Somebody writes a Node."""
        self._version += 1
        view = replace(view, resource_version=str(self._version))
        self.nodes[view.name] = view
        return view

    def get_node(self, name: str) -> NodeView:
        self.before("get", name)
        if name not in self.nodes:
            raise NotFound(name)
        return self.nodes[name]

    def list_nodes(self) -> list[NodeView]:
        return list(self.nodes.values())

    def edit_node(self, view: NodeView, edit: NodeEdit) -> NodeView:
        current = self._current("edit", view)
        action = EditNode(view.name, current, edit, EditKind.RECORD, "")
        return self.put(edited(current, action))

    def set_condition(self, view: NodeView, condition: Condition, now_ns: int) -> NodeView:
        return self.put(replace(self._current("condition", view), condition=condition))

    def clear_condition(self, view: NodeView) -> NodeView:
        return self.put(replace(self._current("condition", view), condition=None))

    def publish_event(self, event: PublishEvent, now_ns: int) -> None:
        self.before("event", event.node)
        self.writes.append(f"event {event.node}")
        self.events.setdefault(f"{event.node} {event.dedupe}", event)

    def read_state(self) -> Mapping[str, Any] | None:
        return self.state

    def write_state(self, state: Mapping[str, Any]) -> None:
        self.before("state", "")
        self.writes.append("state")
        self._version += 1
        self.state = state

    def read_request(self) -> Request | None:
        self.before("request", "")
        if self.state is None:
            return None
        return Request(self.asked, str(self._version))

    def write_request(self, request: Request) -> None:
        if request.resource_version != str(self._version):
            raise Conflict("state")
        self.asked = request.text

    def _current(self, what: str, view: NodeView) -> NodeView:
        self.before(what, view.name)
        current = self.nodes.get(view.name)
        if current is None:
            raise NotFound(view.name)
        if current.resource_version != view.resource_version:
            raise Conflict(view.name)
        self.writes.append(f"{what} {view.name}")
        return current


class MemoryFeed:
    """A node watch that delivers when told (``sync``)."""

    def __init__(self, cluster: MemoryCluster, fleet: Fleet) -> None:
        self._cluster, self._fleet = cluster, fleet
        self._known: set[str] = set()
        self._views: dict[str, NodeView] = {}
        self._told: dict[str, NodeView] = {}
        self._callbacks: list[Callable[[NodeView | None, NodeView | None], None]] = []

    def start(self, stop: threading.Event) -> None:
        self.sync()

    def sync(self) -> None:
        """The watch catches up."""
        self._known = set(self._cluster.nodes)
        self._views = {n: v for n, v in self._cluster.nodes.items() if self._fleet.keep(v)}
        for name in sorted(self._views.keys() | self._told.keys()):
            old, new = self._told.pop(name, None), self._views.get(name)
            if new is not None:
                self._told[name] = new
            if (
                old is None
                or new is None
                or replace(old, resource_version="") != replace(new, resource_version="")
            ):
                self._fleet.changed(old, new)
                for callback in self._callbacks:
                    callback(old, new)

    def synced(self) -> bool:
        return True

    def last_error(self) -> Exception | None:
        return None

    def nodes(self) -> Mapping[str, NodeView]:
        return dict(self._views)

    def resolve(self, name: str) -> str | None:
        return name if name in self._known else None

    def put(self, view: NodeView) -> None:
        if view.name in self._known:
            self._views[view.name] = view

    def on_change(self, callback: Callable[[NodeView | None, NodeView | None], None]) -> None:
        self._callbacks.append(callback)  # the fleet is told directly, and first


class World:
    """A fleet of healthy GPU nodes and one controller's loop. ``shard``: its share of them;
    ``labels``: node name to the value of the shard's label."""

    def __init__(
        self,
        nodes: int = 20,
        *,
        dry_run: bool = False,
        emit: Callable[[str], None] | None = None,
        decoder: Any = None,
        shard: Shard | None = None,
        labels: Mapping[str, str] | None = None,
        probes: Probes | None = None,
        kernel: AsksKernel | None = None,
        diagnoses: Diagnoses | None = None,
        pairs: PairFindings | None = None,
        **rules: Any,
    ) -> None:
        self._probes = probes
        self._diagnoses = diagnoses
        self._kernel = kernel
        self._pairs = pairs
        self._shard = shard or Shard()
        self.clock = FakeClock(NOW)
        self.cluster = MemoryCluster()
        self.names = [f"gpu-{n}" for n in range(nodes)]
        for name in self.names:
            value = (labels or {}).get(name)
            own = () if value is None else ((self._shard.label, value),)
            self.cluster.put(node(name, labels=own))
        self.stop = threading.Event()
        self.leading = True
        self._position = 0
        self._build(dry_run=dry_run, emit=emit, decoder=decoder, **rules)

    def _build(self, *, dry_run: bool, emit: Any, decoder: Any, **rules: Any) -> None:
        self.fleet = Fleet(KEYS, self.clock.now_ns, shard=self._shard, policy=policy(**rules))
        self.feed = MemoryFeed(self.cluster, self.fleet)
        more = {"decoder": decoder} if decoder else {}
        wake = threading.Event()
        decides = policy(**rules)
        self.observation = Observation(self.feed, clock=self.clock, policy=decides, wake=wake.set)
        reboots = Reboots(self.fleet.boots, clock=self.clock, policy=decides)
        self.tombstones = Tombstones(self.feed, clock=self.clock, let_go=self.fleet.let_go)
        self.feed.on_change(reboots.changed)
        self.feed.on_change(self.tombstones.changed)
        probes = None if self._probes is None else ProbeWatch(self._probes)
        if self._pairs is not None and probes is not None:
            probes.add(self._pairs.results)
            self._pairs.on_news(probes.tell)
        self.attesting = (
            None
            if self._kernel is None
            else Attesting(self._kernel, clock=self.clock, believed=lambda _name: True)
        )
        diagnoses = None if self._diagnoses is None else DiagnosisWatch(self._diagnoses, decides)
        self.allocatable = AllocatableGpus(clock=self.clock, keys=KEYS)
        self.feed.on_change(self.allocatable.changed)
        self.observer = Observer(
            self.feed,
            clock=self.clock,
            opted_out=self.fleet.is_opted_out,
            elsewhere=self.fleet.is_elsewhere,
            observation=self.observation,
            reboots=reboots,
            tombstones=self.tombstones,
            beside=Beside(probes, self.attesting, self.allocatable, diagnoses, self._pairs),
            **more,
        )
        self.agenda = Agenda(self.clock)
        applier = Applier(
            self.cluster,
            self.feed,
            clock=self.clock,
            stop=self.stop,
            on_write=self.fleet.wrote,
            assert_leader=self.assert_leader,
            writers=2,
        )
        self.checkpoint = Checkpoint(
            self.cluster, clock=self.clock, interval_s=300.0, assert_leader=self.assert_leader
        )
        self.checkpoint.attach("observed", self.observation)
        self.checkpoint.attach("tombstones", self.tombstones)
        self.report = Report(Metrics(), emit=emit)
        self.surges = SurgeWatch(self.clock) if dry_run else self._surges()
        self.loop = Loop(
            sources=Sources([], clock=self.clock, poll_interval_s=1.0, wake=wake),
            situation=Situation(
                self.feed,
                self.fleet,
                self.observer,
                decides,
                self.clock,
                self.surges,
                DomainWatch(self.report.metrics),
                self.observation,
                self.tombstones,
                probes,
                attesting=self.attesting,
                diagnoses=diagnoses,
                pairs=self._pairs,
            ),
            fleet=self.fleet,
            observer=self.observer,
            applier=None if dry_run else applier,
            checkpoint=None if dry_run else self.checkpoint,
            report=self.report,
            clock=self.clock,
            wake=wake,
            agenda=self.agenda,
            followers=(diagnoses,) if diagnoses is not None else (),
        )
        self.feed.sync()

    def _surges(self) -> SurgeWatch:
        def asked() -> str | None:
            request = self.cluster.read_request()
            return None if request is None else request.text

        watch = SurgeWatch(
            self.clock,
            tell=lambda event: self.cluster.publish_event(event, self.clock.now_ns()),
            store=self.checkpoint.keep,
            asked=asked,
        )
        watch.restore(parse_surges((self.cluster.state or {}).get(STATE_KEY)))
        return watch

    def restarted(self, **rules: Any) -> World:
        """A new process on the same cluster."""
        self._build(dry_run=False, emit=None, decoder=None, **rules)
        return self

    def assert_leader(self) -> None:
        from konduktor_health.errors import LeadershipLost

        if not self.leading:
            raise LeadershipLost("somebody else leads")

    def line(self, name: str, text: str = LOST, *, ago_s: float = 0.0, **fields: Any) -> LogEntry:
        """A kernel line, a new one unless its identity is given."""
        time_ns = self.clock.now_ns() - int(ago_s * NS)
        uptime_s = 100_000 + (time_ns - NOW) / NS
        self._position += 1
        values: dict[str, Any] = {
            "time_ns": time_ns,
            "record": unwrap(f"[{uptime_s:12.6f}] {text}"),
            "identity": f"{self._position:032x}",
            "source": "kmsg",
            "trust": Trust.KERNEL,
        }
        return LogEntry(node_name=name, **(values | fields))

    def hear(self, *entries: LogEntry, cursor_ns: int | None = None) -> None:
        """One cycle with these lines, and the watch catches up after it."""
        cursor_ns = self.clock.now_ns() if cursor_ns is None else cursor_ns
        status = SourceStatus("kmsg", ok=True, cursor_ns=cursor_ns)
        delivery = Delivery("kmsg", Poll(tuple(entries), status), {"cursor": cursor_ns})
        self.loop.cycle([delivery])
        self.feed.sync()

    def turn(self, seconds: float = 0.0) -> None:
        """So much later, a cycle without lines."""
        self.clock.advance(seconds)
        self.loop.cycle([])
        self.feed.sync()

    def settle(self) -> None:
        """Cycles until nothing is due."""
        for _ in range(20):
            self.turn()
            if self.agenda.seconds_until_due() > 0:
                return
        raise AssertionError("something is due at every cycle")

    def tainted(self) -> list[str]:
        return sorted(n for n, v in self.cluster.nodes.items() if _ours(v.taints))

    def reason(self, name: str) -> str:
        condition = self.cluster.nodes[name].condition
        return condition.reason if condition else ""

    def change(self, name: str, **fields: Any) -> None:
        """Somebody else changes a Node; the watch delivers it."""
        self.cluster.put(replace(self.cluster.nodes[name], **fields))
        self.feed.sync()

    def fail(self, what: str, name: str, error: HealthError, times: int = 1) -> None:
        """The next calls of this kind for this node raise."""
        left = [times]

        def before(kind: str, node_name: str) -> None:
            if (kind, node_name) == (what, name) and left[0] > 0:
                left[0] -= 1
                raise error

        self.cluster.before = before


def _ours(taints: tuple[Taint, ...]) -> bool:
    return any(taint.key == KEYS.taint for taint in taints)
