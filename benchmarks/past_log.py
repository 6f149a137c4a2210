"""The past that ``benchmarks.replay`` plays: made up, the same in each run.

What a log filter leaves of 30 days of 1,000 GPU nodes: episodes of faults at random times on random
nodes, as the forwarder writes them. Most episodes are a handful of lines, some are storms of one
line over and over, as a looping job makes them; one episode in fifty ends with a reboot. Lines are
in time order, each with node, boot id and uptime.
"""

from __future__ import annotations

import heapq
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

START_S = 1_790_000_000
_PER_EPISODE = 100  # lines, on average
_DEVICES = [f"0000:{bus:02x}:00" for bus in (0x18, 0x2A, 0x3A, 0x5D, 0x9A, 0xAB, 0xBA, 0xDB)]
#: Text after ``NVRM: Xid (PCI:DEVICE): ``, and its share of the episodes.
_KINDS = (
    (30, "31, pid={n}, name=python3, Ch 00000010, intr 00000000. MMU Fault: ENGINE GRAPHICS"),
    (30, "13, pid={n}, name=python3, Graphics Exception: ESR 0x504730=0x10e"),
    (14, "43, pid={n}, name=python3, Ch 00000008"),
    (10, "63, pid='<unknown>', name=<unknown>, Row Remapper: New row (0x1a5b3c) marked for it."),
    (6, "94, pid={n}, name=python3, Contained: SM (0x1). RST: No, D-RST: No"),
    (4, "74, pid='<unknown>', name=<unknown>, NVLink: fatal error detected on link 3(0x10000)"),
    (4, "48, pid={n}, name=python3, An uncorrectable double bit error (DBE) has been detected"),
    (2, "79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."),
)

_Line = tuple[int, int, str]  # time in microseconds, node, text


def write(path: Path, lines: int, nodes: int, days: float, seed: int = 1) -> int:
    """Write so many lines; returns the file's size in bytes."""
    chance = random.Random(seed)
    boots = _Boots(nodes, chance)
    with path.open("w", encoding="ascii") as file:
        for time_us, node, text in _in_order(lines, nodes, days, chance):
            if text == "":
                boots.reboot(node, time_us)
                continue
            file.write(_record(time_us, node, text, *boots.of(node, time_us)))
        return file.tell()


def _in_order(lines: int, nodes: int, days: float, chance: random.Random) -> Iterator[_Line]:
    """Lines of all episodes merged by time; an empty text is a reboot."""
    span_us = int(days * 86_400 * 10**6)
    sizes = _sizes(lines, chance)
    starts = sorted(chance.randrange(span_us) for _ in sizes)
    waiting: list[_Line] = []
    for start_us, size in zip(starts, sizes, strict=True):
        while waiting and waiting[0][0] <= start_us:
            yield heapq.heappop(waiting)
        for line in _episode(start_us, size, nodes, chance):
            heapq.heappush(waiting, line)
    while waiting:
        yield heapq.heappop(waiting)


def _sizes(lines: int, chance: random.Random) -> list[int]:
    sizes: list[int] = []
    left = lines
    while left:
        draw = chance.random()
        if draw < 0.65:
            size = chance.randint(1, 8)
        elif draw < 0.95:
            size = chance.randint(8, 150)
        else:
            size = chance.randint(150, 20 * _PER_EPISODE)
        size = min(size, left)
        sizes.append(size)
        left -= size
    return sizes


def _episode(start_us: int, size: int, nodes: int, chance: random.Random) -> Iterator[_Line]:
    node, device = chance.randrange(nodes), chance.choice(_DEVICES)
    weights = [weight for weight, _ in _KINDS]
    text = chance.choices([text for _, text in _KINDS], weights)[0]
    said = f"NVRM: Xid (PCI:{device}): {text.format(n=chance.randrange(1000, 60000))}"
    time_us = start_us
    for _ in range(size):
        yield time_us, node, said
        time_us += chance.randrange(1_000, 2_000_000)
    if chance.random() < 0.02:
        yield time_us + 60 * 10**6, node, ""


class _Boots:
    """Boot id and start of each node's boot."""

    def __init__(self, nodes: int, chance: random.Random) -> None:
        self._chance = chance
        self._now = [(self._id(), -chance.randrange(10**6, 10**13)) for _ in range(nodes)]

    def of(self, node: int, time_us: int) -> tuple[str, int]:
        boot_id, start_us = self._now[node]
        return boot_id, time_us - start_us

    def reboot(self, node: int, time_us: int) -> None:
        self._now[node] = (self._id(), time_us)

    def _id(self) -> str:
        return uuid.UUID(int=self._chance.getrandbits(128), version=4).hex


def _record(time_us: int, node: int, text: str, boot_id: str, uptime_us: int) -> str:
    at = datetime.fromtimestamp(START_S + time_us / 10**6, UTC)
    said = {
        "konduktor": "kmsg",
        "v": 1,
        "kind": "record",
        "boot_id": boot_id,
        "seq": uptime_us // 1000,
        "uptime_us": uptime_us,
        "facility": 0,
        "priority": 4,
        "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
        "node": f"gpu-{node:04d}",
        "text": text,
    }
    return json.dumps(said, separators=(",", ":")) + "\n"
