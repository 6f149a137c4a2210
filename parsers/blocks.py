"""Which lines of a byte stream contain one of these texts, found without reading lines?

A stream is read in big blocks into one buffer that is used again, a ``Finder`` searches each block
as a whole, and only the lines that it finds are cut out. The work for all other lines is what the
finder costs by the byte. ``parsers.folds`` has the finder of the standard library; another may be
passed in from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from parsers.folds import FoldFinder

#: A longer line is cut here, and what follows up to the next line feed is no line of its own.
#: Not less than four bytes (UTF-8) for each character that ``parsers.record`` looks at.
LINE_BYTES = 4 * 65_536
#: Fits the second-level cache together with its folded copy.
BLOCK_BYTES = LINE_BYTES

Read = Callable[[memoryview], "int | None"]


@dataclass(slots=True)
class FoundLine:
    """A line that contains one of the texts, without its line feed."""

    number: int  # from 1; 0 when not counted
    offset: int  # of its first byte in the stream
    content: bytes


class Finder(Protocol):
    """Knows a set of texts (printable ASCII) and finds the lines that contain one."""

    def lines(self, buffer: bytearray, end: int, /) -> Iterable[tuple[int, int]]:
        """Start and end of each line of ``buffer[:end]`` that contains one of the texts.

        In order, each once, the line feed left out. ``buffer`` may hold anything behind ``end``;
        it stays as it is until the last line was asked for.
        """


#: Makes the finder of these texts.
MakeFinder = Callable[[tuple[bytes, ...]], Finder]


class Search:
    """Finds the lines that contain one of ``texts`` (printable ASCII)."""

    def __init__(self, texts: Iterable[str], finder: MakeFinder = FoldFinder) -> None:
        self._texts = tuple(text.encode("ascii") for text in texts)
        self._finder = finder(self._texts)

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
            for start, stop in self._finder.lines(block.buffer, block.end):
                content = bytes(block.buffer[start:stop])
                if number:
                    line_feeds += _line_feeds(block.buffer, counted, start)
                    counted = start
                yield FoundLine(line_feeds + 1 if number else 0, block.offset + start, content)
                if number and stop < block.end:
                    line_feeds, counted = line_feeds + 1, stop + 1
            if number:
                line_feeds += _line_feeds(block.buffer, counted, block.end)


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


def _line_feeds(buffer: bytearray, start: int, end: int) -> int:
    if start == end:
        return 0
    # Twice as fast as count, which compares byte by byte.
    return end - start - len(buffer[start:end].replace(b"\n", b""))
