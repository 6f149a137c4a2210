"""Which states are open, what does the driver ask for, and was the node repaired since?

- A begin is open until its end (relation ``clears``) in the same place: heat of a switch, an
  optical module or a processor, power smoothing, a file server.
- Xid 154 is the driver's order; None ends it.
- A repair is proven by the kernel only (``parsers.proofs``): the driver was loaded, an NVSwitch was
  probed (OCI counts a reset after the last Xid by it), or the node booted: another boot id, or an
  uptime that begins anew. Lines of programs, whatever they say, prove nothing.
"""

from __future__ import annotations

from functools import lru_cache

from parsers import catalog
from parsers.fault import Fault, Remedy, Severity
from parsers.finding import Finding, Kind
from parsers.instant import Instant, Recent
from parsers.places import place_of
from parsers.proofs import ProofKind, proof_of
from parsers.tables import Tables

_OPEN = 64  # states of one node
_KEYS = 256  # faults of one node that a repair should have ended
_ORDER = "xid/154"
_MARKERS = (ProofKind.DRIVER_LOADED, ProofKind.GPU_RESET)
#: An uptime that falls by more than this many seconds is that of another boot. Lines arrive in
#: disorder by less; no node boots faster.
_ANEW_S = 60


#: Device, fault id, and where on the device.
_Place = tuple[str, str, tuple[tuple[str, str], ...]]


class States:
    """The open states and orders of one node."""

    def __init__(self) -> None:
        self._open: Recent[_Place, Fault] = Recent(_OPEN)

    def over_by(self, repair: Finding) -> list[Finding]:
        """The states that a repair ended: all by a boot, those of GPUs and switches by a reset."""
        booted = repair.remedy is Remedy.REBOOT
        before, self._open = self._open.values(), Recent(_OPEN)
        ended = []
        for begun in before:
            if not (booted or begun.fault_id.startswith(("xid/", "sxid/"))):
                self._open.put((begun.device, begun.fault_id, place_of(begun)), begun)
            elif begun.fault_id != _ORDER:
                ended.append(_state(Kind.ENDED, repair.fault, begun, repair.why))
        return ended

    def feed(self, fault: Fault) -> list[Finding]:
        """Whether this Fault opens or ends a state."""
        if fault.fault_id == _ORDER:
            return self._order(fault)
        clears, begins = _pairs(fault.fault_id)
        if not (clears or begins):
            return []
        place = place_of(fault)
        if begins:
            key: _Place = (fault.device, fault.fault_id, place)
            known = self._open.get(key)
            self._open.put(key, known or fault)
            why = f"open until {' or '.join(begins)}"
            return [] if known else [_state(Kind.BEGUN, fault, None, why)]
        ended = []
        for each in clears:
            begun = self._open.get((fault.device, each, place))
            self._open.drop((fault.device, each, place))
            missing = "" if begun else ", whose beginning was not seen"
            ended.append(_state(Kind.ENDED, fault, begun, f"ends {each}{missing}"))
        return ended

    def _order(self, fault: Fault) -> list[Finding]:
        value = fault.detail.get("to")
        key: _Place = (fault.device, _ORDER, ())
        if value is None:  # a cut line orders nothing
            return []
        before = self._open.get(key)
        if value == "0":
            self._open.drop(key)
            why = "the driver asks for nothing any more"
            return [_state(Kind.ENDED, fault, before, why)]
        self._open.put(key, fault)
        why = f"the driver asks for: {fault.detail.get('action', value)}"
        return [_state(Kind.ORDERED, fault, before, why)]


class Repairs:
    """What was seen of one node before and after its last repair."""

    def __init__(self, read: Tables | None = None) -> None:
        self._read = read
        self._last: Instant | None = None
        self.is_behind = False  # the line that came last is older than one before it
        self._since: Recent[tuple[str, str], tuple[str, str]] = Recent(_KEYS)
        self._before: Recent[tuple[str, str], Finding] = Recent(_KEYS)

    def feed(self, fault: Fault, at: Instant, repair: Finding | None) -> list[Finding]:
        """Whether there was anything to repair, or this Fault came back. ``repair``: what
        ``seen_by`` says of it."""
        found = []
        if repair is not None and len(self._since):
            found.append(repair)
            for key in self._since.values():
                self._before.put(key, repair)
            self._since = Recent(_KEYS)
        self.is_behind = self._last is not None and _is_late(self._last, at)
        if not self.is_behind:
            self._last = at
        if fault.severity not in (Severity.FATAL, Severity.DEGRADED):
            return found
        earlier = self._before.get(fault.key)
        if earlier is not None:
            self._before.drop(fault.key)
            found.append(_returned(fault, earlier))
        self._since.put(fault.key, fault.key)
        return found

    def seen_by(self, fault: Fault, at: Instant) -> Finding | None:
        """The repair that this Fault shows, whether there was anything to repair or not."""
        if self._last is not None and _booted(self._last, at):
            return _repaired(fault, Remedy.REBOOT, "the node has booted since")
        proof = proof_of(fault, self._read) if fault.fault_id.startswith("kernel/") else None
        if proof is None or proof.kind not in _MARKERS:
            return None
        if version := fault.detail.get("version"):
            return _repaired(fault, Remedy.RESET_GPU, f"the driver was loaded since ({version})")
        if proof.kind is ProofKind.GPU_RESET:
            return _repaired(fault, Remedy.RESET_GPU, "a GPU was reset since")
        return _repaired(fault, Remedy.RESET_GPU, "the NVSwitches were probed since: a reset")


def _booted(last: Instant, at: Instant) -> bool:
    if _is_late(last, at):
        return False
    if last.boot_id and at.boot_id:
        return last.boot_id != at.boot_id
    if last.uptime_us is None or at.uptime_us is None:
        return False
    return last.uptime_us - at.uptime_us > _ANEW_S * 1_000_000


def _is_late(last: Instant, at: Instant) -> bool:
    """A line of an earlier time that arrives now says nothing about what came since."""
    return bool(at.time_ns and last.time_ns) and at.time_ns < last.time_ns


def _repaired(fault: Fault, what: Remedy, why: str) -> Finding:
    return Finding(Kind.REPAIRED, fault, Severity.INFO, what, why)


def _returned(fault: Fault, repair: Finding) -> Finding:
    why = f"{fault.fault_id} came back, although {repair.why}: have the hardware inspected"
    root = repair.fault if repair.fault is not fault else None  # by which the reboot showed
    return Finding(Kind.RETURNED, fault, fault.severity, Remedy.DRAIN_INSPECT, why, root)


def _state(kind: Kind, fault: Fault, root: Fault | None, why: str) -> Finding:
    return Finding(kind, fault, fault.severity, fault.remedy, why, root)


@lru_cache(maxsize=1024)  # ids are hostile: a cache without an end would grow
def _pairs(fault_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What it ends, and what ends it."""
    relations = catalog.relations(fault_id)
    clears = tuple(each.fault_id for each in relations if each.kind == "clears")
    return clears, tuple(each.fault_id for each in relations if each.kind == "cleared_by")
