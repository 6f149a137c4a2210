"""Which lines of a block contain one of these texts? The finder that needs nothing installed.

Searching once for each text would cost a pass each. A fold finds many texts in one pass: it maps
characters to few classes (``translate``), chosen so that each text has a place, its window, where
the classes read the same, the needle, which ordinary lines seldom do. Where a block has the needle,
and behind it what one of the texts has there, is a candidate: its line counts when it contains one
of the texts, and no line that does is passed over. ``FoldFinder`` decides by itself which texts the
folds cover; any other text, such as a user's, costs a pass of its own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: So many characters behind a window are compared, as the fold has them.
_BEHIND = 6
#: Lines found by the first pass from which on the others leave them out (a block has thousands).
_MANY = 64
#: Windows of the texts of the rules on GPUs, chosen by trying all combinations on kernel logs: they
#: have next to no false candidates (a "MESSAGE": with a blank after the colon is one), and their
#: first class is rare, which makes the search fast.
GPU_WINDOWS = (b"Xid (", b"XID (", b"xid (", b"n off", b"The N", b"n thi", b'GE":[', b'GE": ')
# Windows of each fold. All but the first were chosen by ``benchmarks.choose_folds``.
_WINDOWS: tuple[tuple[bytes, ...], ...] = (
    GPU_WINDOWS,
    (
        b"WP",
        b"W_",
        b"WA",
        b"X ",
        b"Wi",
        b"XT",
        b"Wa",
        b"L ",
        b"LU",
        b"Lo",
        b"G ",
        b"Fa",
        b"DA",
        b"DE",
        b"O ",
        b"Of",
        b"Ou",
        b"x ",
        b"x5",
        b"No",
        b"NV",
    ),
    (
        b"he",
        b"h,",
        b"hd",
        b"hu",
        b"hr",
        b"je",
        b"Ke",
        b"Cu",
        b"Me",
        b"ye",
        b"yn",
        b"ze",
        b"ys",
        b"As",
        b"Pr",
        b"PU",
        b"Re",
        b"Rx",
        b"R-",
        b"Co",
    ),
    (b"se", b"sa", b"Ca", b"sp", b"ba", b"bl", b"_n"),
    (b"t ca", b"m-ki", b"meou", b"t of", b"medi", b"l pr", b"lid ", b"vide"),
    (b"dapte", b"cover"),
    (b"pcie", b"d re", b"y li", b"onta"),
)


class FoldFinder:
    """Finds lines that contain one of ``texts`` (printable ASCII)."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        left = tuple(texts)
        self.folds: list[Fold] = []
        for alike in _WINDOWS:
            fold = fold_of(alike, left)
            if fold is not None:
                self.folds.append(fold)
                left = tuple(text for text in left if text not in fold.texts)
        self.unfolded = left  #: texts that cost a pass each

    def lines(self, buffer: bytearray, end: int) -> list[tuple[int, int]]:
        """Start and end of each such line of ``buffer[:end]``, in order."""
        if not self.folds:
            found: dict[int, int] = {}
            self._search_plainly(buffer, end, found)
            return sorted(found.items())
        # the whole buffer where most of it is in use, to save the copy of a slice
        used = buffer if 2 * end > len(buffer) else buffer[:end]
        first, *others = self.folds
        found = first.collect(buffer, used.translate(first.table), end)
        if len(found) > _MANY:
            rest = _Rest(buffer, end, found)
            more: dict[int, int] = {}
            for fold in others:
                more |= fold.collect(rest.lines, rest.lines.translate(fold.table), len(rest.lines))
            self._search_plainly(rest.lines, len(rest.lines), more)
            found |= rest.places(more)
        else:
            for fold in others:
                found |= fold.collect(buffer, used.translate(fold.table), end)
            self._search_plainly(buffer, end, found)
        return sorted(found.items())

    def _search_plainly(self, buffer: bytearray, end: int, found: dict[int, int]) -> None:
        for text in self.unfolded:
            _collect(text, buffer, end, found)


