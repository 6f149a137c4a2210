"""Which fault does this one follow, and may that one speak for it? Pure.

A sympathetic fault is attached to its root: the detail ``root`` of the Fault names the root's
record, as ``fault id|device``. It is shown with the reason ``FollowsAnotherFault`` as long as its
root acts, and does not act by itself.

Invariant: a wrong relation never hides a fault. Only a root on the same device that is at least as
bad may be followed; a sighting follows only if every line of it does; and whether the root acts is
for the guards to see (``speaks_for``).
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from konduktor_health.core.fold import SightingKey, add, key_of
from konduktor_health.core.ledger import Record
from konduktor_health.frozen import replace
from konduktor_health.model import Fault, Remedy, Sighting
from konduktor_health.timestamps import NS

ROOT = "root"
#: Lines of one event lie at most so far apart (``parsers.relate_events``).
EVENT_NS = 30 * NS

_REMEDIES = {remedy: rank for rank, remedy in enumerate(Remedy)}


def root_of(fault: Fault) -> tuple[str, str] | None:
    """(device, fault id) of the record that this Fault follows; None: it follows none.

    A line may name its cause itself, as a fault id alone: that is no record of this node."""
    fault_id, bar, device = fault.detail.get(ROOT, "").partition("|")
    return (device, fault_id) if bar and fault_id else None


def attached(fault: Fault, root: Fault) -> Fault:
    """The Fault as a follower of ``root``."""
    return replace(fault, detail={**fault.detail, ROOT: f"{root.fault_id}|{root.device}"})


def may_follow(fault: Fault, root: Fault) -> bool:
    """Whether the repair and the proof of the root are good for this Fault too."""
    same_place = fault.device == root.device and fault.injected == root.injected
    return same_place and fault.key != root.key and _badness(root) <= _badness(fault)


def acting_roots(records: Iterable[Record], acting: Iterable[Fault]) -> frozenset[tuple[str, str]]:
    """Keys of what may be followed: records that act, and faults that act now and follow nothing
    themselves."""
    return frozenset(
        {record.key for record in records if record.acting}
        | {fault.key for fault in acting if root_of(fault) is None}
    )


def speaks_for(fault: Fault, roots: Container[tuple[str, str]]) -> bool:
    """Whether what this Fault follows is one of ``acting_roots``, so that it need not act."""
    root = root_of(fault)
    return root is not None and root != fault.key and root in roots


def add_related(
    sightings: dict[SightingKey, Sighting],
    fault: Fault,
    acting: bool,
    key: SightingKey | None = None,
) -> None:
    """Fold one more fault into a node's sightings, in place, as ``fold.add`` does."""
    key = key or key_of(fault, acting)
    before = sightings.get(key)
    add(sightings, fault, acting, key)
    if before is None or (ROOT not in before.fault.detail and ROOT not in fault.detail):
        return
    after = sightings.get(key)
    if after is not None and root_of(before.fault) != root_of(fault):
        sightings[key] = replace(after, fault=_detached(after.fault))


def attach_earlier(
    sightings: dict[SightingKey, Sighting], earlier: Fault, root: Fault
) -> list[Sighting]:
    """The root came after its followers: attach, in place, those that are not on the Node yet."""
    if not may_follow(earlier, root):
        return []
    changed = []
    root_ns = root.event_ns or root.time_ns
    for key, seen in sightings.items():
        fault = seen.fault
        alike = (fault.key, fault.injected, fault.boot_id) == (
            earlier.key,
            earlier.injected,
            earlier.boot_id,
        )
        near = seen.first_ns >= root_ns - EVENT_NS and seen.last_ns <= root_ns + EVENT_NS
        if alike and near and may_follow(fault, root):
            sightings[key] = replace(seen, fault=attached(fault, root))
            changed.append(sightings[key])
    return changed


def _detached(fault: Fault) -> Fault:
    detail = {name: value for name, value in fault.detail.items() if name != ROOT}
    return replace(fault, detail=detail)


def _badness(fault: Fault) -> tuple[int, int]:
    """Smaller is worse."""
    return fault.severity.rank, -_REMEDIES[fault.remedy]
