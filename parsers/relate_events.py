"""Which faults are one event, and what does a fault follow?

- Told twice (``same_event``: Xid 79 and a lost GPU; a GPU whose init failed, step by step) or told
  beside it (``companion_of``: records of PCIe AER): relations of the catalog.
- ``secondary_to``: another fault of the same GPU explains it, whichever comes first. Of Xid 145
  it holds where the rule of the unit asks for it, and for a link of any GPU of the node.
- Xid 45 and 159 follow any other Xid of the same GPU. Newer drivers name it in the line of Xid 45;
  what they name outranks what is near. Without any they stand alone, which is known when the time
  is over.

Sources: docs/design/relations.md, that is NVIDIA's Xid workbook (buckets WORKFLOW_XID_45 and
SYMPATHETIC_REPORT_SOLO) and the notes of the kernel rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from parsers import catalog
from parsers.fault import Fault, Remedy, Severity
from parsers.finding import Finding, Kind
from parsers.instant import Instant, Recent

#: Faults of one event lie at most this many seconds apart, in either order. NVIDIA's workbook ties
#: an error to a link that went down within 30 s; records of one lost GPU are joined as far apart.
EVENT_S = 30.0
_KEPT = 64  # kinds of fault on devices of one node that are remembered

#: They follow any other Xid of their GPU.
FOLLOW_ANY = frozenset({"xid/45", "xid/159"})
#: Never what another one follows: an order, and the followers themselves.
_NO_ROOT = FOLLOW_ANY | {"xid/154", "xid/162"}


@dataclass(slots=True)
class _Seen:
    """One kind of fault on one device, lately."""

    fault: Fault  # the latest
    last: Instant
    first: Instant  # of the lines that belong to no event yet
    lines: int = 0  # how many those are
    root: Fault | None = None  # what the latest belongs to

    @property
    def waits(self) -> bool:
        """Should it follow another fault, and does not yet?"""
        return self.lines > 0 and self.fault.fault_id in FOLLOW_ANY


class Events:
    """The faults of the last seconds of one node."""

    def __init__(self) -> None:
        self._seen: Recent[tuple[str, str], _Seen] = Recent(_KEPT)
        # Those of them that may follow what comes next: most kinds of fault follow nothing.
        self._free: dict[tuple[str, str], _Seen] = {}

    def feed(self, fault: Fault, at: Instant) -> list[Finding]:
        """To which event does this Fault belong, and which earlier faults belong to it?"""
        found = self._expire(at)
        parent = _parent(fault, at, self._seen.values()) if may_follow(fault.fault_id) else None
        root = None if parent is None else parent.root or parent.fault
        named = root is None and fault.fault_id in FOLLOW_ANY and "root" in fault.detail
        if root is not None:
            found.append(_belongs(fault, root, fault.count))
        elif named:
            found.append(_named(fault))
        for seen in [*self._free.values()] if self._free else ():
            if _explains(fault, seen.fault) and seen.last.near(at, EVENT_S):
                seen.root = root or fault
                found.append(_belongs(seen.fault, seen.root, seen.lines))
                seen.lines = 0
                del self._free[seen.fault.key]
        free = 0 if root is not None or named else fault.count
        return found + self._remember(fault, at, root, free)

    @property
    def is_open(self) -> bool:
        """Is there a fault that may follow what comes next?"""
        return bool(self._free)

    def settle(self, at: Instant | None) -> list[Finding]:
        """Those that stand alone, as no other fault came until ``at``; None: nothing will."""
        if at is not None:
            return self._expire(at)
        alone = [_alone(seen) for seen in self._free.values() if seen.waits]
        self._seen, self._free = Recent(_KEPT), {}
        return alone

    def _remember(self, fault: Fault, at: Instant, root: Fault | None, free: int) -> list[Finding]:
        """Remember a Fault; what has to go for it, and still waits, stands alone."""
        found: list[Finding] = []
        seen = self._seen.get(fault.key)
        if seen is None:
            if len(self._seen) >= _KEPT and (oldest := self._seen.oldest()) is not None:
                found = self._drop(oldest)
            seen = _Seen(fault, at, at)
            self._seen.put(fault.key, seen)
        if not seen.lines:
            seen.first = at
        seen.fault, seen.last, seen.root = fault, at, root
        seen.lines += free
        if seen.lines and may_follow(fault.fault_id):
            self._free[fault.key] = seen
        return found

    def _drop(self, seen: _Seen) -> list[Finding]:
        self._seen.drop(seen.fault.key)
        self._free.pop(seen.fault.key, None)
        return [_alone(seen)] if seen.waits else []

    def _expire(self, at: Instant) -> list[Finding]:
        found: list[Finding] = []
        for seen in [*self._free.values()] if self._free else ():
            if seen.waits and not seen.first.near(at, EVENT_S):
                found.append(_alone(seen))
                seen.lines = 0
                del self._free[seen.fault.key]
        while (oldest := self._seen.oldest()) is not None and not oldest.last.near(at, EVENT_S):
            found += self._drop(oldest)
        return found


def _parent(fault: Fault, at: Instant, seen_lately: list[_Seen]) -> _Seen | None:
    """The remembered fault to which this one belongs: of those that fit best the worst, and of
    those the latest. A repair that waits is no cause beside the error that it repairs."""
    best: tuple[int, int, int] | None = None
    parent = None
    follows_any = fault.fault_id in FOLLOW_ANY
    wanted = frozenset().union(*_relations(fault.fault_id))
    for position, seen in enumerate(seen_lately):
        related = follows_any and seen.fault.device == fault.device
        if (not related and seen.fault.fault_id not in wanted) or seen.fault.key == fault.key:
            continue
        fit = _fit(fault, seen.fault) or (1 if _told_twice(fault, seen.fault) else 0)
        # what is no part of another event comes first
        rank = (2 * fit - (seen.root is not None), -seen.fault.severity.rank, position)
        if fit and (best is None or rank > best) and seen.last.near(at, EVENT_S):
            best, parent = rank, seen
    return parent


@lru_cache(maxsize=1024)
def may_follow(fault_id: str) -> bool:
    """May such a fault belong to the event of another one?"""
    return fault_id in FOLLOW_ANY or any(_relations(fault_id))


def _explains(fault: Fault, earlier: Fault) -> bool:
    """Does the earlier one belong to this Fault, which came later?"""
    return earlier.fault_id != fault.fault_id and bool(_fit(earlier, fault))


def _fit(child: Fault, parent: Fault) -> int:
    """How well a fault follows another one, whichever was seen first; 0: not at all."""
    if child.fault_id in FOLLOW_ANY:
        xid = parent.fault_id.startswith("xid/") and parent.fault_id not in _NO_ROOT
        if not xid or parent.device != child.device:
            return 0
        return 2 if child.detail.get("root", parent.fault_id) == parent.fault_id else 0
    secondary, companion, _ = _relations(child.fault_id)
    if parent.fault_id in companion:
        return 1
    if parent.fault_id not in secondary:
        return 0
    if child.fault_id == "xid/145":
        return 1 if _by_link_down(child, parent) else 0
    return 2 if parent.device == child.device else 0


def _by_link_down(remap: Fault, parent: Fault) -> bool:
    """Workflow CHECK_NVLINK_FAILURE_FLOW: a link that went down beside it explains it."""
    asks = remap.detail.get("unit") == "RLW_REMAP" and remap.detail.get("rule") == "follow"
    return asks and parent.detail.get("unit", "").startswith("NETIR_LINK")


def _told_twice(fault: Fault, earlier: Fault) -> bool:
    same = not fault.device or not earlier.device or fault.device == earlier.device
    return same and earlier.fault_id in _relations(fault.fault_id)[2]


@lru_cache(maxsize=1024)  # ids are hostile: a cache without an end would grow
def _relations(fault_id: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """What it may be secondary to, a companion of, or the same event as."""
    kinds = ("secondary_to", "companion_of", "same_event")
    relations = catalog.relations(fault_id)
    secondary, companion, same = (
        frozenset(each.fault_id for each in relations if each.kind == kind) for kind in kinds
    )
    return secondary, companion, same


def _belongs(fault: Fault, root: Fault, count: int) -> Finding:
    worst = min((root, fault), key=_badness)
    secondary = fault.fault_id in FOLLOW_ANY or root.fault_id in _relations(fault.fault_id)[0]
    kind, how = (Kind.CAUSED, "follows") if secondary else (Kind.SAME, "is the same event as")
    why = f"{fault.fault_id} {how} {root.fault_id}"
    return Finding(kind, fault, worst.severity, worst.remedy, why, root, count)


def _named(fault: Fault) -> Finding:
    why = f"the line names {fault.detail['root']} as its cause, which was not seen"
    return Finding(Kind.CAUSED, fault, fault.severity, fault.remedy, why, None, fault.count)


def _alone(seen: _Seen) -> Finding:
    fault = seen.fault
    if fault.fault_id == "xid/45":
        why = "no other Xid of this GPU beside it: restart the program, or the fabric manager"
        severity, remedy = Severity.APPLICATION, Remedy.RESTART_APP
        return Finding(Kind.ALONE, fault, severity, remedy, why, None, seen.lines)
    why = "no other Xid of this GPU beside it: report it"
    return Finding(Kind.ALONE, fault, fault.severity, fault.remedy, why, None, seen.lines)


def _badness(fault: Fault) -> tuple[int, int]:
    return fault.severity.rank, -list(Remedy).index(fault.remedy)