class _Rest:
    """The lines of a block without those that were found: in a log of faults hardly any are left,
    and no other pass need look at the others again."""

    def __init__(self, buffer: bytearray, end: int, found: dict[int, int]) -> None:
        self._starts: list[int] = []  # of each piece, in ``lines``
        self._shifts: list[int] = []  # and how far it stood behind that
        self.lines = bytearray()
        at = 0
        for start, stop in sorted(found.items()):
            self._add(buffer, at, start)
            at = stop + 1
        self._add(buffer, at, end)

    def _add(self, buffer: bytearray, start: int, stop: int) -> None:
        if start < stop:
            self._starts.append(len(self.lines))
            self._shifts.append(start - len(self.lines))
            self.lines += buffer[start:stop]

    def places(self, found: dict[int, int]) -> dict[int, int]:
        """Where these lines of the rest stand in the block."""
        shifted: dict[int, int] = {}
        for start, stop in found.items():
            shift = self._shifts[bisect_right(self._starts, start) - 1]
            shifted[start + shift] = stop + shift
        return shifted


@dataclass(frozen=True, slots=True)
class Fold:
    """A table for ``translate``, and what is found in what it makes of a block."""

    table: bytes
    needle: bytes  # what all windows become
    candidate: re.Pattern[bytes]  # the needle, and what then follows in one of the texts
    #: Texts by the window that they have, each with the place of the window in it.
    windows: Mapping[bytes, tuple[tuple[bytes, int], ...]]
    texts: tuple[bytes, ...]

    def collect(self, buffer: bytearray, folded: bytearray, end: int) -> dict[int, int]:
        """Start and end of the lines that contain one of the texts.

        A line that has a window of a text is looked at once, so that a line full of them costs no
        more than any other.
        """
        found: dict[int, int] = {}
        search, windows, size = self.candidate.search, self.windows, len(self.needle)
        line = at = 0
        while (match := search(folded, at, end)) is not None:
            at = match.start()
            texts = windows.get(bytes(buffer[at : at + size]))
            if texts is None:
                at += 1
                continue
            start = buffer.rfind(b"\n", line, at) + 1 or line
            stop = _stop(buffer, at, end)
            for text, place in texts:
                if buffer.startswith(text, max(line, at - place), end):
                    found[start] = stop
                    break
            else:
                content = bytes(buffer[start:stop])
                if any(text in content for text in self.texts):
                    found[start] = stop
            line = at = stop + 1
        return found


def _collect(text: bytes, buffer: bytearray, end: int, found: dict[int, int]) -> None:
    line = 0
    while (at := buffer.find(text, line, end)) >= 0:
        start = buffer.rfind(b"\n", line, at) + 1 or line
        found[start] = stop = _stop(buffer, at, end)
        line = stop + 1


def _stop(buffer: bytearray, at: int, end: int) -> int:
    stop = buffer.find(b"\n", at, end)
    return stop if stop >= 0 else end


def fold_of(alike: tuple[bytes, ...], texts: tuple[bytes, ...]) -> Fold | None:
    """What these windows make alike in the texts; no wider than these texts need.

    None when they make nothing alike.
    """
    needed = tuple(window for window in alike if any(window in text for text in texts))
    if not needed:
        return None
    table, needle = _equal(needed)
    size = len(needle)
    places = {text: text.translate(table).find(needle) for text in texts}
    places = {text: at for text, at in places.items() if at >= 0}
    behind = {text[at + size : at + size + _BEHIND].translate(table) for text, at in places.items()}
    # A search for a text that is the same in all is one plain loop, faster than find; what follows
    # is looked at only where that is found.
    choice = b"|".join(re.escape(each) for each in sorted(behind))
    return Fold(
        table,
        needle,
        re.compile(re.escape(needle) + (b"" if b"" in behind else b"(?:" + choice + b")")),
        _by_window(places, size),
        tuple(places),
    )


def _by_window(
    places: Mapping[bytes, int], size: int
) -> Mapping[bytes, tuple[tuple[bytes, int], ...]]:
    found: dict[bytes, tuple[tuple[bytes, int], ...]] = {}
    for text, at in places.items():
        window = text[at : at + size]
        found[window] = (*found.get(window, ()), (text, at))
    return found


def _equal(alike: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """A table for ``translate`` that makes these texts equal, and the text that they become.

    Characters that stand at the same place of two texts fall into one class; so do those that
    share a class with one of them. A class becomes its first character; all others stay.
    """
    classes: list[set[int]] = []
    for column in zip(*alike, strict=True):
        joined = set(column).union(*(one for one in classes if one & set(column)))
        classes = [one for one in classes if not one & joined] + [joined]
    table = bytearray(range(256))
    for one in classes:
        for code in one:
            table[code] = min(one)
    return bytes(table), alike[0].translate(table)
