"""Which boot is a node in, by its lines alone? In the past no Node object says it.

A boot that lines name is known by its id. Lines without one tell their boot's start, log time minus
uptime: a start after the last time at which the boot before was seen is a boot of its own, and gets
an id that is made from node and start. What comes late, of a boot that is over, begins none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from konduktor_health.timestamps import NS

#: Starts of one boot differ by how late lines are delivered.
SAME_START_NS = 300 * NS
LONGEST_UPTIME_US = 10 * 366 * 86_400 * 10**6  # more is a damaged stamp
MOST_PAST = 64  # boots of one node that are remembered


@dataclass(frozen=True, slots=True)
class Boot:
    """A node is in this boot from now on."""

    boot_id: str
    before_seen_ns: int  # newest line of the boot before; 0: it is the first that is known


@dataclass(slots=True)
class _Known:
    boot_id: str
    start_ns: int | None  # the earliest that a line tells
    alive_ns: int  # newest line
    made: bool  # the id is none of the lines'
    aka: str = ""  # what lines call it, where the id was made
    past: list[str] = field(default_factory=list)


class PastBoots:
    """Boots of all nodes. Not thread-safe."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Known] = {}
        self.count = 0  # boots that began under our eyes

    def note(self, node: str, entry: LogEntry) -> Boot | None:
        """Learn from a line; the boot that it shows to have begun, or None. A line that names the
        boot otherwise than the Node does is made to name it the same."""
        if entry.pod or entry.trust is Trust.POD:
            return None
        record = entry.record
        uptime_us, boot_id, time_ns = record.uptime_us, record.boot_id, entry.time_ns
        start_ns = None
        if uptime_us is not None and 0 <= uptime_us < LONGEST_UPTIME_US:
            start_ns = time_ns - uptime_us * 1000
        if start_ns is None and not boot_id:
            return None
        known = self._nodes.get(node)
        if known is None:
            made = not boot_id
            known = _Known(boot_id or _made(node, start_ns or 0), start_ns, time_ns, made)
            self._nodes[node] = known
            return Boot(known.boot_id, 0)
        if boot_id:
            if known.made and _same(known.start_ns, start_ns) and known.aka in ("", boot_id):
                known.aka = boot_id
            if boot_id == known.aka:
                record.boot_id = boot_id = known.boot_id
            if boot_id == known.boot_id:
                _extend(known, start_ns, time_ns)
                return None
            if boot_id in known.past or time_ns < known.alive_ns:
                return None
            return self._begin(known, boot_id, start_ns, time_ns, made=False)
        if known.start_ns is None or start_ns is None or start_ns <= known.start_ns + SAME_START_NS:
            _extend(known, start_ns, time_ns)
            return None
        if start_ns < known.alive_ns:
            return None  # delivered late
        return self._begin(known, _made(node, start_ns), start_ns, time_ns, made=True)

    def is_in(self, node: str, entry: LogEntry) -> bool:
        """The line names the boot that the node is in: all that ``note`` learns of it, and of
        others like it, is that the boot goes on."""
        known, boot_id = self._nodes.get(node), entry.record.boot_id
        tells = not (entry.pod or entry.trust is Trust.POD)
        return tells and known is not None and bool(boot_id) and boot_id == known.boot_id

    def _begin(
        self, known: _Known, boot_id: str, start_ns: int | None, time_ns: int, *, made: bool
    ) -> Boot:
        self.count += 1
        boot = Boot(boot_id, known.alive_ns)
        known.past = [*known.past, known.boot_id, *([known.aka] if known.aka else [])][-MOST_PAST:]
        known.boot_id, known.start_ns, known.alive_ns = boot_id, start_ns, time_ns
        known.made, known.aka = made, ""
        return boot


def _extend(known: _Known, start_ns: int | None, time_ns: int) -> None:
    if start_ns is not None and (known.start_ns is None or start_ns < known.start_ns):
        known.start_ns = start_ns
    if time_ns > known.alive_ns:
        known.alive_ns = time_ns


def _same(known_ns: int | None, start_ns: int | None) -> bool:
    if known_ns is None or start_ns is None:
        return False
    return abs(known_ns - start_ns) <= SAME_START_NS


def _made(node: str, start_ns: int) -> str:
    return hashlib.blake2b(f"{node}\0{start_ns}".encode(), digest_size=16).hexdigest()
