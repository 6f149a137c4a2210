"""Which faults do these records report?

``Decoder`` is fed records in the order of their log time, per node, and returns Faults.
It is stateful only for what spans records (GPU lost in three records, the companions of
an SXid, the dump after an Xid of the GSP), with bounded memory. Any line that gives a Fault
contains one of its tables' literals (``parsers.tables``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parsers import gsp, lost, sxid, tables, xid
from parsers.at_once import AtOnce
from parsers.fault import TEXT_LIMIT, Fault, Severity, Trust
from parsers.instant import Instant, Recent
from parsers.printable import printable
from parsers.record import LogRecord
from parsers.tables import Tables

if TYPE_CHECKING:
    from parsers.rules import RuleSet

#: A continuation of an SXid within this many seconds of its main line tells nothing new.
COMPANION_S = 10.0
#: A lost GPU within this many seconds after its Xid 79 is the same event.
_SAME_EVENT_S = 30.0
_LOST_BY_XID = "xid/79"
#: Xids that other records of the same event may follow.
_FOLLOWED = gsp.ROOTS | {_LOST_BY_XID}


class Decoder:
    """Records of many nodes to Faults; remembers unfinished assemblies per node, bounded."""

    def __init__(self, read: Tables | None = None, *, nodes: int = 4096) -> None:
        self.use(tables.shipped() if read is None else read)
        self._lost = lost.LostGpus(nodes)
        self._dumps = gsp.Dumps(nodes)
        # (node, device, fault id, injected) -> when it was last told
        self._told: Recent[tuple[str, str, str, bool], Instant] = Recent(4 * nodes)
        self._count = 0

    def use(self, read: Tables) -> None:
        """Decode by these tables from now on; what has been assembled stays."""
        self._xids = read.xids
        self._sxids = read.sxids
        self._kernel = read.kernel
        self._pod = read.pod
        self._silent = read.silent
        self._overrides = read.overrides
        self._at_once = AtOnce(read.xids, read.sxids)

    def feed_line(self, line: str) -> Fault | None:
        """Decode one raw line of the commonest form: the Fault that ``feed`` gives of what
        ``unwrap`` makes of the line. None: nothing was done, and the line is for those two."""
        fault = self._at_once.tell(line)
        if fault is not None:
            self._count += 1
            if fault.fault_id in _FOLLOWED or fault.fault_id[0] == "s":
                at = Instant(fault.time_ns, fault.uptime_us, fault.boot_id, self._count)
                self._told_once(fault, "", fault.node, at, injected=fault.injected)
            if self._overrides and (override := self._overrides.get(fault.fault_id)) is not None:
                override.apply(fault)
        return fault

    def feed(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """Decode one kernel record of ``node`` (log time in Unix ns; orders assemblies)."""
        if record.foreign or record.heartbeat or record.missed:
            return []
        text = record.text
        node = node or record.hostname
        time_ns = time_ns or record.time_ns or 0
        injected = bool(record.facility)  # 0 is the kernel's, None is not told
        if "Xid (" in text or _on_gpus(text):
            self._count += 1
            fault = self._at_once.tell_message(text) or xid.parse(text, self._xids)
            if fault is None or fault.fault_id in _FOLLOWED or fault.fault_id[0] == "s":
                at = Instant(time_ns, record.uptime_us, record.boot_id, self._count)
                fault = self._told_once(fault, text, node, at, injected=injected)
        else:
            fault = self._by_rule(self._kernel, text)
        if fault is not None and fault.fault_id == gsp.FAULT_ID:
            self._count += 1
            at = Instant(time_ns, record.uptime_us, record.boot_id, self._count)
            fault = self._dumps.fold(fault, node, at, injected=injected)
        if fault is None:
            return []
        if self._overrides and (override := self._overrides.get(fault.fault_id)) is not None:
            override.apply(fault)
        _complete(fault, record, node, time_ns)
        if injected:
            fault.injected = True
        return [fault]

    def feed_pod(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """Decode one pod-log line; pod faults never act alone (the caller sets trust pod)."""
        if record.heartbeat or record.missed:
            return []
        fault = self._by_rule(self._pod, record.text)
        if fault is None:
            return []
        _complete(fault, record, node or record.hostname, time_ns or record.time_ns or 0)
        fault.trust = Trust.POD
        return [fault]

    def _told_once(
        self, head: Fault | None, text: str, node: str, at: Instant, *, injected: bool
    ) -> Fault | None:
        """What a record on a GPU tells that may be told in more than one record, or in an Xid
        too: Xid 79, those of the GSP, SXid, lost GPU."""
        if head is not None:
            if head.severity is Severity.UNKNOWN and head.fault_id in _FOLLOWED:
                return head  # its head could be forged: no other record is left out for its sake
            if head.fault_id in gsp.ROOTS:
                self._dumps.follow(head, node, at, injected=injected)
            else:
                self._told.put((node, head.device, head.fault_id, injected), at)
            return head
        if switch := sxid.parse(text, self._sxids):
            return self._unless_told(switch, node, at, injected=injected)
        fault = self._lost.feed(text, node, at, injected=injected)
        if fault is not None:
            told = self._told.get((node, fault.device, _LOST_BY_XID, injected))
            return None if told is not None and told.near(at, _SAME_EVENT_S) else fault
        return self._by_rule(self._kernel, text)

    def _by_rule(self, rules: RuleSet, text: str) -> Fault | None:
        fault = rules.match(text)
        return None if fault is None or fault.fault_id in self._silent else fault

    def _unless_told(
        self, line: sxid.SxidLine, node: str, at: Instant, *, injected: bool
    ) -> Fault | None:
        """Fold a continuation into its main line; alone it is told once, as unknown."""
        key = (node, line.fault.device, line.fault.fault_id, injected)
        told = self._told.get(key) if line.continuation else None
        if told is not None and told.near(at, COMPANION_S):
            return None
        self._told.put(key, at)
        return line.fault


def _on_gpus(text: str) -> bool:
    """With ``Xid (``, a cheap superset of the rules on GPUs: most lines of a busy log end here."""
    return (
        "xid (" in text
        or "XID (" in text
        or "fallen off the bus" in text
        or "The NVIDIA GPU " in text
        or "installed in this system" in text
    )


def _complete(fault: Fault, record: LogRecord, node: str, time_ns: int) -> None:
    """Add to a Fault what the record tells; in place: nobody else knows it yet."""
    text = fault.text or record.text
    plain = record.plain and text is record.text and len(text) <= TEXT_LIMIT
    fault.text = text if plain else printable(text, TEXT_LIMIT)
    fault.node = node
    fault.time_ns = time_ns
    fault.uptime_us = record.uptime_us
    fault.boot_id = record.boot_id
    fault.count = record.repeated
