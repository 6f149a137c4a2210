from __future__ import annotations

import io
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import scan_log
from konduktor_health.adapters.hyperscan_search import HyperscanFinder, fastest
from parsers import tables
from parsers.blocks import BLOCK_BYTES, FoundLine, MakeFinder, Search
from parsers.folds import FoldFinder
from parsers.scan import literals_of, scan_stream

pytest.importorskip("hyperscan")

LITERALS = literals_of(tables.shipped())
SHIPPED = tuple(text.encode() for text in LITERALS)
FINDER, DEFAULT = HyperscanFinder(SHIPPED), FoldFinder(SHIPPED)

pieces = (
    st.sampled_from(SHIPPED)
    | st.builds(lambda text, at: text[:at], st.sampled_from(SHIPPED), st.integers(1, 12))
    | st.sampled_from([b"\n", b"\n\n", b"\r", b"\0"])
    | st.binary(max_size=8)
)
contents = st.lists(pieces, max_size=40).map(b"".join)


def found(content: bytes, finder: MakeFinder) -> list[FoundLine]:
    search = Search(LITERALS, finder)
    return [line for block in search.lines(io.BytesIO(content).readinto) for line in block]


@settings(max_examples=500, deadline=None)
@given(contents, st.binary(max_size=40))
def test_it_finds_what_the_default_finds(content: bytes, stale: bytes) -> None:
    buffer, end = bytearray(content + stale), len(content)

    assert FINDER.lines(buffer, end) == DEFAULT.lines(buffer, end)


@pytest.mark.parametrize("text", LITERALS[::7])
def test_it_finds_a_text_at_the_borders_of_blocks(text: str) -> None:
    for at in (0, 1, BLOCK_BYTES - len(text), BLOCK_BYTES - 3, BLOCK_BYTES, BLOCK_BYTES + 9):
        filling = (b"x" * 999 + b"\n") * (at // 1000) + b"y" * (at % 1000)
        content = filling + text.encode() + b"\nend"

        assert found(content, HyperscanFinder) == found(content, FoldFinder) != []


def test_blocks_neither_lose_nor_double_a_line() -> None:
    chance = random.Random(3)
    lines = [
        b"a" * chance.randrange(200) + chance.choice(SHIPPED) * chance.randrange(1, 9)
        if chance.random() < 0.1
        else b"c" * chance.randrange(3000)
        for _ in range(2000)
    ]
    content = b"\n".join(lines)

    assert found(content, HyperscanFinder) == found(content, FoldFinder)


def test_a_scan_tells_the_same_faults() -> None:
    chance = random.Random(4)
    content = "\n".join(scan_log.line(chance, n, 0.3) for n in range(3000)).encode()

    fast = list(scan_stream(io.BytesIO(content).readinto, finder=fastest))

    assert fast == list(scan_stream(io.BytesIO(content).readinto))
    assert len(fast) > 500


def test_it_is_taken_where_it_is_installed() -> None:
    assert isinstance(fastest(SHIPPED), HyperscanFinder)


def test_without_it_the_default_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)

    assert isinstance(fastest(SHIPPED), FoldFinder)


def test_where_it_cannot_work_the_default_is_taken() -> None:
    assert isinstance(fastest(()), FoldFinder)
