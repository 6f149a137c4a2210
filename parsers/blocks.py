"""Which lines of a byte stream contain one of these texts, found without reading lines?

A stream is read in big blocks into one buffer that is used again, a ``Finder`` searches each block
as a whole, and only the lines that it finds are cut out. The work for all other lines is what the
finder costs by the byte. ``parsers.folds`` has the finder of the standard library; another may be
passed in from outside. Where most of a block is found, as in a log of faults, the next one is cut
into lines that are looked at one by one, which is faster then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from parsers.folds import FoldFinder

#: A longer line is cut here, and what follows up to the next line feed is no line of its own.
#: Not less than four bytes (UTF-8) for each character that ``parsers.record`` looks at.
LINE_BYTES = 4 * 65_536
#: Fits the second-level cache together with its folded copy.
BLOCK_BYTES = LINE_BYTES

Read = Callable[[memoryview], "int | None"]


#: Number (from 1; 0 where lines are not counted) and text, without its line feed, of a line that
#: contains one of the texts. Undecodable bytes are surrogate escapes.
FoundLine = tuple[int, str]


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
        self._literals = tuple(texts)
        self._finder = finder(tuple(text.encode("ascii") for text in self._literals))

    def matches(self, line: str) -> bool:
        """True if the line contains one of the texts."""
        for literal in self._literals:  # noqa: SIM110 - a generator costs more than the search
            if literal in line:
                return True
        return False

    def lines(self, read: Read, *, number: bool = True) -> Iterator[list[FoundLine]]:
        """The matching lines of a stream, in its order: those of each block that has any.

        ``read`` fills a buffer and says how many bytes it put there, 0 at the end; what it
        raises is passed on. ``number``: whether to count lines, which costs a pass of its own.
        Memory is bounded, whatever the stream is.
        """
        before = 0  # lines before the block
        dense = False
        for buffer, end in _blocks(read):
            if dense:
                found, count = self._one_by_one(_text(buffer, 0, end), before, number=number)
            else:
                found, count = self._as_a_whole(buffer, end, before, number=number)
            before += count
            dense = 2 * sum(len(text) for _, text in found) > end
            if found:
                yield found

    def _as_a_whole(
        self, buffer: bytearray, end: int, before: int, *, number: bool
    ) -> tuple[list[FoundLine], int]:
        """The matching lines of a block, and how many line feeds it has (0: not counted)."""
        found: list[FoundLine] = []
        count = counted = 0  # line feeds in ``buffer[:counted]``
        for start, stop in self._finder.lines(buffer, end):
            if number:
                count += _line_feeds(buffer, counted, start)
                counted = start
            found.append((before + count + 1 if number else 0, _text(buffer, start, stop)))
        return found, count + _line_feeds(buffer, counted, end) if number else 0

    def _one_by_one(self, block: str, before: int, *, number: bool) -> tuple[list[FoundLine], int]:
        """The same, for a block of which most lines match, mostly by one and the same text."""
        likely = self._literals[0]
        found: list[FoundLine] = []
        lines = block.split("\n")
        for at, line in enumerate(lines, start=before + 1):
            if likely not in line:
                literal = next((each for each in self._literals if each in line), None)
                if literal is None:
                    continue
                likely = literal
            found.append((at if number else 0, line))
        return found, len(lines) - 1


def _text(buffer: bytearray, start: int, stop: int) -> str:
    return buffer[start:stop].decode("utf-8", "surrogateescape")


def _blocks(read: Read) -> Iterator[tuple[bytearray, int]]:
    """A buffer and how much of it is whole lines, valid until the next one is asked for."""
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    kept = 0  # the beginning of a line whose end was not read yet
    cut = False  # the line that is being read was given already, cut
    while count := read(view[kept:]):
        filled = kept + count
        if cut:
            begin = buffer.find(b"\n", 0, filled)
            if begin < 0:
                continue
            cut = False  # the line feed stays, as the end of the line that was given
            filled -= begin
            buffer[:filled] = buffer[begin : begin + filled]
        end = buffer.rfind(b"\n", kept, filled) + 1
        if not end and filled < len(buffer):
            kept = filled
            continue
        cut = not end
        end = end or filled
        yield buffer, end
        kept = filled - end
        buffer[:kept] = buffer[end:filled]
    if kept:
        yield buffer, kept


def _line_feeds(buffer: bytearray, start: int, end: int) -> int:
    if start == end:
        return 0
    # Twice as fast as count, which compares byte by byte.
    return end - start - len(buffer[start:end].replace(b"\n", b""))
