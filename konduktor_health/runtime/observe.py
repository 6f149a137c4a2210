"""What have the logs said since the last decision? Entries in, sightings per node out.

Invariants:
- A sighting stays here until the Plan that used it has been applied (``settle``): a failed
  write loses nothing.
- ``oldest_pending_ns`` bounds the cursor that may be checkpointed.
- Memory is bounded: per node by core.fold, over nodes by the cluster's size; kernel lines of
  names that are no managed Node wait for a while (``WaitingRoom``) and are counted per name.
- A line that cannot be decoded is counted and passed: nothing waits behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from loguru import logger

from konduktor_health.clock import Clock
from konduktor_health.core.assess import read_ledger
from konduktor_health.core.fold import SightingKey, add, already_counted, key_of
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.model import Fault, NodeView, Severity, Sighting, Trust
from konduktor_health.ports import LogEntry, NodeFeed
from konduktor_health.runtime.boots import BootTimes
from konduktor_health.runtime.fleet import Change
from konduktor_health.runtime.waiting import WaitingRoom
from konduktor_health.timestamps import NS
from parsers import tables
from parsers.decode import Decoder

MAX_UNKNOWN_NAMES = 1000
MAX_FAULT_KINDS = 2000
MAX_ERRORS_SHOWN = 10
MAX_WAITING_TEXT = 4096  # characters; the kernel's records are shorter

FaultKind = tuple[str, str, str]  # (fault id, severity, source)


class Observer:
    """Decodes entries and keeps what the Nodes do not show yet. Used by one thread."""

    def __init__(
        self,
        feed: NodeFeed,
        *,
        clock: Clock,
        opted_out: Callable[[str], bool] = lambda _name: False,
        decoder: Callable[[], Decoder] = lambda: Decoder(tables.recorded()),
        surge_window_s: float = 600.0,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._opted_out = opted_out
        self._new_decoder = decoder
        self._decoders: dict[str, Decoder] = {}
        self._boots = BootTimes()
        self._waiting = WaitingRoom()
        self._pending: dict[str, dict[SightingKey, Sighting]] = {}
        self._since: dict[str, int] = {}  # node -> log time of its oldest pending line, ns
        self._ledgers: dict[str, tuple[str | None, str, Ledger]] = {}
        self._fatal: dict[str, dict[str, int]] = {}  # fault id -> node -> when it began, ns
        self._surge_window_ns = int(surge_window_s * NS)
        self._faults: Counter[tuple[str, Severity, str]] = Counter()
        self.floor_ns = 0  # events before it are shown and never act (first look-back)
        self.unknown_names: Counter[str] = Counter()
        self.unknown_lines = 0
        self.unmanaged_faults = 0
        self.missed_records = 0
        self.undecodable = 0

    def use(self, read: tables.Tables) -> None:
        """Decode by these tables from now on. What is pending, or half assembled, stays."""
        self._new_decoder = lambda: Decoder(read)
        for decoder in self._decoders.values():
            decoder.use(read)

    def take(self, entries: Iterable[LogEntry]) -> set[str]:
        """Decode entries in order; returns the nodes that have something new to decide."""
        nodes = self._feed.nodes()
        at_home: list[tuple[str, NodeView, LogEntry]] = []
        for entry in entries:
            name = self._feed.resolve(entry.node_name) if entry.node_name else None
            view = nodes.get(name) if name else None
            if name is not None and view is not None:
                at_home.append((name, view, entry))
            else:
                self._not_managed(name, entry)
        for name, view, entry in at_home:
            self._boots.note(name, entry.record.boot_id or view.boot_id, entry)
        return {name for name, view, entry in at_home if self._take_one(name, view, entry)}

    def revisit(self) -> set[str]:
        """Take lines whose name has become a managed Node since; returns as ``take``."""

        nodes = self._feed.nodes()

        def known(name: str) -> bool:
            return (self._feed.resolve(name) or "") in nodes

        def unwanted(name: str) -> bool:
            return self._opted_out(self._feed.resolve(name) or "")

        return self.take(self._waiting.leave(known, unwanted, self._clock.monotonic()))

    def sightings(self, names: Iterable[str]) -> dict[str, tuple[Sighting, ...]]:
        """Pending sightings of these nodes."""
        return {
            name: tuple(self._pending[name].values()) for name in names if name in self._pending
        }

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
            if new is None:
                self.settle([name])
                self._ledgers.pop(name, None)
            elif old is not None and old.uid != new.uid:
                self._forget_until(name, new.created_ns)
            elif old is not None and old.reset_at != new.reset_at:
                reset = parse_reset_at(new.reset_at)
                self._forget_until(name, reset.time_ns if reset else 0)

    def oldest_pending_ns(self) -> int | None:
        """Log time from which the log must be read again after a crash; None: nothing pending."""
        waiting_ns = self._waiting.oldest_ns()
        times = [*self._since.values(), *([] if waiting_ns is None else [waiting_ns])]
        return min(times, default=None)

    def fatal_sightings(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Per fault id the nodes on which it began, as fatal, within the surge window. What
        counts is when we heard of it: after an outage a mass event arrives late, and at once."""
        oldest = now_ns - self._surge_window_ns
        for fault_id, nodes in list(self._fatal.items()):
            for name in [name for name, began_ns in nodes.items() if began_ns < oldest]:
                del nodes[name]
            if not nodes:
                del self._fatal[fault_id]
        return self._fatal

    def drain_faults(self) -> Counter[FaultKind]:
        """Faults counted since the last call."""
        drained, self._faults = self._faults, Counter()
        return Counter({(kind[0], kind[1].value, kind[2]): n for kind, n in drained.items()})

    def _not_managed(self, name: str | None, entry: LogEntry) -> None:
        tidings = entry.record.heartbeat or bool(entry.record.missed)
        kernel = not (entry.pod or entry.trust is Trust.POD or tidings)
        if name is None:
            self.unknown_lines += 1
            shown = entry.node_name or "(none)"
            if shown in self.unknown_names or len(self.unknown_names) < MAX_UNKNOWN_NAMES:
                self.unknown_names[shown] += 1
        else:  # decoded for the count alone: a decoder of its own, it is fed again later
            self.unmanaged_faults += len(self._faults_of("unmanaged", entry, name))
        short = len(entry.record.text) <= MAX_WAITING_TEXT
        if kernel and short and entry.node_name and not (name and self._opted_out(name)):
            self._waiting.add(entry, self._clock.monotonic())

    def _take_one(self, name: str, view: NodeView, entry: LogEntry) -> bool:
        """Decode one entry of a managed node; True when there is something new to decide. What
        only counts up a sighting that was decided and still waits is nothing new: the decision
        would be the same, and the node is looked at again when the wait is over."""
        self.missed_records += entry.record.missed
        decoded = self._faults_of(f"source {entry.source}", entry, name)
        if not decoded:
            return False
        boot_id = entry.record.boot_id or view.boot_id
        event_ns = self._boots.event_ns(name, boot_id, entry)
        faults = [_heard(fault, name, entry, event_ns) for fault in decoded]
        kept = [self._keep(fault, view) for fault in faults]
        return any(kept)

    def _faults_of(self, decoder_name: str, entry: LogEntry, name: str) -> list[Fault]:
        decoder = self._decoders.get(decoder_name)
        if decoder is None:
            decoder = self._decoders[decoder_name] = self._new_decoder()
        feed = decoder.feed_pod if entry.pod else decoder.feed
        try:
            return feed(entry.record, name, entry.time_ns)
        except Exception as error:  # a parser's bug must cost its line and nothing else
            self.undecodable += 1
            if self.undecodable <= MAX_ERRORS_SHOWN:
                logger.bind(node=name).opt(exception=error).error("bug: a line was not decoded")
            return []

    def _keep(self, fault: Fault, view: NodeView) -> bool:
        ledger = self._ledger(view)
        if already_counted(ledger, fault, view.boot_id):
            return False
        kind = (fault.fault_id, fault.severity, fault.source)
        if len(self._faults) >= MAX_FAULT_KINDS and kind not in self._faults:
            kind = ("other", fault.severity, fault.source)
        self._faults[kind] += fault.count
        acting = fault.event_ns >= self.floor_ns
        pending = self._pending.setdefault(view.name, {})
        if fault.severity is Severity.FATAL and fault.trust is not Trust.POD and acting:
            known = any(key[1] == fault.fault_id for key in pending) or any(
                record.fault_id == fault.fault_id for record in ledger.records
            )
            if not known:
                began = self._fatal.setdefault(fault.fault_id, {})
                began.setdefault(view.name, self._clock.now_ns())
        key = key_of(fault, acting)
        before = pending.get(key)
        add(pending, fault, acting)
        self._since[view.name] = min(fault.time_ns, self._since.get(view.name, fault.time_ns))
        return before is None or _differ(before, pending.get(key))

    def _forget_until(self, name: str, until_ns: int) -> None:
        """What was seen up to then is history: of another Node, or an operator vouched for it."""
        kept = self._pending.get(name, {})
        left = {key: seen for key, seen in kept.items() if seen.last_ns > until_ns}
        if left:
            self._pending[name] = left
        else:
            self.settle([name])

    def _ledger(self, view: NodeView) -> Ledger:
        """The node's ledger, parsed once per version of the annotation."""
        known = self._ledgers.get(view.name)
        if known and known[0] == view.ledger and known[1] == view.uid:
            return known[2]
        ledger, _ = read_ledger(view)
        self._ledgers[view.name] = (view.ledger, view.uid, ledger)
        return ledger


def _heard(fault: Fault, name: str, entry: LogEntry, event_ns: int) -> Fault:
    """The decoded fault with what the stream tells. ``dataclasses.replace`` would take longer than
    to decode the line."""
    record = entry.record
    return Fault(
        fault.fault_id,
        fault.severity,
        fault.remedy,
        fault.device,
        name,
        entry.time_ns,
        event_ns,
        record.uptime_us,
        record.boot_id,
        entry.identity,
        fault.injected,
        entry.source,
        Trust.POD if entry.pod else entry.trust,
        fault.text,
        max(1, record.repeated),
        fault.detail,
    )


def _differ(one: Sighting, other: Sighting | None) -> bool:
    """In more than counts and times."""
    if other is None:
        return True
    ours, others = one.fault, other.fault
    return (
        ours.severity is not others.severity
        or ours.remedy is not others.remedy
        or one.episodes != other.episodes
    )
