"""How is one nanosecond read that holds more lines than a page?

The group is halved by query stages ("matches" and "does not match" are always a whole), until
each part's page is not full: that proves the part complete. A part that cannot be halved is
asked from both ends; whatever remains unproven is reported as not complete, never passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction
from konduktor_health.adapters.loki.query import Query, is_label_name, labelled, matching
from konduktor_health.errors import LokiRefused

_REACH = 160  # characters from each end of a line that are looked at
_SAMPLE = 500  # lines that a cut is chosen from
_MOST_CHARACTERS = 32 * 1024 * 1024  # of all lines together
_GOOD_SHARE = 0.3  # a cut that leaves at least this share on either side is taken at once

Fetch = Callable[[Query, Direction], Page]
Cut = tuple[str, str]  # the stage for one half, and for the other


class TieReader:
    """Reads all lines of one timestamp. One use."""

    def __init__(self, fetch: Fetch, *, max_pages: int, max_lines: int = 50_000) -> None:
        self._fetch = fetch
        self._pages_left = max_pages
        self._max_lines = max_lines
        self._found: dict[object, Line] = {}
        self._characters = 0
        self._complete = True

    def read(self, query: Query, page: Page) -> tuple[tuple[Line, ...], bool]:
        """The lines and whether they are proven to be all. ``page``: the full page that showed
        the tie. Raises what the fetch raises, but for 400: this Loki lacks the stages then."""
        self._take(page)
        try:
            self._halve(query, page)
        except LokiRefused as error:
            if error.status != 400:
                raise
            self._both_ends(query)
        return tuple(self._found.values()), self._complete

    def _halve(self, query: Query, page: Page) -> None:
        """Read a part whose forward page is full."""
        waiting = [(query, page)]
        while waiting:
            part, seen = waiting.pop()
            cut = choose_cut(seen.lines) if self._may_go_on(2) else None
            if cut is None:
                self._both_ends(part)
                continue
            halves = [(part.then(stage), self._ask(part.then(stage), "forward")) for stage in cut]
            full = [(half, answer) for half, answer in halves if answer.full]
            waiting.extend(full)
            if not full and sum(len(answer.lines) for _, answer in halves) < len(seen.lines):
                # Loki 3 answers 200 and nothing to a pattern that it cannot compile
                self._both_ends(part)

    def _both_ends(self, query: Query) -> None:
        """Ask from the other end too: up to two pages of the part. Not a proof, even where the
        pages overlap: the order within a tie is not the same in both directions (measured)."""
        if self._may_go_on(1) and not self._ask(query, "backward").full:
            return
        self._complete = False

    def _may_go_on(self, pages: int) -> bool:
        large = len(self._found) >= self._max_lines or self._characters >= _MOST_CHARACTERS
        return self._pages_left >= pages and not large

    def _ask(self, query: Query, direction: Direction) -> Page:
        self._pages_left -= 1
        answer = self._fetch(query, direction)
        self._take(answer)
        return answer

    def _take(self, page: Page) -> None:
        for line in page.lines:
            if self._found.setdefault(line.key(), line) is line:
                self._characters += len(line.text)


def choose_cut(lines: tuple[Line, ...]) -> Cut | None:
    """Two stages that part these lines, as evenly as found; None when nothing tells them apart.

    The lines are only a sample of the group; the two stages are a whole for any group.
    """
    sample = lines[:: max(1, len(lines) // _SAMPLE)]
    best: tuple[float, Cut] | None = None
    for matched, cut in _cuts(sample):
        share = min(matched, len(sample) - matched) / len(sample)
        if share > 0 and (best is None or share > best[0]):
            best = (share, cut)
            if share >= _GOOD_SHARE:
                break
    return best[1] if best else None


def _cuts(sample: tuple[Line, ...]) -> Iterator[tuple[int, Cut]]:
    """Possible cuts with the number of sample lines in their first half."""
    for from_end in (True, False):
        for offset in range(_REACH):
            seen = Counter(_character(line.text, offset, from_end) for line in sample)
            longer = len(sample) - seen.pop("", 0)
            if longer == 0:
                break  # no line is that long
            chosen, matched = _near_half(seen, len(sample))
            if 0 < matched < len(sample):
                pattern = _pattern(chosen, offset, from_end)
                yield matched, (matching(pattern), matching(pattern, wanted=False))
    pairs = Counter(pair for line in sample for pair in {**line.metadata, **line.labels}.items())
    for (name, value), matched in pairs.items():
        if 0 < matched < len(sample) and is_label_name(name):
            yield matched, (labelled(name, value), labelled(name, value, wanted=False))


def _character(text: str, offset: int, from_end: bool) -> str:
    if offset >= len(text):
        return ""
    return text[-1 - offset] if from_end else text[offset]


def _near_half(seen: Counter[str], total: int) -> tuple[list[str], int]:
    """Characters that together are in about half of the lines."""
    chosen: list[str] = []
    matched = 0
    for character, count in seen.most_common(200):
        if matched + count <= total // 2 or not chosen:
            chosen.append(character)
            matched += count
    return chosen, matched


def _pattern(characters: list[str], offset: int, from_end: bool) -> str:
    """RE2: one of the characters, ``offset`` characters from an end of the line."""
    group = "".join(
        character if character.isalnum() or ord(character) > 127 else f"\\x{ord(character):02x}"
        for character in sorted(characters)
    )
    between = f".{{{offset}}}" if offset else ""
    return f"(?s)[{group}]{between}$" if from_end else f"(?s)^{between}[{group}]"
