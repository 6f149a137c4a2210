from __future__ import annotations

import io
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import tables
from parsers.blocks import BLOCK_BYTES, LINE_BYTES, FoundLine, Search
from parsers.scan import literals_of
from parsers.tables import GPU_LITERALS

ALL_LITERALS = literals_of(tables.shipped())
TEXTS = (*ALL_LITERALS, "something else", "ab")


def read_of(content: bytes, most: int = BLOCK_BYTES) -> Callable[[memoryview], int]:
    """A stream that gives at most so many bytes at a time."""
    stream = io.BytesIO(content)
    return lambda buffer: stream.readinto(buffer[:most])


def found(
    content: bytes, most: int = BLOCK_BYTES, texts: tuple[str, ...] = TEXTS
) -> list[FoundLine]:
    return [line for block in Search(texts).lines(read_of(content, most)) for line in block]


def expected(content: bytes, texts: tuple[str, ...] = TEXTS) -> list[FoundLine]:
    """One line after the other, one text after the other."""
    lines = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if any(text.encode() in line[:LINE_BYTES] for text in texts):
            lines.append((number, line[:LINE_BYTES].decode("utf-8", "surrogateescape")))
    return lines


pieces = (
    st.sampled_from([text.encode() for text in TEXTS])
    | st.sampled_from([text[:at].encode() for text in ALL_LITERALS for at in (1, len(text) - 1)])
    | st.sampled_from([b"\n", b"\r\n", b"\0", b"n off", b"The N", b"n thi", b'GE":[', b'GE": '])
    | st.binary(max_size=12)
)  # fmt: skip
contents = st.lists(pieces, max_size=60).map(b"".join)


@settings(max_examples=600, deadline=None)
@given(contents, st.integers(1, 300))
def test_what_is_found_is_what_a_plain_loop_finds(content: bytes, most: int) -> None:
    assert found(content, most) == expected(content)


@pytest.mark.parametrize("text", ALL_LITERALS)
def test_a_text_is_found_alone_in_its_block_wherever_it_stands(text: str) -> None:
    for at in (0, 1, 100, BLOCK_BYTES - len(text), BLOCK_BYTES - 3, BLOCK_BYTES, BLOCK_BYTES + 9):
        content = (
            (b"x" * 999 + b"\n") * (at // 1000) + b"y" * (at % 1000) + text.encode() + b"\nend"
        )

        assert found(content) == expected(content) != []


@pytest.mark.parametrize("most", [7919, 65_536, BLOCK_BYTES])
def test_blocks_neither_lose_nor_double_a_line(most: int) -> None:
    chance = random.Random(most)
    lines = [
        b"a" * chance.randrange(200) + chance.choice(TEXTS).encode() + b"b" * chance.randrange(200)
        if chance.random() < 0.1
        else b"c" * chance.randrange(3000)
        for _ in range(2000)
    ]
    content = b"\n".join(lines)

    assert found(content, most) == expected(content)


@pytest.mark.parametrize("length", [LINE_BYTES - 1, LINE_BYTES, LINE_BYTES + 1, 3 * LINE_BYTES + 5])
@pytest.mark.parametrize("most", [10_007, BLOCK_BYTES])
def test_what_follows_in_an_overlong_line_is_no_line_of_its_own(length: int, most: int) -> None:
    long = b"Xid (" + b"x" * (length - 10) + b"Xid ("
    content = b"a\n" + long + b"\nxid (\n" + long + b"\n" + long

    lines = found(content, most)

    assert lines == expected(content)
    assert max(len(line[1]) for line in lines) <= LINE_BYTES


def test_a_line_without_end_takes_no_more_memory_than_a_block() -> None:
    given_out = 0

    def read(buffer: memoryview) -> int:
        nonlocal given_out
        given_out += 1
        buffer[:] = b"x" * len(buffer)
        return len(buffer) if given_out < 2000 else 0

    assert list(Search(TEXTS).lines(read)) == []
    assert given_out == 2000


def test_lines_need_not_be_counted() -> None:
    content = b"\n\n" + b"Xid (" + b"\n"

    assert list(Search(GPU_LITERALS).lines(read_of(content), number=False)) == [[(0, "Xid (")]]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", [*ALL_LITERALS[::20], "n off", 'GE": ', "X", "("])
def test_a_log_full_of_candidates_takes_linear_time(text: str) -> None:
    content = (text.encode() * (LINE_BYTES // len(text) - 1) + b"\n") * 20
    content += (text.encode() + b"\n") * 50_000

    assert len(found(content)) in (0, 50_020)
