"""What do the faults of a node say together? Faults in, Findings out; nothing here acts.

``Relations`` is fed Faults in the order of their time, per node. What a program wrote into the
kernel log is related to its like only, so that a program can neither excuse nor accuse; a pod's
lines are related to nothing. The rules, with their sources, stand in the modules that hold them:

======================  ==================================================================
``relate_events``       one event told in several faults; Xid 45 and what it follows
``relate_repeats``      the same fault in the same place
``relate_memory``       row remapping: Xid 48, 63, 64, 94, 95, 140, 160, 171, 172, 177
``relate_states``       begin and end, the driver's order, reset and reboot
======================  ==================================================================

Memory is bounded, whatever is fed: by nodes (the least recently seen goes first), and within a
node by each of these.
"""

from __future__ import annotations

from parsers.fault import Fault, Trust
from parsers.finding import Finding, Kind
from parsers.instant import Instant, Recent
from parsers.relate_events import FOLLOW_ANY, Events, may_follow
from parsers.relate_memory import ABOUT_MEMORY, MemoryFaults
from parsers.relate_repeats import Repeats
from parsers.relate_states import Repairs, States
from parsers.tables import Tables

__all__ = ["Finding", "Kind", "Relations", "follows_any", "is_about_memory"]


#: So long a burst may last before its newest line is looked at: less than what ends a burst of one
#: job (``relate_repeats.BURST_S``), so that a repeat is told from it as line by line.
_BURST_NS = 120 * 10**9


def follows_any(fault: Fault) -> bool:
    """Should this Fault follow another one of its GPU, whichever that is?"""
    return fault.fault_id in FOLLOW_ANY


def is_about_memory(fault_id: str) -> bool:
    """Does this fault count together with other memory faults of its GPU?"""
    return fault_id in ABOUT_MEMORY


class Relations:
    """What was seen of many nodes; remembers at most ``nodes`` of them. ``read``: the tables that
    the faults were decoded with; default: the shipped ones."""

    def __init__(self, nodes: int = 4096, read: Tables | None = None) -> None:
        self._read = read
        self._nodes: Recent[tuple[str, bool], _Node] = Recent(nodes)
        self._count = 0

    def feed(self, fault: Fault) -> list[Finding]:
        """What this Fault shows together with earlier ones. Never raises."""
        if fault.trust is Trust.POD:
            return []
        self._count += 1
        key = (fault.node, fault.injected)
        node = self._nodes.get(key)
        if node is None:
            node = _Node(self._read)
            self._nodes.put(key, node)
        elif node.is_burst(fault):
            node.put_off(fault, self._count)
            return []
        return node.feed(fault, self._count)

    def put_off_until(self, fault: Fault) -> tuple[int, int | None] | None:
        """Up to which event time (ns) and uptime a line like this one, which was fed last of its
        node, would be put off unless it is earlier; None: it would be looked at."""
        node = self._nodes.get((fault.node, fault.injected))
        return None if node is None else node.put_off_until(fault)

    def put_off(self, fault: Fault, lines: int) -> None:
        """As ``feed`` of so many lines within ``put_off_until``, of which this is the last."""
        self._count += lines
        node = self._nodes.get((fault.node, fault.injected))
        if node is not None:
            node.put_off(fault, self._count)

    def touch(self, fault: Fault) -> bool:
        """The node was heard of: it is not the first to be forgotten. False: it was already."""
        return self._nodes.get((fault.node, fault.injected)) is not None

    def knows(self, fault: Fault) -> bool:
        """Something is kept of the node. Changes nothing."""
        return (fault.node, fault.injected) in self._nodes

    def settle(self, time_ns: int = 0) -> list[Finding]:
        """What is known because nothing more came until ``time_ns`` (log time, Unix ns; 0 is the
        end of everything): the faults that should have followed another one and stand alone."""
        at = Instant(time_ns) if time_ns else None
        return [found for node in self._nodes.values() for found in node.settle(at)]

    def settle_node(self, name: str, time_ns: int) -> list[Finding]:
        """The same for one node: its cost does not grow with the number of nodes."""
        at = Instant(time_ns)
        nodes = (self._nodes.get((name, injected)) for injected in (False, True))
        return [found for node in nodes if node is not None for found in node.settle(at)]

    def forget(self, name: str) -> None:
        """The node is another one, or somebody has vouched for it: what was seen is history."""
        for injected in (False, True):
            self._nodes.drop((name, injected))


