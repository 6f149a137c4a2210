"""Which windows make the best folds for the shipped literals (``parsers.folds``)?

``python -m benchmarks.choose_folds [--seconds S] [LOG...]`` prints a table to put there: run it
when literals have been added, until when each may cost a pass of its own. The files are ordinary
kernel logs without wrappers, the more kinds of lines the better; the benchmark's own lines are
added.

Greedy, with random beginnings: a fold grows by the window that makes it slower the least; the fold
that finds the most texts for its time is taken, and the rest is left to the next.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import scan_log
from parsers import tables
from parsers.folds import GPU_WINDOWS, Fold, fold_of
from parsers.scan import literals_of

_SIZES = (2, 2, 3, 3, 4, 4, 5)  # of windows; how often each is tried
#: Nanoseconds for a line of 90 bytes, measured: translate, a needle found, a candidate looked at.
_TRANSLATE, _FOUND, _CANDIDATE = 27, 70, 2000
#: The same for the search, by how often a line has the first class of the needle.
_SEARCH = ((0, 15), (1, 35), (4, 50), (6, 60), (9, 70), (12, 80), (17, 88), (26, 106), (90, 200))
_SLOWEST = 200  # a fold grows no further
_TRIED, _MEASURED = 100, 6  # windows looked at in each step: roughly, and exactly


class Ordinary:
    """Lines that contain no literal."""

    def __init__(self, texts: list[str], literals: tuple[bytes, ...]) -> None:
        chance = random.Random(5)
        stamped = (scan_log.wrapped(chance, chance.randrange(9**7), text) for text in texts)
        kept = (line.encode() for line in stamped)
        self._content = b"\n".join(
            line for line in kept if not any(each in line for each in literals)
        )

    def found(self, fold: Fold) -> int:
        """How often the needle is found."""
        return self._content.translate(fold.table).count(fold.needle)

    def cost(self, fold: Fold) -> float:
        """Nanoseconds for a line, as good as guessed."""
        folded, lines = self._content.translate(fold.table), len(self._content) / 90
        first = folded.count(fold.needle[:1]) / lines
        candidates = len(fold.candidate.findall(folded)) / lines
        found = folded.count(fold.needle) / lines
        return _TRANSLATE + _search(first) + _FOUND * found + _CANDIDATE * candidates


def grown(
    window: bytes, texts: tuple[bytes, ...], ordinary: Ordinary, chance: random.Random
) -> tuple[float, tuple[bytes, ...]]:
    """The best fold that begins with this window: texts found per nanosecond, and its windows."""
    windows: tuple[bytes, ...] = (window,)
    best = (0.0, windows)
    while (fold := fold_of(windows, texts)) is not None:
        cost = ordinary.cost(fold)
        if cost > _SLOWEST:
            break
        best = max(best, (len(fold.texts) / cost, windows))
        left = tuple(text for text in texts if text not in fold.texts)
        more = [(*windows, each) for each in _cheapest(fold, left, chance)]
        if not more:
            break
        windows = min(_promising(more, texts, ordinary), key=lambda each: each[0])[1]
    return best


def folds(
    texts: tuple[bytes, ...], ordinary: Ordinary, seconds: float, chance: random.Random
) -> Iterator[tuple[tuple[bytes, ...], Fold]]:
    """Windows of folds that find all of the texts; so many seconds of thought for each."""
    while texts:
        best: tuple[float, tuple[bytes, ...]] = (0.0, ())
        until = time.process_time() + seconds
        while time.process_time() < until or not best[1]:
            size, seed = chance.choice(_SIZES), chance.choice(texts)
            if len(seed) >= size:
                at = chance.randrange(len(seed) - size + 1)
                best = max(best, grown(seed[at : at + size], texts, ordinary, chance))
        fold = fold_of(best[1], texts)
        if fold is None:
            break
        texts = tuple(text for text in texts if text not in fold.texts)
        yield best[1], fold


def _search(first: float) -> float:
    for (less, fast), (more, slow) in itertools.pairwise(_SEARCH):
        if first <= more:
            return fast + (slow - fast) * (first - less) / (more - less)
    return _SEARCH[-1][1]


def _promising(
    more: list[tuple[bytes, ...]], texts: tuple[bytes, ...], ordinary: Ordinary
) -> Iterator[tuple[float, tuple[bytes, ...]]]:
    """The cost of the few that have the fewest needles, and their windows."""
    made = ((fold_of(each, each), each) for each in more)  # texts of their own: quickly made
    found = sorted((ordinary.found(fold), each) for fold, each in made if fold is not None)
    for _, each in found[:_MEASURED]:
        fold = fold_of(each, texts)
        if fold is not None:
            yield ordinary.cost(fold), each


def _cheapest(fold: Fold, texts: tuple[bytes, ...], chance: random.Random) -> list[bytes]:
    """Windows of the texts: first those that change the classes least."""
    size = len(fold.needle)

    def change(window: bytes) -> tuple[int, float]:
        pairs = zip(window.translate(fold.table), fold.needle, strict=True)
        return sum(3 if ours else 1 for ours, other in pairs if ours != other), chance.random()

    those = {text[at : at + size] for text in texts for at in range(len(text) - size + 1)}
    return sorted(sorted(those), key=change)[:_TRIED]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Choose the windows of parsers.folds.")
    parser.add_argument("--seconds", type=float, default=30.0, help="CPU time for each fold")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("logs", nargs="*", type=Path, metavar="LOG")
    given = parser.parse_args()
    literals = tuple(text.encode() for text in literals_of(tables.shipped()))
    texts = [line for path in given.logs for line in path.read_text(errors="replace").splitlines()]
    ordinary = Ordinary(texts + 2 * scan_log.ordinary(), literals)
    first = fold_of(GPU_WINDOWS, literals)
    left = tuple(text for text in literals if first is None or text not in first.texts)
    for windows, fold in folds(left, ordinary, given.seconds, random.Random(given.seed)):
        sys.stdout.write(f"    {windows!r},  # {len(fold.texts)}, {ordinary.cost(fold):.0f} ns\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
