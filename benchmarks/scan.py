"""How many log lines a second does ``parsers.scan`` read?

Lines are made up beforehand and held in memory. The measure beside it, in the same run, is a
plain loop with one ``re.search`` a line for an Xid alone: less than the parser does, and what
somebody would write first. CPU time; the best of several runs for the rate, since what disturbs
only ever slows down, and for the ratio the median of the pairs, each timed side by side.
"""

from __future__ import annotations

import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks.command import Options, run
from benchmarks.figures import Figure
from parsers.scan import scan

LINES = 100_000
FAULT_LINES = 10_000
ROUNDS = 10
QUICK_ROUNDS = 4
FAULT_SHARE = 0.001
_LEAST_S = 0.2

_ORDINARY = (
    "usb 1-{n}: new high-speed USB device number {n} using xhci_hcd",
    "EXT4-fs (nvme{n}n1p2): mounted filesystem with ordered data mode. Quota mode: none.",
    "IPv6: ADDRCONF(NETDEV_CHANGE): veth{n:08x}: link becomes ready",
    "cni0: port {n}(veth{n:08x}) entered forwarding state",
    'audit: type=1400 audit(1700000000.{n}:{n}): apparmor="STATUS" operation="profile_load"',
    "mlx5_core 0000:{n:02x}:00.0 eth{n}: Link up",
    "nvidia-nvlink: Nvlink Core is being initialized, major device number {n}",
    "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.{n}.20",
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),task=python,pid={n},uid=0",
    "nfs: server storage-{n} not responding, still trying",
)
_FAULTS = (
    (
        "NVRM: Xid (PCI:0000:{n:02x}:00): 79, pid='<unknown>', name=<unknown>, "
        "GPU has fallen off the bus."
    ),
    (
        "NVRM: Xid (PCI:0000:{n:02x}:00): 31, pid={n}, name=python3, Ch 00000010, intr 00000000. "
        "MMU Fault: ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f01_00000000."
    ),
    (
        "NVRM: Xid (PCI:0000:{n:02x}:00): 13, pid={n}, name=train, Graphics SM Warp Exception on "
        "(GPC 0, TPC 1, SM 0): Out Of Range Address"
    ),
    (
        "nvidia-nvswitch0: SXid (PCI:0000:{n:02x}:00.0): 12028, Non-fatal, Link {n} egress "
        "non-posted PRIV error (First)"
    ),
    "NVRM: GPU at PCI:0000:{n:02x}:00: GPU has fallen off the bus.",
)
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): ([0-9]+)")


def measure(options: Options) -> Iterable[Figure]:
    """Lines a second of a mixed log and of faults only, and the ratio to the plain loop."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    mixed = _lines(LINES, FAULT_SHARE)
    faults = _lines(FAULT_LINES, 1.0)
    for name, lines, about in (
        ("mixed", mixed, f"{LINES:,} lines, {FAULT_SHARE:.1%} of them faults"),
        ("faults", faults, f"{FAULT_LINES:,} lines, all of them faults"),
    ):
        pairs = [(_rate(_scanned, lines), _rate(_searched, lines)) for _ in range(rounds)]
        yield Figure(f"scan_{name}", max(ours for ours, _ in pairs), "lines/s", note=about)
        yield Figure(
            f"scan_{name}_to_search",
            statistics.median(ours / plain for ours, plain in pairs),
            "ratio",
            note="scan / plain re.search loop",
        )


def _lines(count: int, fault_share: float) -> list[str]:
    """The same lines in each run: a kernel log with dmesg's stamps."""
    chance = random.Random(79)
    lines = []
    for number in range(count):
        texts = _FAULTS if chance.random() < fault_share else _ORDINARY
        text = chance.choice(texts).format(n=chance.randrange(256))
        lines.append(f"[{number / 10:12.6f}] {text}")
    return lines


def _rate(read: Callable[[Sequence[str]], int], lines: Sequence[str]) -> float:
    """Lines per second of CPU time, read again until the clock can tell."""
    began, passes = time.process_time(), 0
    while (took := time.process_time() - began) < _LEAST_S:
        if read(lines) == 0:
            raise ValueError("nothing was found: the lines are no faults")
        passes += 1
    return passes * len(lines) / took


def _scanned(lines: Sequence[str]) -> int:
    return sum(1 for _ in scan(lines))


def _searched(lines: Sequence[str]) -> int:
    found = 0
    for line in lines:
        if _XID.search(line):
            found += 1
    return found


if __name__ == "__main__":
    sys.exit(run({"scan": measure}))
