"""What is fuzzed: each target's name, how its inputs are made, and what must hold."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.fuzz import cluster, forgery, lines
from tests.fuzz.mutation import bytes_of, hostile, line, log, noise


@dataclass(frozen=True)
class Target:
    """``check`` raises for an input that breaks a property; ``make`` makes inputs."""

    check: Callable[[bytes], None]
    make: Callable[[random.Random], bytes]


def _one_line(chance: random.Random) -> bytes:
    return bytes_of(line(chance))


TARGETS: Mapping[str, Target] = {
    "unwrap": Target(lines.unwrapping, _one_line),
    "decode": Target(lines.decoding, log),
    "scan": Target(lines.scanning, log),
    "rules": Target(lines.matching, _one_line),
    "xid": Target(forgery.xids, hostile),
    "sxid": Target(forgery.sxids, hostile),
    "quotation": Target(forgery.quotations, hostile),
    "gpu-lost": Target(forgery.lost_gpus, lambda c: noise(c)[:25].ljust(25) + hostile(c)[8:]),
    "printable": Target(cluster.logging, _one_line),
    "ledger": Target(cluster.ledgers, lambda c: noise(c) + hostile(c)[8:]),
    "reset-at": Target(cluster.resets, lambda c: noise(c) + hostile(c)[8:]),
    "node": Target(cluster.nodes, noise),
    "node-list": Target(cluster.lists, hostile),
}
