"""What do faults say together that none of them says alone? The vocabulary of relations.

A Finding is a statement about faults that were seen, never an action. ``parsers.relate`` makes
them; whoever decides or shows reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from parsers.fault import Fault, Remedy, Severity


class Kind(Enum):
    """What a Finding states."""

    REPEATED = "repeated"  # the same in the same place, of different jobs
    RETURNED = "returned"  # seen again after what should have repaired it
    SAME = "same"  # the event of ``root``, told once more
    CAUSED = "caused"  # follows ``root``, or an Xid that the line names
    ALONE = "alone"  # should follow another one, and no other was seen
    BEGUN = "begun"  # a state that its end will clear
    ENDED = "ended"  # of the state that ``root`` began, where that was seen
    MEMORY = "memory"  # what the memory faults of one GPU come to
    ORDERED = "ordered"  # the driver asks for it
    REPAIRED = "repaired"  # a reset or a reboot after faults


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement. ``severity`` and ``remedy`` are what the faults together come to; of
    REPAIRED, ``remedy`` is what was done."""

    kind: Kind
    fault: Fault  # the latest of the faults that it is about
    severity: Severity
    remedy: Remedy
    why: str  # a sentence for people, without a full stop
    root: Fault | None = None
    count: int = 1  # of lines (CAUSED, ALONE, SAME), or of different jobs (REPEATED)
