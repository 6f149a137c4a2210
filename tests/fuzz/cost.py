"""Does twice the text take more than about twice the time? Measured, so never part of a test run.

Texts that repeat one piece are what makes backtracking and rescanning expensive. Where the second
half costs much more than the first, it is measured again: only what shows thrice is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

from konduktor_health.core.ledger import CorruptLedger, parse
from konduktor_health.core.reset import parse_reset_at
from konduktor_health.runtime.log import printable
from parsers.decode import Decoder
from parsers.record import unwrap, unwrap_by_layers
from parsers.rules import kernel_rules, pod_rules
from tests.fuzz.mutation import TOKENS

#: Twice the text may take so many times the time.
GROWTH = 2.6
_FLOOR_S = 0.0004  # shorter times say nothing
_SIZE = 24_000
_STARTS = (
    "", "NVRM: Xid (PCI:0000:3b:00): 31, pid=7, name=", "NVRM: Xid (PCI:0000:3b:00): 45, ",
    "NVRM: Xid (PCI:0000:3b:00): 160, ", "NVRM: Xid (PCI:0000:3b:00): 145, pid=7, name=x, ",
    "nvidia-nvswitch0: SXid (PCI:0000:c3:00.0): 20034, Fatal, ", "[1.000001] ", '{"log":"',
    "NVRM: The NVIDIA GPU 0000:af:00.0", "NVRM: Xid (", '{"MESSAGE":[', "x ", "[", "{",
)  # fmt: skip
_MORE = (
    "a",
    "0",
    "0x1 ",
    "0x0, ",
    "[1,",
    '{"a":',
    "\\",
    "\xff",
    "NVRM:",
    "(PCI ID: 10de:2330)",
    ".",
)


def expensive() -> Iterator[tuple[str, float]]:
    """What grows faster than the text: a name, and how much."""
    for start in _STARTS:
        for piece in (*TOKENS, *_MORE):
            for name, work in _works():
                grown = _growth(work, start, piece)
                if grown > GROWTH:
                    grown = min(grown, *(_growth(work, start, piece) for _ in range(2)))
                if grown > GROWTH:
                    yield f"{name} of {start!r} and many {piece!r}", grown


def _works() -> tuple[tuple[str, Callable[[str], object]], ...]:
    return (
        ("decode", _decode),
        ("unwrap_by_layers", unwrap_by_layers),
        ("rules", _rules),
        ("annotations", _annotations),
    )


def _decode(text: str) -> None:
    record = unwrap(text)
    decoder = Decoder()
    decoder.feed(record)
    decoder.feed_pod(record)


def _rules(text: str) -> None:
    kernel_rules().match(text)
    pod_rules().match(text)


def _annotations(text: str) -> None:
    printable(text)
    parse_reset_at(text)
    try:
        parse(text)
    except CorruptLedger:
        return


def _growth(work: Callable[[str], object], start: str, piece: str) -> float:
    once, twice = (start + piece * (size // len(piece)) for size in (_SIZE, 2 * _SIZE))
    longer = _seconds(work, twice)
    if longer < _FLOOR_S:
        return 0.0
    return longer / max(_seconds(work, once), _FLOOR_S / 2)


def _seconds(work: Callable[[str], object], text: str) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        work(text)
        times.append(time.process_time() - start)
    return median(times)
