"""Nodes that carry a ledger, for tests of what is told about them."""

from __future__ import annotations

from typing import Any

from konduktor_health.core.ledger import Ledger, Record, render
from konduktor_health.model import NodeView, Remedy, Severity
from konduktor_health.timestamps import NS
from tests.support.builders import BOOT, NOW, OUR_TAINT, node


def record(fault_id: str = "xid/79", **fields: Any) -> Record:
    """A fatal record that opened an hour ago."""
    defaults: dict[str, Any] = {
        "device": "0000:3b:00",
        "severity": Severity.FATAL,
        "remedy": Remedy.REBOOT,
        "first_ns": NOW - 3600 * NS,
        "last_ns": NOW - 60 * NS,
        "count": 3,
        "boot_id": BOOT,
        "source": "kmsg",
        "text": "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
    }
    return Record(fault_id=fault_id, **(defaults | fields))


def sick(*records: Record, owned: tuple[str, ...] = ("NoSchedule",), **fields: Any) -> NodeView:
    """A node with a ledger of these records, tainted by us unless said otherwise."""
    ledger = Ledger(
        uid="uid-gpu-1",
        boot_id=BOOT,
        written_ns=NOW - 60 * NS,
        since_ns=NOW - 3600 * NS,
        owned=owned,
        tainted_ns=NOW - 3600 * NS,
        records=records,
    )
    defaults: dict[str, Any] = {"ledger": render(ledger), "taints": (OUR_TAINT,)}
    return node(**(defaults | fields))
