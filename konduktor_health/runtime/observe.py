"""What have the logs said since the last decision? Entries in, sightings per node out.

Invariants:
- A sighting stays here until the Plan that used it has been applied (``settle``): a failed
  write loses nothing.
- ``oldest_pending_ns`` bounds the cursor that may be checkpointed.
- Memory is bounded: per node by core.fold, over nodes by the cluster's size; entries of
  names that are no Node are counted per name (bounded), not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from konduktor_health.core.decide import read_ledger
from konduktor_health.core.fold import add, already_counted
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.model import Fault, NodeView, Severity, Sighting, Trust
from konduktor_health.ports import LogEntry, NodeFeed
from konduktor_health.runtime.fleet import Change
from konduktor_health.timestamps import NS
from parsers.decode import Decoder

MAX_UNKNOWN_NAMES = 1000
MAX_BOOTS = 200_000


@dataclass(slots=True)
class BootTimes:
    """Event time of lines that carry an uptime: the boot's start is the smallest log time minus
    uptime seen in that boot (DESIGN, "Event time"); it only ever moves back."""

    starts: dict[tuple[str, str], int] = field(default_factory=dict)

    def event_ns(self, node: str, boot_id: str, entry: LogEntry) -> int:
        """Event time of an entry, Unix ns; never after its log time."""
        if entry.record.time_ns is not None:
            return (
                min(entry.record.time_ns, entry.time_ns) if entry.time_ns else entry.record.time_ns
            )
        if entry.record.uptime_us is None:
            return entry.time_ns
        start = entry.time_ns - entry.record.uptime_us * 1000
        key = (node, boot_id)
        start = min(start, self.starts.get(key, start))
        if key not in self.starts and len(self.starts) >= MAX_BOOTS:
            self.starts.pop(next(iter(self.starts)))
        self.starts[key] = start
        return start + entry.record.uptime_us * 1000


class Observer:
    """Decodes entries and keeps what the Nodes do not show yet. Used by one thread."""

    def __init__(
        self,
        feed: NodeFeed,
        *,
        decoder: Callable[[], Decoder] = Decoder,
        surge_window_s: float = 600.0,
    ) -> None:
        self._feed = feed
        self._new_decoder = decoder
        self._decoders: dict[str, Decoder] = {}
        self._boots = BootTimes()
        self._pending: dict[str, dict[tuple[str, str], Sighting]] = {}
        self._ledgers: dict[str, tuple[str | None, str, Ledger]] = {}
        self._fatal: dict[str, dict[str, int]] = {}
        self._surge_window_ns = int(surge_window_s * NS)
        self.floor_ns = 0  # events before it are shown and never act (first look-back)
        self.unknown_names: Counter[str] = Counter()
        self.unmanaged_faults = 0
        self.faults: Counter[tuple[str, str, str]] = Counter()  # (fault id, severity, source)
        self.missed_records = 0
        self.heard: dict[str, int] = {}  # node -> newest log time from it, ns

    def take(self, entries: Iterable[LogEntry]) -> set[str]:
        """Decode entries in order; returns the nodes that have something new to decide."""
        nodes = self._feed.nodes()
        touched: set[str] = set()
        for entry in entries:
            name = self._node_of(entry)
            if name is None:
                continue
            self.missed_records += entry.record.missed
            for fault in self._decode(entry, name):
                view = nodes.get(name)
                if view is None:
                    self.unmanaged_faults += 1
                elif self._keep(fault, view):
                    touched.add(name)
        return touched

    def sightings(self, names: Iterable[str]) -> dict[str, tuple[Sighting, ...]]:
        """Pending sightings of these nodes."""
        return {
            name: tuple(self._pending[name].values()) for name in names if name in self._pending
        }

    def pending(self) -> frozenset[str]:
        """Nodes that have sightings which are not on the Node yet."""
        return frozenset(self._pending)

    def settle(self, names: Iterable[str]) -> None:
        """The Nodes show these sightings now (or need not)."""
        for name in names:
            self._pending.pop(name, None)

    def follow(self, changes: Mapping[str, Change]) -> None:
        """Nodes have changed: a gone one is forgotten, a reset one starts afresh."""
        for name, change in changes.items():
            if change.new is None:
                self._pending.pop(name, None)
                self._ledgers.pop(name, None)
                self.heard.pop(name, None)
            elif change.old is not None and change.old.reset_at != change.new.reset_at:
                self._forget_before_reset(change.new)

    def _forget_before_reset(self, view: NodeView) -> None:
        """An operator has reset the node: what was seen before is history."""
        reset = parse_reset_at(view.reset_at)
        kept = self._pending.get(view.name)
        if reset is None or kept is None:
            return
        left = {key: seen for key, seen in kept.items() if seen.last_ns > reset.time_ns}
        if left:
            self._pending[view.name] = left
        else:
            del self._pending[view.name]

    def oldest_pending_ns(self) -> int | None:
        """Log time from which the log must be read again after a crash; None: nothing pending."""
        times = (seen.first_ns for kept in self._pending.values() for seen in kept.values())
        return min(times, default=None)

    def fatal_sightings(self, now_ns: int) -> Mapping[str, Mapping[str, int]]:
        """Per fault id the nodes that showed it as fatal within the surge window."""
        oldest = now_ns - self._surge_window_ns
        for fault_id in list(self._fatal):
            nodes = {n: seen for n, seen in self._fatal[fault_id].items() if seen >= oldest}
            if nodes:
                self._fatal[fault_id] = nodes
            else:
                del self._fatal[fault_id]
        return self._fatal

    def _node_of(self, entry: LogEntry) -> str | None:
        name = self._feed.resolve(entry.node_name) if entry.node_name else None
        if name is None:
            shown = entry.node_name or "(none)"
            if shown in self.unknown_names or len(self.unknown_names) < MAX_UNKNOWN_NAMES:
                self.unknown_names[shown] += 1
            return None
        self.heard[name] = max(entry.time_ns, self.heard.get(name, 0))
        return name

    def _decode(self, entry: LogEntry, name: str) -> list[Fault]:
        decoder = self._decoders.get(entry.source)
        if decoder is None:
            decoder = self._decoders[entry.source] = self._new_decoder()
        feed = decoder.feed_pod if entry.pod else decoder.feed
        faults = feed(entry.record, name, entry.time_ns)
        if not faults:
            return []
        view = self._feed.nodes().get(name)
        boot_id = entry.record.boot_id or (view.boot_id if view else "")
        event_ns = self._boots.event_ns(name, boot_id, entry)
        return [
            replace(
                fault,
                node=name,
                time_ns=entry.time_ns,
                event_ns=event_ns,
                uptime_us=entry.record.uptime_us,
                boot_id=entry.record.boot_id,
                identity=entry.identity,
                source=entry.source,
                trust=Trust.POD if entry.pod else entry.trust,
                count=max(1, entry.record.repeated),
            )
            for fault in faults
        ]

    def _keep(self, fault: Fault, view: NodeView) -> bool:
        if already_counted(self._ledger(view), fault, view.boot_id):
            return False
        self.faults[(fault.fault_id, fault.severity.value, fault.source)] += fault.count
        acting = fault.event_ns >= self.floor_ns
        add(self._pending.setdefault(view.name, {}), fault, acting)
        if fault.severity is Severity.FATAL and fault.trust is not Trust.POD and acting:
            nodes = self._fatal.setdefault(fault.fault_id, {})
            nodes[view.name] = max(fault.event_ns, nodes.get(view.name, 0))
        return True

    def _ledger(self, view: NodeView) -> Ledger:
        """The node's ledger, parsed once per version of the annotation."""
        known = self._ledgers.get(view.name)
        if known and known[0] == view.ledger and known[1] == view.uid:
            return known[2]
        ledger, _ = read_ledger(view)
        self._ledgers[view.name] = (view.ledger, view.uid, ledger)
        return ledger