class _Node:
    """What was seen of one node.

    A line that only repeats the one before it, within seconds, says nothing new: the last of such
    a burst is looked at when something else comes, and stands for all of them."""

    def __init__(self, read: Tables | None) -> None:
        self._first: Fault | None = None  # looked at last, if lines like it may be put off
        self._put_off: tuple[Fault, int] | None = None
        self.events = Events()
        self._repeats = Repeats()
        self._memory = MemoryFaults()
        self._states = States()
        self._repairs = Repairs(read)

    def is_burst(self, fault: Fault) -> bool:
        """Is this the line before it once more, a moment later?"""
        first = self._first
        if first is None or fault.fault_id != first.fault_id or fault.device != first.device:
            return False
        before = first if self._put_off is None else self._put_off[0]
        return (
            _is_soon(first, before, fault)
            and fault.boot_id == first.boot_id
            and fault.severity is first.severity
            and fault.remedy is first.remedy
            and fault.detail == first.detail
        )

    def put_off_until(self, fault: Fault) -> tuple[int, int | None] | None:
        """As ``Relations.put_off_until``; ``is_burst`` has the same bounds."""
        first = self._first
        last = first if self._put_off is None else self._put_off[0]
        if first is None or last is not fault:
            return None
        first_ns = first.event_ns or first.time_ns
        until_us = None if first.uptime_us is None else first.uptime_us + _BURST_NS // 1000
        return (first_ns + _BURST_NS, until_us) if first_ns else None

    def put_off(self, fault: Fault, count: int) -> None:
        """Look at it later."""
        self._put_off = fault, count

    def feed(self, fault: Fault, count: int) -> list[Finding]:
        """What a Fault says that comes now; ``count``: how many came before it."""
        found = self._catch_up()
        said = self._look_at(fault, count)
        told = bool(said) or may_follow(fault.fault_id) or self.events.is_open
        # a boot is not seen by a late line, but by the next one that is not
        self._first = None if told or self._repairs.is_behind else fault
        return found + said if found else said

    def settle(self, at: Instant | None) -> list[Finding]:
        """What is known because nothing more came until then."""
        return self._catch_up() + self.events.settle(at)

    def _catch_up(self) -> list[Finding]:
        if self._put_off is None:
            return []
        fault, count = self._put_off
        self._put_off = None
        return self._look_at(fault, count)

    def _look_at(self, fault: Fault, count: int) -> list[Finding]:
        at = Instant(fault.event_ns or fault.time_ns, fault.uptime_us, fault.boot_id, count)
        found: list[Finding] = []
        repair = self._repairs.seen_by(fault, at)
        if repair is not None:
            self._memory.forget()
            found = self._states.over_by(repair)
        return [
            *self._repairs.feed(fault, at, repair),
            *found,
            *self.events.feed(fault, at),
            *self._repeats.feed(fault, at),
            *self._memory.feed(fault),
            *self._states.feed(fault),
        ]


def _is_soon(first: Fault, before: Fault, fault: Fault) -> bool:
    """Not before the one before, and soon after the first, by both clocks."""
    first_ns = first.event_ns or first.time_ns
    before_ns = before.event_ns or before.time_ns
    if not first_ns or not before_ns <= (fault.event_ns or fault.time_ns) <= first_ns + _BURST_NS:
        return False
    if first.uptime_us is None or before.uptime_us is None or fault.uptime_us is None:
        return first.uptime_us is before.uptime_us is fault.uptime_us
    return before.uptime_us <= fault.uptime_us <= first.uptime_us + _BURST_NS // 1000
