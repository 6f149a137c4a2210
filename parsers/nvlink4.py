"""What do the seven registers of an Xid 74 ask for? NVLink up to generation 4.

The line's word (fatal, non-fatal) decides how bad it is, with one exception that the register
table makes: where every bit that is set is known to be harmless, there is nothing to do. Bits
that the table does not know never excuse a line. Fewer than seven words: the word alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from parsers.catalog import registers
from parsers.fault import Remedy, Severity
from parsers.printable import printable

if TYPE_CHECKING:
    from parsers.catalog.rules import RegisterBit

_LINE = re.compile(
    r"NVLink: (non-?)?fatal\b(?: error detected on link ([0-9]{1,3}))?"
    r"(?: ?\((0x[0-9a-f]{1,8}(?:, ?0x[0-9a-f]{1,8}){6})\))?",
    re.IGNORECASE,
)
_DETAIL_LIMIT = 64


def judge(body: str, detail: dict[str, str]) -> tuple[Severity, Remedy] | None:
    """Severity and remedy of what follows pid and name, or None when it is no such text.

    Fills ``detail``: ``link``, ``word``, and where bits are set ``bits`` (register.bit, the
    worst first), ``asks`` (what the worst asks for) and ``disagree``.
    """
    match = _LINE.match(body)
    if match is None:
        return None
    if match[2]:
        detail["link"] = str(int(match[2]))
    detail["word"] = "nonfatal" if match[1] else "fatal"
    known, strange = _bits(match[3]) if match[3] else ([], False)
    if known:
        detail["bits"] = printable(", ".join(f"{b.register}.{b.bit}" for b in known), _DETAIL_LIMIT)
        detail["asks"] = known[0].asks
        if known[0].harmless and not strange:
            if not match[1]:
                detail["disagree"] = "bits: harmless, line: fatal"
            return Severity.INFO, Remedy.NONE
    if match[1]:
        return Severity.DEGRADED, Remedy.INSPECT
    acts = known and not known[0].harmless
    return Severity.FATAL, known[0].remedy if acts else Remedy.RESET_GPU


def _bits(words: str) -> tuple[list[RegisterBit], bool]:
    """Known bits that are set, worst first, and whether bits are set that no rule knows."""
    table = registers()
    known: list[RegisterBit] = []
    strange = False
    for number, word in enumerate(words.split(","), start=1):
        value = int(word, 16)
        if not value:
            continue
        for bit in table.get(number, ()):
            if value >> bit.bit & 1:
                known.append(bit)
                value ^= 1 << bit.bit
        strange = strange or value != 0
    known.sort(key=lambda bit: bit.rank)
    return known, strange
