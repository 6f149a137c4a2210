"""A short run of tests/fuzz, the same inputs each time. The long run: ``make fuzz``."""

from __future__ import annotations

import random
import zlib

import pytest

from tests.fuzz.targets import TARGETS

# About half a second each on a slow core.
INPUTS = {
    "unwrap": 3000, "decode": 1200, "scan": 350, "rules": 1500, "xid": 3000, "sxid": 3000,
    "quotation": 4000, "gpu-lost": 500, "printable": 4000, "ledger": 3000, "reset-at": 4000,
    "node": 4000, "node-list": 4000,
}  # fmt: skip


def test_every_target_has_a_short_run() -> None:
    assert set(INPUTS) == set(TARGETS)


@pytest.mark.parametrize("name", INPUTS)
def test_no_input_breaks_a_property(name: str) -> None:
    chance = random.Random(zlib.crc32(f"short {name}".encode()))
    target = TARGETS[name]
    for _ in range(INPUTS[name]):
        data = target.make(chance)
        try:
            target.check(data)
        except Exception as error:
            pytest.fail(f"{name}: {type(error).__name__}: {error}\ninput: {data!r}")
