"""What does the agent's word make of a sighting of kernel lines? Pure.

The agent of a node has read the kernel's own log. Lines of one fault (device, fault id, boot) are
one question: a line that it confirms makes the sighting attested, whatever else was logged under
the same name; one that a program wrote makes it injected. A sighting that was just asked about
waits for the answer, for a short time that is given with it; then it is judged without.
"""

from __future__ import annotations

from dataclasses import replace

from konduktor_health.evidence import Attested
from konduktor_health.model import Attestation, Corroborate, Fault, Policy, Severity, Sighting
from parsers.fault import Trust

#: What may act is asked about; the rest is shown whatever the agent says.
ATTESTED_SEVERITIES = frozenset({Severity.FATAL, Severity.DEGRADED})


def question_of(fault: Fault) -> tuple[str, str, str]:
    """What the answers about a fault's lines are kept by."""
    return (fault.device, fault.fault_id, fault.boot_id)


def is_asked(fault: Fault) -> bool:
    """Whether the agent's word can change what this line does. One that a program wrote is asked
    about too: who forges a line can say that a program wrote it."""
    return fault.trust is Trust.KERNEL and fault.severity in ATTESTED_SEVERITIES


def waits_until(told: Attestation | None, policy: Policy, now_ns: int) -> int | None:
    """Until when the answer is waited for, Unix ns; None: it is not."""
    if told is None or told.said is not Attested.PENDING or policy.corroborate is Corroborate.OFF:
        return None
    return told.until_ns if told.until_ns > now_ns else None


def corroborated(sighting: Sighting, told: Attestation | None) -> Sighting:
    """The sighting with what the agent confirms of it."""
    if told is None or told.said is not Attested.CONFIRMED or not is_asked(sighting.fault):
        return sighting
    trust = Trust.ATTESTED
    return replace(sighting, fault=replace(sighting.fault, trust=trust, injected=told.injected))
