"""Who sends to whom in Autopilot's ring, and what can run at once? Pure.

With n nodes there are steps 1 to n-1; in step t node i sends to node i+t. Autopilot runs all pairs
of a step at once. An agent of ours does one thing after the other, and a node that sends and
receives at once would measure itself: a step is run in waves in which each node is in one pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Pair = tuple[str, str]  # sender, receiver


def steps(nodes: Sequence[str]) -> Iterator[tuple[Pair, ...]]:
    """The pairs of each step."""
    many = len(nodes)
    for step in range(1, many):
        yield tuple((nodes[i], nodes[(i + step) % many]) for i in range(many))


def waves(pairs: Sequence[Pair]) -> Iterator[tuple[Pair, ...]]:
    """The pairs in parts in which each node is once. A step of a ring comes to three at most: each
    node is in two pairs, so that of three parts one is free of both."""
    left = list(pairs)
    while left:
        used: set[str] = set()
        now: list[Pair] = []
        later: list[Pair] = []
        for pair in left:
            if used.isdisjoint(pair):
                used.update(pair)
                now.append(pair)
            else:
                later.append(pair)
        yield tuple(now)
        left = later
