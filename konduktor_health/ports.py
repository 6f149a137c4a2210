"""What does the core's surroundings look like? Protocols that the adapters implement.

Every call has a deadline inside the adapter and raises only errors of
``konduktor_health.errors``. Fakes and real servers share the contract suites in
``tests/contract``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from konduktor_health.agents import AgentCensus, AgentStanding
from konduktor_health.model import (
    Condition,
    Diagnosis,
    Fault,
    NodeEdit,
    NodeView,
    ProbeResult,
    PublishEvent,
    Trust,
)
from parsers.record import LogRecord


@dataclass(slots=True)
class LogEntry:
    """One log line that has not been handed out before (identity de-duplicated).

    Not frozen: that would make it twice as slow to build, and there is one for each line. Nobody
    changes one.
    """

    node_name: str  # as the stream says; "" when it does not
    time_ns: int  # log timestamp
    record: LogRecord
    identity: str  # (node, boot id, uptime stamp, text) or (node, time, text)
    source: str
    trust: Trust
    pod: bool = False  # a pod-log source: decode with feed_pod


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of log time [start, end) that was not read, and why."""

    start_ns: int
    end_ns: int
    reason: str  # unavailable, too_old, lookback_cut, limit_saturated, config
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source is doing, for metrics, readiness and the log."""

    name: str
    ok: bool
    message: str = ""  # why not ok; bounded, printable
    hint: str = ""
    newest_ns: int = 0  # newest log timestamp seen
    cursor_ns: int = 0
    gaps: tuple[Gap, ...] = ()
    bytes_per_minute: float = 0.0
    poll_interval_s: float = 0.0  # after slowing by the byte bound
    lag_s: float | None = None  # age that most lines have when they are read; None: not known
    clusters: tuple[str, ...] = ()  # values of the cluster label seen in the selector


@dataclass(frozen=True, slots=True)
class Poll:
    """What one poll of a source gave. Entries are in time order per node."""

    entries: tuple[LogEntry, ...] = ()
    status: SourceStatus = field(default_factory=lambda: SourceStatus(name="", ok=True))
    more: bool = False  # it stopped early: the rest is due at once


class LogSource(Protocol):
    """A log source with cursor, re-reading bands and gap accounting. Not thread-safe."""

    @property
    def name(self) -> str:
        """The source's name in settings, metrics and evidence."""
        ...

    def poll(self) -> Poll:
        """Read what is due now. Never raises for Loki's sake: a failed read is a status that
        is not ok and a gap, and the cursor stays where it was."""
        ...

    def checkpoint(self) -> Mapping[str, Any]:
        """JSON-serialisable state (cursor, gaps), small; restore() takes it."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a stored checkpoint; damaged state counts as none."""
        ...


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who has shipped lines of any kind within a window of log time that ends now."""

    source: str
    names: frozenset[str]  # as the streams say
    start_ns: int  # the window is (start, end]: each of them was heard after its start,
    end_ns: int  # and at its end at the latest
    bytes_scanned: int = 0


class Coverage(Protocol):
    """Who ships logs at all? Asked now and then, off the fault path. Not thread-safe."""

    @property
    def name(self) -> str:
        """The source's name in settings and metrics."""
        ...

    def ask(self, nodes: Iterable[NodeView]) -> Attendance:
        """Ask now. ``nodes``: whose names are asked for one by one where the answer would be too
        large otherwise. Ends after a bounded time; raises errors of konduktor_health.errors."""
        ...


#: Most results of one node that ``Probes.results`` gives; more only where a single run has more.
MOST_PROBE_RESULTS = 1024


class Probes(Protocol):
    """What the agents on the nodes have measured. Thread-safe, and never blocks: an adapter asks
    the agents in threads of its own and answers from memory, which a restart may lose."""

    def follow(self, stop: threading.Event) -> None:
        """Begin to follow who has an agent, until ``stop`` is set; nobody is asked anything."""
        ...

    def start(self, stop: threading.Event) -> None:
        """Start asking; it ends when ``stop`` is set. ``follow`` comes first."""
        ...

    def agents(self) -> frozenset[str] | None:
        """Names of the nodes on which an agent answers; None: not known yet. One that is silent
        for a moment is still one, failing or not: a node without agents needs less proof."""
        ...

    def results(self, names: Iterable[str]) -> Mapping[str, tuple[ProbeResult, ...]]:
        """The newest MOST_PROBE_RESULTS of each of these nodes, in time order; of a run all or
        nothing, and only once it has ended. A run has an id of its own, a result the node of the
        pod that served it, a check of the whole node the device "". Any result may be told
        again."""
        ...

    def faults(self) -> tuple[Fault, ...]:
        """Faults ``probe/<check>`` of results that failed, and of agents that cannot measure, since
        the last call. Any may be told again after a restart: the ledger knows what was counted."""
        ...

    def standing(self, names: Iterable[str]) -> Mapping[str, AgentStanding]:
        """How the agents of these nodes are doing."""
        ...

    def census(self) -> AgentCensus:
        """Counts over all agents."""
        ...

    def on_news(self, callback: Callable[[Collection[str]], None]) -> None:
        """Register callback(names): these nodes have results that were not told before, or an
        agent more or less. Called on a thread of the adapter."""
        ...


class Diagnoses(Protocol):
    """What DCGM's levels came to on the nodes, for those who read Autopilot's labels."""

    def diagnoses(self, names: Iterable[str]) -> Mapping[str, tuple[Diagnosis, ...]]:
        """Of these nodes, as far as is known."""
        ...

    def on_diagnosis(self, callback: Callable[[str], None]) -> None:
        """Register callback(node): it came to something else there, or is heard of for the first
        time. Called on a thread of the adapter."""
        ...


