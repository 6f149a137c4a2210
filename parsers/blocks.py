"""Which lines of a byte stream contain one of these texts, found without reading lines?

A stream is read in big blocks into one buffer that is used again, each block is searched as a
whole, and only the lines that match are cut out. The work for all other lines is what
``translate`` and a search cost by the byte.

Searching once for each text would cost a pass each. One pass finds most of the texts of the
GPU rules: ``_FOLD`` maps characters to few classes, chosen so that each text has a place where
the classes read ``_NEEDLE``, which ordinary text hardly ever does. What such a pass finds is only
a candidate: a line counts when it contains one of the texts, and nothing that does is passed over.
``Search`` decides by itself which texts the fold covers; any other text costs a pass of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

#: A longer line is cut here, and what follows up to the next line feed is no line of its own.
#: Not less than four bytes (UTF-8) for each character that ``parsers.record`` looks at.
LINE_BYTES = 4 * 65_536
#: Fits the second-level cache together with its folded copy.
BLOCK_BYTES = LINE_BYTES

# Places in the texts that the fold makes equal. Chosen by trying all combinations on kernel logs:
# this one has next to no false candidates (a "MESSAGE": with a blank after the colon is one), and
# its first class is rare, which makes the search fast.
_ALIKE = (b"Xid (", b"XID (", b"xid (", b"n off", b"The N", b"n thi", b'GE":[', b'GE": ')

Read = Callable[[memoryview], "int | None"]
_Find = Callable[[bytearray, int, int], int]


@dataclass(slots=True)
class FoundLine:
    """A line that contains one of the texts, without its line feed."""

    number: int  # from 1; 0 when not counted
    offset: int  # of its first byte in the stream
    content: bytes


class Search:
    """Finds the lines that contain one of ``texts`` (ASCII, without line feeds)."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(text.encode("ascii") for text in texts)
        rest = [text for text in self._texts if _NEEDLE not in text.translate(_FOLD)]
        self._folds = len(rest) < len(self._texts)
        self._finds = [_found(text) for text in rest]

    def matches(self, line: bytes) -> bool:
        """True if the line contains one of the texts."""
        for text in self._texts:  # noqa: SIM110 - a generator costs more than the search
            if text in line:
                return True
        return False

    def lines(self, read: Read, *, number: bool = True) -> Iterator[FoundLine]:
        """The matching lines of a stream, in its order.

        ``read`` fills a buffer and says how many bytes it put there, 0 at the end; what it
        raises is passed on. ``number``: whether to count lines, which costs a pass of its own.
        Memory is bounded, whatever the stream is.
        """
        line_feeds = 0  # before ``counted`` in the block, and in all blocks before
        for block in _blocks(read):
            counted = 0
            for start, stop in self._candidates(block):
                content = bytes(block.buffer[start:stop])
                if not self.matches(content):
                    continue
                if number:
                    line_feeds += _line_feeds(block.buffer, counted, start)
                    counted = start
                yield FoundLine(line_feeds + 1 if number else 0, block.offset + start, content)
                if number and stop < block.end:
                    line_feeds, counted = line_feeds + 1, stop + 1
            if number:
                line_feeds += _line_feeds(block.buffer, counted, block.end)

    def _candidates(self, block: _Block) -> list[tuple[int, int]]:
        """Start and end of each line that may match, in order; a line is looked at once a pass,
        so that a line full of the texts costs no more than any other."""
        buffer, end = block.buffer, block.end
        found: dict[int, int] = {}
        if self._folds:
            # the whole buffer where most of it is in use, to save the copy of a slice
            used = buffer if 2 * end > len(buffer) else buffer[:end]
            _collect(_needle_at, used.translate(_FOLD), buffer, end, found)
        for find in self._finds:
            _collect(find, buffer, buffer, end, found)
        return sorted(found.items())


@dataclass(slots=True)
class _Block:
    """Whole lines: ``buffer[:end]``, valid until the next block is asked for."""

    buffer: bytearray
    end: int
    offset: int  # of the buffer's first byte in the stream


def _blocks(read: Read) -> Iterator[_Block]:
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    offset = kept = 0  # kept: the beginning of a line whose end was not read yet
    cut = False  # the line that is being read was given already, cut
    while count := read(view[kept:]):
        filled = kept + count
        if cut:
            begin = buffer.find(b"\n", 0, filled)
            if begin < 0:
                offset += filled
                continue
            cut = False  # the line feed stays, as the end of the line that was given
            offset, filled = offset + begin, filled - begin
            buffer[:filled] = buffer[begin : begin + filled]
        end = buffer.rfind(b"\n", kept, filled) + 1
        if not end and filled < len(buffer):
            kept = filled
            continue
        cut = not end
        end = end or filled
        yield _Block(buffer, end, offset)
        kept = filled - end
        buffer[:kept] = buffer[end:filled]
        offset += end
    if kept:
        yield _Block(buffer, kept, offset)


def _collect(
    find: _Find, text: bytearray, buffer: bytearray, end: int, found: dict[int, int]
) -> None:
    line = 0
    while (at := find(text, line, end)) >= 0:
        start = buffer.rfind(b"\n", line, at) + 1 or line
        stop = buffer.find(b"\n", at, end)
        found[start] = stop = stop if stop >= 0 else end
        line = stop + 1


def _found(text: bytes) -> _Find:
    return lambda buffer, start, end: buffer.find(text, start, end)


def _line_feeds(buffer: bytearray, start: int, end: int) -> int:
    if start == end:
        return 0
    # Twice as fast as count, which compares byte by byte.
    return end - start - len(buffer[start:end].replace(b"\n", b""))


def _fold(alike: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """A table for ``translate`` that makes these texts equal, and the text that they become.

    Characters that stand at the same place of two texts fall into one class; so do those that
    share a class with one of them. All other characters become zero.
    """
    classes: list[set[int]] = []
    for column in zip(*alike, strict=True):
        joined = set(column).union(*(one for one in classes if one & set(column)))
        classes = [one for one in classes if not one & joined] + [joined]
    table = bytearray(256)
    for number, one in enumerate(classes, start=1):
        for code in one:
            table[code] = number
    return bytes(table), alike[0].translate(table)


_FOLD, _NEEDLE = _fold(_ALIKE)
# Faster than find for a short text: the search for its first class is one plain loop.
_needle_search = re.compile(re.escape(_NEEDLE)).search


def _needle_at(folded: bytearray, start: int, end: int) -> int:
    match = _needle_search(folded, start, end)
    return -1 if match is None else match.start()
