"""Which events do the faults of a log come to, per device? What ``scan --output summary`` shows.

Findings (``parsers.relate``) say what belongs together: what follows a fault is counted with it, a
fault that is told in steps is one event, and what a repair ended is known. Memory is bounded by
devices and events, not by the log; what has no room is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from parsers.fault import Fault, Remedy, Severity, Trust
from parsers.finding import Finding, Kind
from parsers.relate import Relations
from parsers.relate_memory import ABOUT_MEMORY
from parsers.scan import ScanHit
from parsers.tables import Tables

_DEVICES = 4096
_EVENTS = 64  # of one device
_WITH = 32  # kinds of fault that are counted with an event
#: The driver's directive.
ORDER = "xid/154"
_ESCALATES = (Kind.REPEATED, Kind.RETURNED, Kind.ALONE)
#: What was seen that repairs what asks for the remedy. No line of a log proves the others.
_DONE_BY = {
    Remedy.RESTART_APP: (Remedy.REBOOT, Remedy.RESET_GPU),
    Remedy.RESET_GPU: (Remedy.REBOOT, Remedy.RESET_GPU),
    Remedy.DRAIN_RESET: (Remedy.REBOOT, Remedy.RESET_GPU),
    Remedy.REBOOT: (Remedy.REBOOT,),
}

_Key = tuple[str, str, str, bool, bool]  # node, device, fault id, injected, of a pod


@dataclass(slots=True)
class Event:
    """What happened to one device: a fault, how often, and what belongs to it."""

    fault: Fault  # the first
    first: str  # where: line, or file and line
    last: str
    first_ns: int
    last_ns: int
    severity: Severity
    remedy: Remedy
    count: int = 0
    turn: int = 0  # of the fault that was the last
    judged: bool = False  # severity and remedy are those of a Finding, not of the faults
    why: str = ""  # what it comes to, where that is more than the fault alone says
    state: str = ""  # open, or over
    places: int = 0  # in which it is open
    over: bool = False  # what it said holds no more
    beside: Counter[tuple[str, str]] = field(default_factory=Counter)  # fault id, device

    @property
    def proven(self) -> bool:
        """Did the kernel itself say so? Neither a program nor a pod's log."""
        return not self.fault.injected and self.fault.trust is not Trust.POD

    def escalate(self, severity: Severity, remedy: Remedy) -> None:
        """Take what is worse, or reaches further."""
        reach = 0 if self.judged else _reach(self.remedy) - _reach(remedy)
        if (severity.rank, reach) < (self.severity.rank, 0):
            self.severity, self.remedy = severity, remedy

    def judge(self, found: Finding) -> None:
        """Take what the faults come to together, unless one of them is worse by itself."""
        self.why = found.why
        if found.severity.rank <= self.severity.rank:
            self.severity, self.remedy, self.judged = found.severity, found.remedy, True


@dataclass(slots=True)
class Device:
    """The events of one device, or of the node itself (``name`` "")."""

    node: str
    name: str
    repairs: dict[Remedy, tuple[int, str]]  # of the node: when, in turns, and how it is known
    events: dict[_Key, Event] = field(default_factory=dict)
    order: Finding | None = None  # the driver's directive that is in force
    order_turn: int = 0
    memory: Finding | None = None  # what its memory faults come to

    def repaired(self, event: Event) -> str:
        """What was seen after an event that repairs it; "" where nothing was."""
        return self._since(event.turn, event.remedy)

    def ordered(self) -> Finding | None:
        """The driver's directive, unless what it asks for was seen since."""
        if self.order is None or self._since(self.order_turn, self.order.remedy):
            return None
        return self.order

    def _since(self, turn: int, remedy: Remedy) -> str:
        found = (self.repairs.get(each, (0, "")) for each in _DONE_BY.get(remedy, ()))
        return next((why for when, why in found if when > turn), "")

    def about_memory(self) -> Event | None:
        """The event for which ``memory`` speaks: the worst one on memory."""
        of_memory = (e for e in self.worst() if e.fault.fault_id in ABOUT_MEMORY and e.proven)
        return next(of_memory, None) if self.memory is not None else None

    def worst(self) -> list[Event]:
        """The events, those first that ask for most: proven and not repaired, then the severer."""
        return sorted(self.events.values(), key=self._badness)

    def _badness(self, event: Event) -> tuple[int, int, int, int]:
        settled = not event.proven or event.over or bool(self.repaired(event))
        return (
            _LEAST if settled else event.severity.rank,
            event.severity.rank,
            -_reach(event.remedy),
            event.turn,
        )


_LEAST = len(Severity)


