"""How long does it take to replay 30 days of 1,000 nodes?

A file of a million matching lines (``benchmarks.past_log``) through the command line's own reader,
the loop, the decisions and the budgets. Seconds are those of the clock on the wall, since the
reader is a process of its own; the CPU time of both is told beside. Then two policies side by side,
which decode once. The same file played twice has to give the same moments.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks import past_log
from benchmarks.command import Options, run
from benchmarks.figures import Figure, at_most
from benchmarks.process import memory_mib
from konduktor_health.cli.replay_aside import Polls, passages_of
from konduktor_health.model import Policy
from konduktor_health.runtime.replay.heard import Told
from konduktor_health.runtime.replay.past_nodes import Inventory
from konduktor_health.runtime.replay.player import Assumed, Player, play
from konduktor_health.runtime.replay.timeline import Moment
from konduktor_health.timestamps import NS
from parsers import tables

LINES, NODES, DAYS = 1_000_000, 1_000, 30.0
QUICK_LINES, QUICK_DAYS = 50_000, 1.5
RESET_AFTER_NS = 12 * 3600 * NS


def measure(options: Options) -> Iterable[Figure]:
    """Seconds on the wall for one policy and for two; memory; whether it is the same twice."""
    lines, days = (QUICK_LINES, QUICK_DAYS) if options.quick else (LINES, DAYS)
    scale = LINES / lines
    with tempfile.TemporaryDirectory(prefix="konduktor-bench-") as folder:
        path = Path(folder) / "past.log"
        size = past_log.write(path, lines, NODES, days)
        before = memory_mib(os.getpid())
        one = _Run(path, [Policy()])
        grown = memory_mib(os.getpid()) - before
        two = _Run(path, [Policy(), replace(Policy(), budget_percent=2.0)])
    about = f"{lines:,} lines of {size / lines:.0f} bytes, {days:g} days of {NODES:,} nodes"
    yield Figure("replay", one.seconds * scale, "s", at_most(30), f"{about}; {one.told}")
    note = f"two policies, decoded once; the first: {two.told}"
    yield Figure("replay_compare", two.seconds * scale, "s", note=note)
    yield Figure("replay_memory", grown, "MiB", at_most(100), "VmRSS grown")
    same = float(one.digests[0] != two.digests[0])
    yield Figure("replay_differing", same, "runs", at_most(0), "alone and beside another policy")


class _Run:
    """A file played to its end."""

    def __init__(self, path: Path, policies: list[Policy]) -> None:
        began, cpu_s, reader_s = time.monotonic(), time.process_time(), _children_s()
        told = Told()
        seen = [_Digest() for _ in policies]
        start_ns = past_log.START_S * NS
        players = [
            Player(policy, Inventory(size=NODES), start_ns, digest.take, Assumed(RESET_AFTER_NS))
            for policy, digest in zip(policies, seen, strict=True)
        ]
        polls, files = Polls(2 * NS), [str(path)]
        passages = passages_of(files, io.BytesIO(), None, tables.recorded(), None, polls, told)
        last_ns = max(play(passages, players), default=start_ns)
        for player in players:
            player.end(last_ns)
        self.seconds = time.monotonic() - began
        cpu_s, reader_s = time.process_time() - cpu_s, _children_s() - reader_s
        self.digests = [digest.text() for digest in seen]
        totals = players[0].timeline.totals
        taints = sum(node.taints for node in totals.nodes.values())
        self.told = (
            f"{totals.decisions:,} decisions, {taints:,} taints; "
            f"{cpu_s:.1f} s of CPU, the reader {reader_s:.1f} s"
        )


def _children_s() -> float:
    """CPU time of processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


class _Digest:
    """Moments as one number."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b()

    def take(self, moment: Moment) -> None:
        """One more."""
        self._hash.update(repr(moment).encode())

    def text(self) -> str:
        """All so far."""
        return self._hash.hexdigest()


if __name__ == "__main__":
    sys.exit(run({"replay": measure}))
