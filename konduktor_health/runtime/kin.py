"""What does a decoded fault mean beside the others of its node? Faults in, faults to keep out.

``parsers.relate`` finds the relations; here they change what is kept:

- a follower is attached to its root (``core.roots``), also one that came before it;
- memory faults of one GPU are as bad as they are together, never less than each alone;
- the same application fault of another job in the same place says so (detail ``repeated``);
- an Xid 45 waits for its root up to 30 s, and is the application's fault if none comes.

Invariants:
- A fault that may act never waits: only those of the severities info and application do.
- What a site says of a fault (an override, an observation) is not raised by a relation.
- What waits bounds the cursor (``oldest_ns``), is folded, and is let go when its time is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from konduktor_health.core.fold import SightingKey, key_of
from konduktor_health.core.roots import attached, may_follow
from konduktor_health.frozen import replace
from konduktor_health.model import Fault, Remedy, Severity, Trust
from konduktor_health.timestamps import NS
from parsers.finding import Finding, Kind
from parsers.relate import Relations, follows_any, is_about_memory
from parsers.tables import Tables

#: Whatever happens, nothing waits for longer than this.
LONGEST_WAIT_NS = 60 * NS
_PATIENT = frozenset({Severity.INFO, Severity.APPLICATION})
_RELATED = frozenset({Trust.ATTESTED, Trust.KERNEL})
_REMEDIES = {remedy: rank for rank, remedy in enumerate(Remedy)}

_Follower = tuple[Fault, Fault]  # an earlier fault, and its root


@dataclass(slots=True)
class Heard:
    """What one more fault comes to."""

    keep: list[Fault] = field(default_factory=list)  # in the order of their lines
    followers: list[_Follower] = field(default_factory=list)  # kept before, and attached now


class Kin:
    """The relations of the faults of all nodes. Used by one thread."""

    def __init__(self, read: Tables, observed: Collection[str] = ()) -> None:
        """``observed``: fault ids that are in observation."""
        self._relations = Relations(read=read)
        self._waiting: dict[str, dict[SightingKey, list[Fault]]] = {}
        self._found: Counter[str] = Counter()
        self.use(read, observed)

    def use(self, read: Tables, observed: Collection[str]) -> None:
        """Other tables, or other faults in observation, from now on; what was seen stays."""
        doubted = {*read.overrides, *observed}
        self._raises = not any(is_about_memory(fault_id) for fault_id in doubted)

    def hear(self, fault: Fault) -> Heard | None:
        """Relate one fault of a node to those before it. None: it is kept as it is, and nothing
        else comes of it."""
        if fault.trust not in _RELATED:
            return None
        findings = self._relations.feed(fault)
        meant, waits = fault, self._is_patient(fault)
        if not findings and not waits:
            return None
        heard = Heard()
        for found in findings:
            self._found[found.kind.value] += 1
            if found.fault is not fault:
                self._of_earlier(found, heard)
                continue
            meant = self._meaning(meant, found)
            waits = waits and found.kind not in (Kind.CAUSED, Kind.SAME)
        if waits:
            self._wait(meant)
        else:
            heard.keep.append(meant)
        return heard

    def put_off_until(self, fault: Fault) -> tuple[int, int | None] | None:
        """Up to which event time (Unix ns) and uptime lines like this one, the last that was heard
        of its node, are kept as they are; None: perhaps not even the next."""
        if fault.trust not in _RELATED or self._is_patient(fault):
            return None
        return self._relations.put_off_until(fault)

    def put_off(self, fault: Fault, lines: int) -> None:
        """So many more of these lines were heard, and this is the last of them."""
        self._relations.put_off(fault, lines)

    def touch(self, fault: Fault) -> bool:
        """One more was heard that will be put off. False: what was seen of its node is forgotten,
        and this one has to be related by itself."""
        return self._relations.touch(fault)

    def knows(self, fault: Fault) -> bool:
        """What was seen of its node is not forgotten. Changes nothing."""
        return self._relations.knows(fault)

    def patient(self) -> Collection[str]:
        """Nodes of which something waits."""
        return self._waiting.keys()

    def overdue(self, now_ns: int) -> list[Fault]:
        """Faults whose root did not come in time (log time, Unix ns)."""
        heard = Heard()
        for name in list(self._waiting):
            for found in self._relations.settle_node(name, now_ns):
                self._found[found.kind.value] += 1
                self._of_earlier(found, heard)
            for key, faults in list(self._waiting.get(name, {}).items()):
                if abs(now_ns - faults[0].time_ns) > LONGEST_WAIT_NS:
                    heard.keep += self._let_go(name, key)
        return heard.keep

    def forget(self, name: str) -> None:
        """The node is gone, is another one, or somebody has vouched for it."""
        self._relations.forget(name)
        self._waiting.pop(name, None)

    def oldest_ns(self) -> int | None:
        """Log time of the oldest line that waits."""
        if not self._waiting:
            return None
        times = (
            fault.time_ns
            for node in self._waiting.values()
            for faults in node.values()
            for fault in faults
        )
        return min(times, default=None)

    def drain_found(self) -> Counter[str]:
        """Relations that were found since the last call, by kind."""
        drained, self._found = self._found, Counter()
        return drained

    def _meaning(self, fault: Fault, found: Finding) -> Fault:
        """The fault of a finding, with what the finding says of it."""
        if found.kind in (Kind.CAUSED, Kind.SAME):
            root = found.root
            return attached(fault, root) if root and may_follow(fault, root) else fault
        if found.kind is Kind.MEMORY and self._raises:
            return _raised(fault, found)
        if found.kind is Kind.REPEATED:
            return replace(fault, detail={**fault.detail, "repeated": str(found.count)})
        return fault

    def _of_earlier(self, found: Finding, heard: Heard) -> None:
        """A finding about a fault that was heard before."""
        earlier = found.fault
        let_go = [
            fault for key in self._waiting_as(earlier) for fault in self._let_go(earlier.node, key)
        ]
        if found.kind is Kind.ALONE:
            heard.keep += [_alone(fault, found) for fault in let_go]
            return
        heard.keep += [self._meaning(fault, found) for fault in let_go]
        if found.root is not None and not let_go:
            heard.followers.append((earlier, found.root))

    def _is_patient(self, fault: Fault) -> bool:
        return follows_any(fault) and fault.severity in _PATIENT

    def _wait(self, fault: Fault) -> None:
        """The first line and the last one of a burst stand for all."""
        waiting = self._waiting.setdefault(fault.node, {}).setdefault(key_of(fault, True), [])
        if len(waiting) == 2:
            fault = replace(fault, count=fault.count + waiting.pop().count)
        waiting.append(fault)

    def _waiting_as(self, fault: Fault) -> Iterable[SightingKey]:
        return [
            key
            for key, faults in self._waiting.get(fault.node, {}).items()
            if (faults[0].key, faults[0].injected) == (fault.key, fault.injected)
        ]

    def _let_go(self, name: str, key: SightingKey) -> list[Fault]:
        node = self._waiting[name]
        faults = node.pop(key)
        if not node:
            del self._waiting[name]
        return faults


def _raised(fault: Fault, found: Finding) -> Fault:
    """As bad as the faults are together, if that is worse."""
    worse = found.severity.rank < fault.severity.rank
    same = found.severity is fault.severity
    if worse or (same and _REMEDIES[found.remedy] > _REMEDIES[fault.remedy]):
        return replace(fault, severity=found.severity, remedy=found.remedy)
    return fault


def _alone(fault: Fault, found: Finding) -> Fault:
    if found.severity.rank < fault.severity.rank and found.severity in _PATIENT:
        return replace(fault, severity=found.severity, remedy=found.remedy)
    return fault
