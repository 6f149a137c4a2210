"""What have the logs said since the last decision? Entries in, sightings per node out.

Invariants:
- A sighting stays here until the Plan that used it has been applied (``settle``): a failed
  write loses nothing.
- ``oldest_pending_ns`` bounds the cursor that may be checkpointed.
- Memory is bounded: per node by core.fold, over nodes by the cluster's size; kernel lines of
  names that are no managed Node wait for a while (``WaitingRoom``) and are counted per name.
- A line that cannot be decoded is counted and passed: nothing waits behind it.
- Related faults are told as such (``Kin``); a fault that may act never waits for that.
- Markers of a repair are no sightings: they are handed to the core as repairs (``Repairs``).
- Lines that only count are counted apart until what is kept of their node is read (``Runs``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.fold import SightingKey, already_counted, key_of
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.core.roots import add_related, attach_earlier
from konduktor_health.model import Fault, NodeView, Policy, RepairSeen, Sighting, Trust
from konduktor_health.ports import LogEntry, NodeFeed, Poll
from konduktor_health.runtime.again import Runs
from konduktor_health.runtime.aside import Aside
from konduktor_health.runtime.begun import Begun
from konduktor_health.runtime.beside import Beside
from konduktor_health.runtime.boots import BootTimes
from konduktor_health.runtime.coverage import Observation
from konduktor_health.runtime.decoders import Decoders
from konduktor_health.runtime.domains import RecentKinds
from konduktor_health.runtime.fault_counts import FaultCounts, FaultKind
from konduktor_health.runtime.fleet import Change
from konduktor_health.runtime.heard import differ, heard_from, is_marker, is_only_a_fault
from konduktor_health.runtime.kin import Heard, Kin
from konduktor_health.runtime.ledgers import Ledgers
from konduktor_health.runtime.peers import PeerNotes
from konduktor_health.runtime.reboots import Reboots
from konduktor_health.runtime.repairs import Repairs, repair_of
from konduktor_health.runtime.repeats import Repeats
from konduktor_health.runtime.tombstones import Tombstones
from konduktor_health.runtime.waiting import WaitingRoom
from parsers import tables
from parsers.decode import Decoder

MAX_UNKNOWN_NAMES = 1000
MAX_ERRORS_SHOWN = 10
MAX_WAITING_TEXT = 4096  # characters; the kernel's records are shorter
_UNMANAGED = "\0unmanaged"  # names the decoder of lines of no managed node; no source has it
#: The node of a line, the line, its boot, and the start of that by the line alone.
_AtHome = tuple[NodeView, LogEntry, str, int | None]


class Observer:
    """Decodes entries and keeps what the Nodes do not show yet. Used by one thread."""

    def __init__(
        self,
        feed: NodeFeed,
        *,
        clock: Clock,
        opted_out: Callable[[str], bool] = lambda _name: False,
        elsewhere: Callable[[str], bool] = lambda _name: False,
        decoder: Callable[[], Decoder] = lambda: Decoder(tables.recorded()),
        read: tables.Tables | None = None,
        observed: Collection[str] = (),
        surge_window_s: float = 600.0,
        observation: Observation | None = None,
        reboots: Reboots | None = None,
        tombstones: Tombstones | None = None,
        beside: Beside | None = None,
    ) -> None:
        """``read``: the tables that ``decoder`` reads; default: those that are shipped.
        ``observed``: fault ids in observation."""
        self._feed = feed
        self._clock = clock
        self._opted_out = opted_out
        self._elsewhere = elsewhere  # another shard's: its controller hears the line too
        self._read = read or tables.recorded()
        self.observation = observation
        self._reboots = reboots
        self._tombstones = tombstones
        self._beside = beside or Beside()
        self._aside = Aside()
        self._decoders = Decoders(decoder, self._undecoded)
        self._boots = BootTimes()
        self._waiting = WaitingRoom()
        self._repairs = Repairs()
        self._kin = Kin(self._read, observed)
        self._peers = PeerNotes()
        self._accusations: Counter[str] = Counter()
        self.kinds = RecentKinds(surge_window_s)
        self._pending: dict[str, dict[SightingKey, Sighting]] = {}
        self._runs = Runs(self._pending, self._kin, self.kinds)
        self._since: dict[str, int] = {}  # node -> log time of its oldest pending line, ns
        self._ledgers = Ledgers()
        self._begun = Begun(surge_window_s)
        self._faults = FaultCounts()
        self.repeats = Repeats(feed, self._boots, self._decoders, self._runs, self._faults, clock)
        self.floor_ns = 0  # events before it are shown and never act (first look-back)
        self.unknown_names: Counter[str] = Counter()
        self.unknown_lines = 0
        self.unmanaged_faults = 0
        self.missed_records = 0
        self.undecodable = 0

    def use(self, read: tables.Tables, observed: Collection[str] = ()) -> None:
        """Decode by these tables from now on. What is pending, or half assembled, stays."""
        self._runs.end()
        self._read = read
        self._kin.use(read, observed)
        self._decoders.use(read)

    def judge_by(self, policy: Policy) -> None:
        """Judge surges, silence and reboots by this policy from now on. What a shorter window of
        surges has forgotten does not come back."""
        self._begun.use(policy.surge_window_s)
        self.kinds.use(policy.surge_window_s)
        for part in (self.observation, self._reboots):
            if part is not None:
                part.use(policy)

    def hear(self, poll: Poll) -> set[str]:
        """Take a poll: its lines, and what it says of its source. Returns as ``take``."""
        if self.observation is not None:
            self.observation.read(poll.status)
        return self.take(poll.entries)

    def take(self, entries: Iterable[LogEntry]) -> set[str]:
        """Decode entries in order; returns the nodes that have something new to decide."""
        nodes = self._feed.nodes()
        at_home: list[_AtHome] = []
        for entry in entries:
            name = self._feed.resolve(entry.node_name) if entry.node_name else None
            view = nodes.get(name) if name else None
            if name is not None and view is not None:
                boot_id = entry.record.boot_id or view.boot_id
                at_home.append((view, entry, boot_id, self._boots.note(name, boot_id, entry)))
            else:
                self._not_managed(name, entry)
        if self.observation is not None:
            for view, entry, _, _ in at_home:
                if not (entry.pod or entry.trust is Trust.POD):
                    self.observation.heard(entry.source, view.name, entry.time_ns)
        return {each[0].name for each in at_home if self._took(each)}

    def revisit(self) -> set[str]:
        """Take what time or the node watch has brought: lines whose name has become a managed Node,
        faults that have waited for another one long enough, reboots, machines that came back, who
        is heard, what probes have measured. Returns as ``take``."""
        nodes = self._feed.nodes()

        def known(name: str) -> bool:
            return (self._feed.resolve(name) or "") in nodes

        def unwanted(name: str) -> bool:
            node = self._feed.resolve(name) or ""
            return self._opted_out(node) or self._elsewhere(node)

        self._runs.catch_up(self._kin.patient())
        alone = [
            fault.node
            for fault in self._kin.overdue(self._clock.now_ns())
            if fault.node in nodes and self._keep(fault, nodes[fault.node])
        ]
        due = self.take(self._waiting.leave(known, unwanted, self._clock.monotonic()))
        nothing: list[Fault] = []
        for fault in self._aside.ask("reboots", lambda: self._reboot_faults(nodes), nothing):
            self._runs.catch_up((fault.node,))
            if self._keep(fault, nodes[fault.node]):
                due.add(fault.node)
        due |= self._tombstones.due() if self._tombstones else set()
        if self.observation is not None:
            due |= self._aside.ask("who is heard", self.observation.look, set())
        due |= self._look_beside(nodes)
        return due.union(alone)

    def sightings(self, names: Collection[str]) -> dict[str, tuple[Sighting, ...]]:
        """Pending sightings of these nodes."""
        self._runs.catch_up(names)
        return {
            name: tuple(self._pending[name].values()) for name in names if name in self._pending
        }

    def repairs(self, names: Iterable[str]) -> dict[str, tuple[RepairSeen, ...]]:
        """Repairs that the kernels of these nodes have told of lately, settled or not: a line of
        before a repair may be read after it."""
        return self._repairs.of(names, self._clock.now_ns())

    def remarks(self, name: str) -> tuple[str, ...]:
        """What others say about a node: it supports records, and opens none."""
        return self._peers.remarks(name, self._clock.now_ns())

    def pending_nodes(self) -> int:
        """How many nodes have sightings that are not on the Node yet."""
        return len(self._pending)

    def settle(self, names: Iterable[str]) -> None:
        """The Nodes show these sightings now (or need not)."""
        for name in names:
            self._pending.pop(name, None)
            self._since.pop(name, None)

    def follow(self, changes: Mapping[str, Change]) -> None:
        """Nodes have changed: a gone one is forgotten, a reset or new one starts afresh."""
        for name, change in changes.items():
            old, new = change.old, change.new
            self._runs.catch_up((name,))
            if new is None or (old is not None and old.uid != new.uid):
                self._beside.forget(name)
            if new is None:
                self.settle([name])
                self._ledgers.forget(name)
                self._runs.end((name,))
                self._repairs.forget(name)
                self._kin.forget(name)
                self._peers.forget(name)
            elif old is not None and old.uid != new.uid:
                self._repairs.forget(name)
                self._kin.forget(name)
                self._peers.forget(name)
                self._forget_until(name, new.created_ns)
            elif old is not None and old.reset_at != new.reset_at:
                reset = parse_reset_at(new.reset_at)
                self._kin.forget(name)
                self._peers.forget(name)
                self._forget_until(name, reset.time_ns if reset else 0)

    def oldest_pending_ns(self) -> int | None:
        """Log time from which the log must be read again after a crash; None: nothing pending."""
        waiting_ns = self._waiting.oldest_ns()
        others = [waiting_ns, self._kin.oldest_ns()]
        times = [*self._since.values(), *(each for each in others if each is not None)]
        return min(times, default=None)

    def fatal_sightings(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Per fault id the nodes on which it began within the surge window."""
        return self._begun.now(now_ns)

    def waits_since_ns(self) -> int | None:
        """Log time of the oldest fault that waits for another one; None: none waits."""
        return self._kin.oldest_ns()

    def drain_faults(self) -> Counter[FaultKind]:
        """Faults counted since the last call."""
        return self._faults.drain()

    def drain_accusations(self) -> Counter[str]:
        """Pods' lines that named a peer since the last call: ``node`` or ``unknown``."""
        drained, self._accusations = self._accusations, Counter()
        return drained

    def drain_relations(self) -> Counter[str]:
        """Relations between faults found since the last call, by kind."""
        return self._kin.drain_found()

    def _not_managed(self, name: str | None, entry: LogEntry) -> None:
        if name is not None and self._elsewhere(name):
            return
        tidings = entry.record.heartbeat or bool(entry.record.missed)
        kernel = not (entry.pod or entry.trust is Trust.POD or tidings)
        if name is None:
            self.unknown_lines += 1
            shown = entry.node_name or "(none)"
            if shown in self.unknown_names or len(self.unknown_names) < MAX_UNKNOWN_NAMES:
                self.unknown_names[shown] += 1
        else:  # decoded for the count alone: a decoder of its own, it is fed again later
            found = self._decoders.faults(_UNMANAGED, entry, name)
            self.unmanaged_faults += sum(not is_marker(fault, self._read) for fault in found)
        short = len(entry.record.text) <= MAX_WAITING_TEXT
        if kernel and short and entry.node_name and not (name and self._opted_out(name)):
            self._waiting.add(entry, self._clock.monotonic())

    def _reboot_faults(self, nodes: Mapping[str, NodeView]) -> list[Fault]:
        return self._reboots.faults(nodes, self._ledgers.of, len(nodes)) if self._reboots else []

    def _look_beside(self, nodes: Mapping[str, NodeView]) -> set[str]:
        """Take what tells of nodes beside their logs."""
        found = self._beside.look(nodes, self._ledgers.of, self._is_pending)
        now_ns = self._clock.now_ns()
        self._runs.catch_up({fault.node for fault in found.faults})
        due = {fault.node for fault in found.faults if self._keep(fault, nodes[fault.node])}
        due |= {name for name, seen in found.repairs if self._repairs.note(name, seen, now_ns)}
        due |= found.answered & self._pending.keys()
        due |= found.unlabelled
        return due | {name for name in found.measured if self._ledgers.of(nodes[name]).records}

    def _is_pending(self, fault: Fault) -> bool:
        return any(key[:2] == fault.key for key in self._pending.get(fault.node, ()))

    def _took(self, line: _AtHome) -> bool:
        """As ``_take_one``; a bug there costs its line, and those before it stay due."""
        try:
            return self._take_one(*line)
        except Exception as error:
            name = line[0].name
            self._undecoded(name, error)
            return name in self._pending

    def _undecoded(self, name: str, error: Exception) -> None:
        self.undecodable += 1
        if self.undecodable <= MAX_ERRORS_SHOWN:
            logger.bind(node=name).opt(exception=error).error("bug: a line was not decoded")

    def _take_one(
        self, view: NodeView, entry: LogEntry, boot_id: str, start_ns: int | None
    ) -> bool:
        """Decode one entry of a managed node; True when there is something new to decide. What
        only counts up a sighting that was decided and still waits is nothing new: the decision
        would be the same, and the node is looked at again when the wait is over."""
        name = view.name
        self.missed_records += entry.record.missed
        decoded = self._decoders.faults(entry.source, entry, name)
        if not decoded:
            return False
        event_ns = self._boots.event_ns(name, boot_id, entry, start_ns)
        again = self._runs.count(decoded, entry, event_ns, view, self._clock.now_ns())
        if again is not None:
            self._faults.add(*again)
            return False
        faults = [heard_from(fault, name, entry, event_ns) for fault in decoded]
        self._beside.ask(faults, view, entry, self._ledgers.of)
        news = [self._take_fault(fault, view) for fault in faults]
        first = faults[0]
        only = len(faults) == 1 and first.event_ns >= self.floor_ns
        if only and is_only_a_fault(first, self._read) and not self._beside.asks(first):
            self._runs.begin(decoded[0], first, entry, view, self._ledgers.of(view))
        return any(news)

    def _take_fault(self, fault: Fault, view: NodeView) -> bool:
        """What one fault says: about a peer, a repair, its node. True when there is news."""
        self._note_peer(fault)
        repaired = self._keep_repair(fault, view)
        return self._keep_heard(fault, self._kin.hear(fault), view) or repaired

    def _keep_heard(self, fault: Fault, heard: Heard | None, view: NodeView) -> bool:
        """Keep what is no marker; attach what was kept before. True when there is news."""
        if heard is None:
            return not is_marker(fault, self._read) and self._keep(fault, view)
        kept = [self._keep(fault, view) for fault in heard.keep if not is_marker(fault, self._read)]
        if not heard.followers:
            return any(kept)
        pending = self._pending.get(view.name, {})
        changed = [attach_earlier(pending, earlier, root) for earlier, root in heard.followers]
        return any(kept) or any(changed)

    def _note_peer(self, fault: Fault) -> None:
        """A pod's line that blames another node is noted there, as far as the node is known."""
        peer = fault.detail.get("peer", "") if fault.trust is Trust.POD else ""
        if peer and is_marker(fault, self._read):
            accused = self._feed.resolve(peer.partition("%")[0])
            self._accusations["unknown" if accused is None else "node"] += 1
            if accused is not None:
                self._peers.note(accused, fault.node, fault.time_ns)

    def _keep_repair(self, fault: Fault, view: NodeView) -> bool:
        """True when a repair was told of that there is something to do about."""
        seen = repair_of(fault, self._read)
        if seen is None or not self._repairs.note(view.name, seen, self._clock.now_ns()):
            return False
        concerned = view.ledger is not None or view.name in self._pending
        if concerned:
            self._note_time(view.name, fault)
        return concerned

    def _note_time(self, name: str, fault: Fault) -> None:
        if fault.trust is Trust.PROBE:
            return
        known_ns = self._since.get(name)
        if known_ns is None or fault.time_ns < known_ns:
            self._since[name] = fault.time_ns

    def _keep(self, fault: Fault, view: NodeView) -> bool:
        ledger = self._ledgers.of(view)
        if already_counted(ledger, fault, view.boot_id):
            return False
        self._faults.add(fault, fault.count)
        acting = fault.event_ns >= self.floor_ns
        pending = self._pending.setdefault(view.name, {})
        if acting:
            self._begun.note(fault, view.name, pending, ledger, self._clock.now_ns())
            self.kinds.note(fault, view.name, self._clock.now_ns())
        key = key_of(fault, acting)
        before = pending.get(key)
        add_related(pending, fault, acting, key)
        self._note_time(view.name, fault)
        return before is None or differ(before, pending.get(key))

    def _forget_until(self, name: str, until_ns: int) -> None:
        """What was seen up to then is history: of another Node, or an operator vouched for it."""
        kept = self._pending.get(name, {})
        left = {key: seen for key, seen in kept.items() if seen.last_ns > until_ns}
        if left:
            self._pending[name] = left
        else:
            self.settle([name])
