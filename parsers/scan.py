"""Which faults are in this log, line by line?

For a file on disk of any origin: kernel rules first, then pod rules. The node is what the
wrapper says. Nothing is known of other nodes, boots or earlier reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from parsers.decode import LITERALS, POD_LITERALS, Decoder
from parsers.fault import Fault
from parsers.record import unwrap

_ALL = LITERALS + POD_LITERALS


@dataclass(frozen=True, slots=True)
class ScanHit:
    """A Fault and the line that reported it (completed it, where a message spans lines)."""

    line_number: int  # from 1
    fault: Fault


def scan(lines: Iterable[str]) -> Iterator[ScanHit]:
    """The faults of ``lines``, in their order. Memory is bounded, whatever the lines are."""
    decoder = Decoder()
    for number, line in enumerate(lines, start=1):
        if not any(literal in line for literal in _ALL):
            continue
        record = unwrap(line)
        for fault in decoder.feed(record) or decoder.feed_pod(record):
            yield ScanHit(number, fault)