class NodeFeed(Protocol):
    """The node watch: keeps a bounded cache of managed nodes, up to date by list + watch."""

    def start(self, stop: threading.Event) -> None:
        """Start the watch thread; it ends when ``stop`` is set."""
        ...

    def synced(self) -> bool:
        """True once a first list has been taken up."""
        ...

    def last_error(self) -> Exception | None:
        """Why the feed is not current (an error of ours), or None while it is."""
        ...

    def nodes(self) -> Mapping[str, NodeView]:
        """The managed nodes now (a snapshot that does not change under the caller)."""
        ...

    def resolve(self, name: str) -> str | None:
        """Node name for a name in a log stream: exact, host name, FQDN, address; None: unknown.

        Knows all nodes of the cluster, managed or not."""
        ...

    def put(self, view: NodeView) -> None:
        """Take up our own write before the watch delivers it."""
        ...

    def on_change(self, callback: Callable[[NodeView | None, NodeView | None], None]) -> None:
        """Register callback(old, new); called on the feed's thread for managed nodes."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What an operator asks the running controller for, and the version it was read at."""

    text: str | None  # the annotation; None: nothing is asked
    resource_version: str


class Cluster(Protocol):
    """Reads and compare-and-swap writes. Raises errors of konduktor_health.errors only."""

    def get_node(self, name: str) -> NodeView:
        """A quorum read of one node. NotFound, ClusterUnavailable, ClusterForbidden."""
        ...

    def list_nodes(self) -> list[NodeView]:
        """All nodes of the cluster, managed or not."""
        ...

    def edit_node(self, view: NodeView, edit: NodeEdit) -> NodeView:
        """Apply an edit to exactly the version ``view`` was read at; Conflict otherwise.

        Foreign taints, labels and annotations are preserved. Raises ValueError for an edit
        that touches a taint that is not ours (a bug, never a runtime condition)."""
        ...

    def set_condition(self, view: NodeView, condition: Condition, now_ns: int) -> NodeView:
        """Write our condition (status subresource); other conditions are preserved.
        lastTransitionTime moves only when the status changes."""
        ...

    def clear_condition(self, view: NodeView) -> NodeView:
        """Remove our condition from exactly the version ``view`` was read at; Conflict
        otherwise. Other conditions are preserved."""
        ...

    def publish_event(self, event: PublishEvent, now_ns: int) -> None:
        """Create the Event; one that exists already (same dedupe) is left as it is. One without a
        node is about the namespace of the controller's state."""
        ...

    def read_state(self) -> Mapping[str, Any] | None:
        """The controller's ConfigMap as decoded JSON values; None when there is none."""
        ...

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Create the controller's ConfigMap, or replace the version that was read or written
        last; its annotations stay. Conflict otherwise. The call after a Conflict writes over what
        is there then."""
        ...

    def read_request(self) -> Request | None:
        """What an operator has asked for on the controller's ConfigMap (``Keys.resume``); None
        when there is no ConfigMap."""
        ...

    def write_request(self, request: Request) -> None:
        """Ask for it, at exactly the version that was read; Conflict otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PodOnNode:
    """A pod that runs on a node, or ran there until now."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class PodEvent:
    """An Event on a pod. ``dedupe`` names what happened: the same one is published once."""

    pod: PodOnNode
    reason: str
    message: str
    dedupe: str


class PodsOnNode(Protocol):
    """Who uses the GPUs of a node. Raises errors of konduktor_health.errors."""

    def using_gpus(self, node: str, now_ns: int) -> tuple[PodOnNode, ...]:
        """Pods of the node that ask for GPUs and run, or ended within the last minutes; those
        that run first, at most 64."""
        ...

    def publish(self, event: PodEvent, now_ns: int) -> None:
        """Create the Event (type Warning); one that exists already is left as it is."""
        ...


@dataclass(frozen=True, slots=True)
class OwnObject:
    """An object of ours beside the Nodes, as it was read. Equal means: not written since."""

    kind: str  # "ConfigMap", "Lease" or "Secret"
    namespace: str
    name: str
    uid: str
    resource_version: str
    holder: str = ""  # Lease: who leads; "" when it was released
    duration_s: float | None = None  # Lease: as the holder says
    renewed: str = ""  # Lease: renewTime, raw; not trusted as a time


class Belongings(Protocol):
    """What of ours lies in ``cluster.namespace``, and the keys in that of the agents. Raises errors
    of konduktor_health.errors."""

    @property
    def shard(self) -> str:
        """Whose these are: the shard's value, empty for the one without."""
        ...

    def state(self) -> OwnObject | None:
        """The controller's ConfigMap, or None."""
        ...

    def lease(self) -> OwnObject | None:
        """The Lease, or None."""
        ...

    def signing(self) -> tuple[OwnObject, ...]:
        """The keys that requests to agents are signed with, which all shards share."""
        ...

    def delete(self, found: OwnObject) -> None:
        """Delete exactly the version that was found; Conflict otherwise. Gone is done."""
        ...


class Leadership(Protocol):
    """Leader election."""

    def start(self, stop: threading.Event) -> None:
        """Start renewing in a thread."""
        ...

    def is_leader(self) -> bool:
        """True while we hold an unexpired Lease."""
        ...

    def assert_leader(self) -> None:
        """Raise LeadershipLost unless we lead; called before each effect."""
        ...

    def assert_not_lost(self) -> None:
        """Raise LeadershipLost once somebody else may have led since we did: this process never
        leads again."""
        ...

    def wait_leader(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds to become leader."""
        ...

    def last_error(self) -> Exception | None:
        """Why the Lease can be neither read nor written, or None."""
        ...

    def release(self) -> None:
        """Give the Lease up (holderIdentity ""), so that another replica takes over at once."""
        ...
