"""What was heard of a node? Sightings, repairs, probe results, nodes that were deleted.

Part of the vocabulary (``konduktor_health.model`` has it all).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from konduktor_health.treatment import Repair
from parsers.fault import Fault


@dataclass(slots=True)
class Sighting:
    """Faults of one (device, fault_id) on one node since they were last settled, folded.

    Not frozen: that would make it three times as slow to build, and one is for each line that is
    heard. Nobody changes one.
    """

    fault: Fault  # the newest by event time
    first_ns: int  # event time of the oldest
    last_ns: int  # event time of the newest
    count: int  # distinct identities (N for "repeated N times")
    acting: bool = True  # False: too old to act (first look-back); visible only
    # event time of its newest line, owner, event time of its oldest line, of each episode, oldest
    # first (``core.record``)
    episodes: tuple[tuple[int, str, int], ...] = ()
    # where on the device it was seen: details as of ``parsers.places.place_of``, sorted
    places: tuple[tuple[tuple[str, str], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RepairSeen:
    """The kernel of a node said that something was repaired, or ended. Never from a program's or
    a pod's line (``parsers.proofs``). A boot is seen by the Node's boot id instead."""

    kind: Repair
    device: str  # "" is the whole node
    event_ns: int
    boot_id: str = ""  # of the line; "" when it does not tell
    ends: tuple[str, ...] = ()  # END: the fault ids of which this is the end
    place: tuple[tuple[str, str], ...] = ()  # details that the ended fault has to share


class Attested(Enum):
    """What the agent of a node says of a kernel line. Values are metric labels."""

    CONFIRMED = "confirmed"  # it is in the kernel's log
    DENIED = "denied"  # it would be there, and is not
    UNKNOWN = "unknown"  # it may have been there; or nobody answers
    PENDING = "pending"  # asked, and not answered yet


@dataclass(frozen=True, slots=True)
class Attestation:
    """What is known of the lines of one fault: the best that was said of any of them."""

    said: Attested
    injected: bool = False  # confirmed, and a program wrote it
    until_ns: int = 0  # PENDING: it is waited for until then, Unix ns
    reason: str = ""


class ProbeStatus(Enum):
    """What a check on a node came to, as agents say it (``probes.report``). Only PASS proves
    anything, and only FAIL accuses."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    WARN = "warn"  # measured, and near its limit or bad in a way that does not accuse the node
    SKIP = "skip"  # not measured, for a reason
    TIMEOUT = "timeout"  # it did not end in time
    ERROR = "error"  # the measuring itself failed


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One result of one check, as the core takes it (``ports.Probes``)."""

    check: str  # "pcie-bandwidth"
    tier: str  # boot, light, invasive
    status: ProbeStatus
    time_ns: int  # when the check ended, Unix ns
    device: str = ""  # "" is the whole node
    under_load: bool = False
    boot_id: str = ""
    fake: bool = False  # of a fake backend: proves nothing
    run_id: str = ""  # names the run, so that it counts once


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the newest run of one level of DCGM's diagnostic came to, measured to its end."""

    level: int  # 1 to 4
    passed: bool
    time_ns: int  # when it ended, Unix ns
    failed: str = ""  # "memory.0.1,pcie.3": tests that failed, and DCGM's ids of the GPUs


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A node that was deleted with open records, kept by its system UUID for 30 days."""

    node: str
    uid: str
    deleted_ns: int
    faults: tuple[str, ...]  # "fault id|device", worst first
