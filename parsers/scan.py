"""Which faults are in this log, line by line?

For a log of any origin: kernel rules first, then pod rules. The node is what the wrapper says.
Nothing is known of other nodes, boots or earlier reads. ``scan_stream`` is the fast way: it looks
at nothing but lines that contain a literal of a rule. ``scan_all`` takes every line apart; it
tells the same (property-tested), and is what the fast way is measured by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from parsers import lost, tables
from parsers.blocks import FoundLine, MakeFinder, Read, Search
from parsers.decode import Decoder
from parsers.fault import Fault
from parsers.folds import FoldFinder
from parsers.record import unwrap, unwrap_by_layers
from parsers.tables import GPU_LITERALS, Tables

_ON_GPUS = ("xid/", "sxid/", lost.FAULT_ID)
_BATCH_LINES = 256
_BATCH_LENGTH = 1 << 20


def literals_of(rules: Tables) -> tuple[str, ...]:
    """What any rule of these tables looks for."""
    return rules.literals + rules.pod_literals


@dataclass(slots=True)
class ScanHit:
    """A Fault and the line that reported it (completed it, where a message spans lines)."""

    line_number: int  # from 1; 0 where lines were not counted
    fault: Fault


def scan(lines: Iterable[str], rules: Tables | None = None) -> Iterator[ScanHit]:
    """The faults of ``lines``, in their order. Memory is bounded, whatever the lines are."""
    rules = tables.shipped() if rules is None else rules
    search = Search(literals_of(rules))
    decoder = Decoder(rules)
    for number, line in enumerate(lines, start=1):
        if search.matches(line):
            if (told := decoder.feed_line(line)) is not None:
                yield ScanHit(number, told)
                continue
            record = unwrap(line)
            for fault in decoder.feed(record) or decoder.feed_pod(record):
                yield ScanHit(number, fault)


def scan_stream(
    read: Read,
    rules: Tables | None = None,
    *,
    gpu_only: bool = False,
    number: bool = True,
    at_once: bool = False,
    finder: MakeFinder = FoldFinder,
) -> Iterator[ScanHit]:
    """The faults of a stream of bytes, in its order; many times faster than line by line.

    ``read`` fills a buffer, as ``readinto`` of a file does; what it raises is passed on, after the
    faults before. Undecodable bytes become surrogate escapes. ``gpu_only``: Xid, SXid and lost
    GPUs, nothing else. ``number``: whether to count lines, which takes a quarter of the time.
    ``at_once``: tell each fault as soon as it is read, not in batches. ``finder``: what
    searches the blocks, where something faster than the standard library is at hand. Memory is
    bounded, whatever the stream is.
    """
    rules = tables.shipped() if rules is None else rules
    search = Search(GPU_LITERALS if gpu_only else literals_of(rules), finder)
    decoder = Decoder(rules)
    for batch in _batches(search.lines(read, number=number), 1 if at_once else _BATCH_LINES):
        for at, text in batch:
            if (told := decoder.feed_line(text)) is not None:
                yield ScanHit(at, told)
                continue
            record = unwrap(text)
            for fault in decoder.feed(record) or decoder.feed_pod(record):
                if not gpu_only or fault.fault_id.startswith(_ON_GPUS):
                    yield ScanHit(at, fault)


def _batches(blocks: Iterator[list[FoundLine]], least: int) -> Iterator[list[FoundLine]]:
    """Searching empties the processor's caches of all that decoding needs: many lines decoded in
    a row take a fraction of the time that they take one by one, a block apart."""
    batch: list[FoundLine] = []
    size = 0
    try:
        for found in blocks:
            batch += found
            size += sum(len(text) for _, text in found)
            if len(batch) >= least or size >= _BATCH_LENGTH:
                yield batch
                batch, size = [], 0
    except Exception:
        yield batch
        raise
    yield batch


def scan_all(lines: Iterable[str], rules: Tables | None = None) -> Iterator[ScanHit]:
    """The reference: each line is unwrapped layer by layer and decoded, whatever it contains."""
    decoder = Decoder(rules)
    for number, line in enumerate(lines, start=1):
        record = unwrap_by_layers(line)
        for fault in decoder.feed(record) or decoder.feed_pod(record):
            yield ScanHit(number, fault)
