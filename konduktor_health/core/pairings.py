"""How are n nodes paired, each at most once? Pure, and linear in n.

The seed and the number of the round decide alone: after a restart the same round is planned again.
``hash()`` would not do: it differs from process to process.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

Node = TypeVar("Node")


def mixed(seed: int, turn: int, name: str) -> int:
    """A number that a name gets in one round, evenly spread and the same everywhere."""
    digest = hashlib.blake2b(f"{seed} {turn} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)


def random_pairs(nodes: Sequence[Node], seed: int, turn: int) -> list[tuple[Node, Node]]:
    """All nodes in a random order, two and two; of an odd number one is left out, another one each
    time."""
    places = sorted(range(len(nodes)), key=lambda place: mixed(seed, turn, str(place)))
    return [(nodes[a], nodes[b]) for a, b in zip(places[::2], places[1::2], strict=False)]


def ring_pairs(nodes: Sequence[Node], turn: int) -> list[tuple[Node, Node]]:
    """One part of a ring over the nodes in their order. The first turns pair neighbours, later ones
    nodes that are 2, 3 ... apart, until all have met all; then it begins anew.

    Neighbours at a distance form cycles. Every other link of a cycle can be tested at once: an even
    cycle takes two turns, an odd one a third for the link that is left.
    """
    count = len(nodes)
    if count < 2:
        return []
    turn %= sum(_turns(count, step) for step in range(1, count // 2 + 1))
    step = 1
    while turn >= _turns(count, step):
        turn -= _turns(count, step)
        step += 1
    cycles = math.gcd(count, step)
    length = count // cycles
    pairs = []
    for start in range(cycles):
        walk = [(start + step * i) % count for i in range(length)]
        for link in _links(length, turn):
            pairs.append((nodes[walk[link]], nodes[walk[(link + 1) % length]]))
    return pairs


def _turns(count: int, step: int) -> int:
    length = count // math.gcd(count, step)
    return 1 if length == 2 else 2 + length % 2


def _links(length: int, turn: int) -> range:
    if length == 2:
        return range(1)
    if length % 2 and turn == 2:
        return range(length - 1, length)
    return range(turn, length - 1 if length % 2 else length, 2)
