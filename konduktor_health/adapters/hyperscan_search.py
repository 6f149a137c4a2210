"""Which lines of a block contain one of these texts? The finder of extra ``fast``, on Hyperscan.

Finds what ``parsers.folds.FoldFinder`` finds, in a fraction of the time, and is taken by itself
where the package is installed.
"""

from __future__ import annotations

from typing import cast

from parsers.blocks import Finder
from parsers.folds import FoldFinder


class HyperscanFinder:
    """Finds lines that contain one of ``texts`` (printable ASCII, at least one).

    Raises ImportError where Hyperscan is not installed, ``hyperscan.error`` where it cannot work:
    it needs SSE 4.2.
    """

    def __init__(self, texts: tuple[bytes, ...]) -> None:
        import hyperscan

        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=list(texts),
            ids=list(range(len(texts))),
            flags=[0] * len(texts),
            literal=True,
        )

    def lines(self, buffer: bytearray, end: int) -> list[tuple[int, int]]:
        """Start and end of each such line of ``buffer[:end]``, in order."""
        ends: list[int] = []

        def on_match(_id: int, _start: int, match_end: int, _flags: int, _context: object) -> None:
            ends.append(match_end)

        block = cast(
            "bytes", memoryview(buffer)[:end]
        )  # any buffer will do, whatever its stub says
        self._database.scan(block, match_event_handler=on_match)
        found: list[tuple[int, int]] = []
        line = 0  # start of what was not looked at yet
        for at in sorted(ends):
            if at <= line:
                continue  # of a line that was found already
            start = buffer.rfind(b"\n", line, at) + 1 or line
            stop = buffer.find(b"\n", at, end)
            stop = stop if stop >= 0 else end
            found.append((start, stop))
            line = stop + 1
        return found


def fastest(texts: tuple[bytes, ...]) -> Finder:
    """The fastest finder that works here."""
    try:
        import hyperscan
    except ImportError:
        return FoldFinder(texts)
    try:
        return HyperscanFinder(texts)
    except hyperscan.error:  # no texts, or a processor that is too old
        return FoldFinder(texts)
