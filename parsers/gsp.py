"""Which Xid does a dump of the GPU's firmware (GSP) belong to, and what was not answered?

After an Xid of the firmware the driver prints a dump of some twenty records: what the message
buffer contains, the calls to the firmware, the events from it, or where it crashed. The records
name the GPU by its number at most, never by its address. A dump that follows its Xid on the same
node tells nothing new. Where the Xid was lost, the first of its records is told, as info.
"""

from __future__ import annotations

import re

from parsers.fault import Fault
from parsers.instant import Instant, Recent

FAULT_ID = "kernel/gsp-dump"
#: Xids that a dump may follow (kernel_gsp.c of NVIDIA/open-gpu-kernel-modules 595): no answer,
#: firmware crashed, memory subsystem does not answer.
ROOTS = frozenset({"xid/119", "xid/120", "xid/175"})
#: A record of a dump comes within this many seconds of its Xid, or of the dump's first record.
#: Twenty records take 0.3 s on a slow console; the next time-out is 6 s away (collected lines).
DUMP_S = 5.0

_ANY = "*"
_TIMEOUT = re.compile(
    r"Timeout (?:after ([0-9]{1,6})s of )?waiting for RPC (?:response )?from"
    r" (?:GPU([0-9]{1,3}) GSP|GSP([0-9]{1,3})?)!"
    r"(?: Expected function ([0-9]{1,10}) \(([A-Za-z0-9_]{1,48})\)"
    r"(?: sequence ([0-9]{1,10}))?"
    r"(?: \((0x[0-9a-fA-F]{1,16} 0x[0-9a-fA-F]{1,16})\))?)?"
)


def tell_timeout(body: str, detail: dict[str, str]) -> None:
    """Add to ``detail`` what the text of Xid 119 says: the call that was not answered."""
    match = _TIMEOUT.match(body)
    if match is None:
        return
    waited, gpu, numbered, number, name, sequence, data = match.groups()
    told = {
        "gpu": gpu or numbered,
        "waited_s": waited,
        "rpc": number,
        "rpc_name": name,
        "sequence": sequence,
        "data": data,
    }
    detail.update({key: value for key, value in told.items() if value})


class Dumps:
    """Which Xids and dumps were told lately, by node and number of the GPU; bounded."""

    def __init__(self, nodes: int = 4096) -> None:
        self._xids: Recent[tuple[str, str, bool], Instant] = Recent(2 * nodes)
        self._told: Recent[tuple[str, str, bool], Instant] = Recent(2 * nodes)

    def follow(self, xid: Fault, node: str, at: Instant, *, injected: bool) -> None:
        """A dump may follow this Xid. One that names no GPU may be followed by any."""
        _note(self._xids, xid, node, at, injected=injected)

    def fold(self, dump: Fault, node: str, at: Instant, *, injected: bool) -> Fault | None:
        """The Fault of a dump's record, or None where its Xid or its dump was told."""
        gpu = dump.detail.get("gpu", _ANY)
        for told in (self._xids, self._told):
            for name in (gpu, ""):  # what names no GPU goes with any
                before = told.get((node, name, injected))
                if before is not None and before.near(at, DUMP_S):
                    return None
        _note(self._told, dump, node, at, injected=injected)
        return dump


def _note(
    told: Recent[tuple[str, str, bool], Instant],
    fault: Fault,
    node: str,
    at: Instant,
    *,
    injected: bool,
) -> None:
    told.put((node, fault.detail.get("gpu", ""), injected), at)
    told.put((node, _ANY, injected), at)
