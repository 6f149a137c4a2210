"""Which faults do these records report?

``Decoder`` is fed records in the order of their log time, per node, and returns Faults.
It is stateful only for what spans records (GPU lost in three records, the companions of
an SXid), with bounded memory. ``LITERALS`` is what a server-side filter may look for: any
line that ``Decoder`` turns into a Fault contains at least one of them (property-tested).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from parsers import catalog, lost, sxid, workload, xid
from parsers.catalog import Entry
from parsers.envelopes import BYTE_MESSAGES
from parsers.fault import TEXT_LIMIT, Fault, Trust
from parsers.instant import Instant, Recent
from parsers.printable import printable
from parsers.record import LogRecord

#: Case-sensitive substrings for ``|= "a" or "b"``: a superset of what the kernel rules match.
#: The first holds for SXid too. Each stands inside one word group of the message, so that
#: neither colours nor JSON escapes split it; the last two let journald's byte arrays through,
#: and contain quotation marks.
LITERALS: tuple[str, ...] = (
    "Xid (",
    "XID (",
    "xid (",
    "fallen off the bus",
    "The NVIDIA GPU ",
    "installed in this system has",
    "nv_get_p2p_free_callback",
    *BYTE_MESSAGES,
)
#: The same for pod-log rules.
POD_LITERALS: tuple[str, ...] = tuple(rule.literal for rule in workload.POD_RULES)

#: A continuation of an SXid within this many seconds of its main line tells nothing new.
COMPANION_S = 10.0
#: A lost GPU within this many seconds after its Xid 79 is the same event.
_SAME_EVENT_S = 30.0
_LOST_BY_XID = "xid/79"


class Decoder:
    """Records of many nodes to Faults; remembers unfinished assemblies per node, bounded."""

    def __init__(
        self,
        *,
        xids: Mapping[int, Entry] | None = None,
        sxids: Mapping[int, Entry] | None = None,
        nodes: int = 4096,
    ) -> None:
        self._xids = catalog.xids() if xids is None else xids
        self._sxids = catalog.sxids() if sxids is None else sxids
        self._lost = lost.LostGpus(nodes)
        # (node, device, fault id, injected) -> when it was last told
        self._told: Recent[tuple[str, str, str, bool], Instant] = Recent(4 * nodes)
        self._count = 0

    def feed(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """Decode one kernel record of ``node`` (log time in Unix ns; orders assemblies)."""
        text = record.text
        if not _may_match(text) or record.foreign or record.heartbeat or record.missed:
            return []
        node = node or record.hostname
        time_ns = time_ns or record.time_ns or 0
        injected = record.facility not in (None, 0)
        self._count += 1
        at = Instant(time_ns, record.uptime_us, record.boot_id, self._count)
        fault = self._decode(text, node, at, injected=injected)
        if fault is None:
            return []
        filled = _fill(fault, record, node=node, time_ns=time_ns)
        return [replace(filled, injected=injected)]

    def feed_pod(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """Decode one pod-log line; pod faults never act alone (the caller sets trust pod)."""
        fault = workload.parse_pod(record.text)
        if fault is None or record.heartbeat or record.missed:
            return []
        node = node or record.hostname
        filled = _fill(fault, record, node=node, time_ns=time_ns or record.time_ns or 0)
        return [replace(filled, trust=Trust.POD)]

    def _decode(self, text: str, node: str, at: Instant, *, injected: bool) -> Fault | None:
        fault = xid.parse(text, self._xids)
        if fault is not None:
            if fault.fault_id == _LOST_BY_XID:
                self._told.put((node, fault.device, fault.fault_id, injected), at)
            return fault
        if switch := sxid.parse(text, self._sxids):
            return self._unless_told(switch, node, at, injected=injected)
        fault = self._lost.feed(text, node, at, injected=injected)
        if fault is not None:
            told = self._told.get((node, fault.device, _LOST_BY_XID, injected))
            return None if told is not None and told.near(at, _SAME_EVENT_S) else fault
        return workload.parse_kernel(text)

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


def _may_match(text: str) -> bool:
    """A cheap superset of all kernel rules: most lines of a busy kernel log end here."""
    return (
        "Xid (" in text
        or "xid (" in text
        or "XID (" in text
        or "fallen off the bus" in text
        or "The NVIDIA GPU " in text
        or "installed in this system has" in text
        or "nv_get_p2p_free_callback" in text
    )


def _fill(fault: Fault, record: LogRecord, *, node: str, time_ns: int) -> Fault:
    return replace(
        fault,
        node=node,
        time_ns=time_ns,
        uptime_us=record.uptime_us,
        boot_id=record.boot_id,
        text=printable(fault.text or record.text, TEXT_LIMIT),
        count=record.repeated,
    )
