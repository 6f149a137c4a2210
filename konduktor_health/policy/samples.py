"""On which faults is a condition tried before it is used? Every known one, and some odd ones."""

from __future__ import annotations

from collections.abc import Iterator

from konduktor_health.policy.known import Known
from konduktor_health.treatment import FaultFacts
from parsers.fault import Remedy, Severity, Trust

DEVICE = "0000:3b:00"
_LABELS = {"example.com/label": "value"}


def samples(known: Known) -> Iterator[FaultFacts]:
    """Faults as they may come: each one on a GPU of a node without labels, and then one of each
    severity, remedy and trust class, with and without device, labels and injection."""
    for fault_id, severity, remedy in known.all():
        yield FaultFacts(fault_id, severity, remedy, DEVICE, Trust.KERNEL, False, {})
    for fault_id in ("xid/79", "sxid/12028", "kernel/panic", "xid/4294967295", "probe/light"):
        yield FaultFacts(fault_id, Severity.UNKNOWN, Remedy.NONE, "", Trust.PROBE, True, _LABELS)
    for severity in Severity:
        yield FaultFacts("xid/79", severity, Remedy.REBOOT, "", Trust.ATTESTED, False, _LABELS)
    for remedy in Remedy:
        yield FaultFacts("xid/79", Severity.FATAL, remedy, DEVICE, Trust.KERNEL, False, _LABELS)
    for trust in Trust:
        yield FaultFacts("xid/79", Severity.FATAL, Remedy.REBOOT, DEVICE, trust, True, {})