class Story:
    """What the faults of a log come to."""

    def __init__(self, read: Tables | None = None) -> None:
        self.devices: dict[tuple[str, str], Device] = {}
        self.counts: Counter[Severity] = Counter()
        self.dropped = 0  # faults that have no room
        self.lost = 0  # lines that say that others were lost
        self._relations = Relations(_DEVICES, read)
        self._repairs: dict[str, dict[Remedy, tuple[int, str]]] = {}
        self._turn = 0

    def add(self, hit: ScanHit, file: str = "") -> None:
        """Take the next fault of the log."""
        fault = hit.fault
        self._turn += 1
        self.counts[fault.severity] += fault.count
        if fault.fault_id == "kernel/log-lines-lost":
            self.lost += fault.count
        found = self._relations.feed(fault)
        for each in found:
            if each.kind is Kind.REPAIRED:  # before this fault, or by it
                self._repaired(each)
        where = f"{file}:{hit.line_number}" if file else str(hit.line_number)
        mine = next((f for f in found if f.fault is fault and f.root and _belongs(f)), None)
        if mine is not None and mine.root is not None:
            event = self._beside(mine.root, fault, where)
        else:
            event = self._event(fault, where)
        for each in found:
            if each.fault is not fault:
                self._apply_late(each)
            elif event is not None:
                self._apply(each, event)

    def end(self) -> None:
        """The log is over: what waited for more stands alone."""
        for each in self._relations.settle():
            self._apply_late(each)

    def _apply_late(self, found: Finding) -> None:
        """What is found out about an earlier fault."""
        if _belongs(found) and found.root is not None:
            self._move(found.fault, found.root, found.count)
        elif (event := self._find(found.fault)) is not None:
            self._apply(found, event)

    def _apply(self, found: Finding, event: Event) -> None:
        device = self._device(found.fault)
        if found.kind in _ESCALATES:
            event.judge(found)
        elif found.kind is Kind.CAUSED and found.root is None:
            event.why = found.why
        elif found.kind is Kind.BEGUN:
            event.state, event.over, event.places = found.why, False, event.places + 1
        elif found.kind is Kind.ENDED:
            begun = self._find(found.root) if found.root else None
            if begun is not None:
                begun.places -= 1
                if begun.places <= 0:
                    begun.state, begun.over, begun.places = f"over: {found.why}", True, 0
            if device is not None and found.fault.fault_id == ORDER:
                device.order = None
        elif device is not None and event.proven:
            if found.kind is Kind.MEMORY:
                device.memory = found
            elif found.kind is Kind.ORDERED:
                device.order, device.order_turn, event.over = found, self._turn, False

    def _repaired(self, found: Finding) -> None:
        done = self._repairs.get(found.fault.node)
        if done is not None and not found.fault.injected:
            # what shows a reboot is itself no part of what the reboot repaired
            turn = self._turn - (found.remedy is Remedy.REBOOT)
            done[found.remedy] = (turn, found.why)

    def _device(self, fault: Fault, name: str | None = None) -> Device | None:
        key = (fault.node, fault.device if name is None else name)
        device = self.devices.get(key)
        if device is None and len(self.devices) < _DEVICES:
            repairs = self._repairs.setdefault(fault.node, {})
            device = self.devices[key] = Device(*key, repairs)
        return device

    def _event(self, fault: Fault, where: str, name: str | None = None) -> Event | None:
        """Count a fault as an event of its device, or of the device that is named."""
        device, key = self._device(fault, name), _key(fault, name)
        if device is None or (key not in device.events and len(device.events) >= _EVENTS):
            self.dropped += fault.count
            return None
        event = device.events.get(key)
        if event is None:
            event = device.events[key] = Event(
                fault, where, where, fault.time_ns, fault.time_ns, fault.severity, fault.remedy
            )
        event.count += fault.count
        event.last, event.last_ns, event.turn = where, fault.time_ns, self._turn
        event.escalate(fault.severity, fault.remedy)
        return event

    def _find(self, fault: Fault, name: str | None = None) -> Event | None:
        key = _key(fault, name)
        device = self.devices.get(key[:2])
        return device.events.get(key) if device else None

    def _beside(self, root: Fault, fault: Fault, where: str) -> Event | None:
        """Count a fault with the event that it belongs to."""
        event = self._find(root)
        if not root.device and fault.device:  # the one that names the device
            event = self._named(root, fault, where)
        if event is None or event is self._find(fault):  # the same kind of fault, now named
            return self._event(fault, where)
        key = (fault.fault_id, fault.device)
        if key in event.beside or len(event.beside) < _WITH:
            event.beside[key] += fault.count
        else:
            self.dropped += fault.count
        event.last, event.last_ns, event.turn = where, fault.time_ns or event.last_ns, self._turn
        return event

    def _named(self, root: Fault, fault: Fault, where: str) -> Event | None:
        """An event that named no device, now that one of its faults does."""
        unnamed = self._find(root)
        known = self._find(root, fault.device)
        if unnamed is None:
            return known
        named = self._event(root, where, fault.device)
        if named is None:  # no room: it stays where it is, and is not lost
            self.dropped -= root.count
            return unnamed
        if known is None:
            named.first, named.first_ns = unnamed.first, unnamed.first_ns
            named.escalate(unnamed.severity, unnamed.remedy)
        unnamed.count -= root.count
        if unnamed.count <= 0:
            named.beside.update(unnamed.beside)
            self._forget(root)
        return named

    def _move(self, fault: Fault, root: Fault, count: int) -> None:
        """What was an event of its own turns out to belong to another one."""
        event = self._find(fault)
        home = self._find(root)
        if event is None or home is None or event is home:
            return
        home.beside[(fault.fault_id, fault.device)] += min(count, event.count)
        event.count -= count
        if event.count <= 0:
            home.beside.update(event.beside)
            self._forget(fault)

    def _forget(self, fault: Fault) -> None:
        key = _key(fault)
        device = self.devices[key[:2]]
        del device.events[key]
        if not device.events and device.order is None:
            del self.devices[key[:2]]


def _belongs(found: Finding) -> bool:
    return found.kind in (Kind.SAME, Kind.CAUSED)


def _key(fault: Fault, name: str | None = None) -> _Key:
    device = fault.device if name is None else name
    return (fault.node, device, fault.fault_id, fault.injected, fault.trust is Trust.POD)


def _reach(remedy: Remedy) -> int:
    return list(Remedy).index(remedy)
