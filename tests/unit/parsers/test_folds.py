from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import scan_log
from parsers import tables
from parsers.folds import FoldFinder
from parsers.scan import literals_of
from parsers.tables import GPU_LITERALS

SHIPPED = tuple(text.encode() for text in literals_of(tables.shipped()))
FINDER = FoldFinder(SHIPPED)
NEEDLES = [window for fold in FINDER.folds for window in sorted(fold.windows)]


def expected(content: bytes, texts: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """One line after the other, one text after the other."""
    lines, start = [], 0
    for line in content.split(b"\n"):
        if any(text in line for text in texts):
            lines.append((start, start + len(line)))
        start += len(line) + 1
    return lines


def test_few_passes_find_all_shipped_literals() -> None:
    # After literals have changed: python -m benchmarks.choose_folds
    assert len(FINDER.unfolded) <= 3
    assert len(FINDER.folds) <= 8


def test_one_pass_finds_all_texts_of_the_gpu_rules() -> None:
    finder = FoldFinder(text.encode() for text in GPU_LITERALS)

    assert finder.unfolded == ()
    assert len(finder.folds) == 1


def test_each_text_is_looked_for_once() -> None:
    folded = [text for fold in FINDER.folds for text in fold.texts]

    assert sorted([*folded, *FINDER.unfolded]) == sorted(SHIPPED)


def test_ordinary_lines_are_no_candidates() -> None:
    content = "\n".join(scan_log.ordinary()).encode()

    hits = sum(len(fold.candidate.findall(content.translate(fold.table))) for fold in FINDER.folds)

    assert hits <= 1


characters = st.characters(min_codepoint=32, max_codepoint=126)
pieces = (
    st.sampled_from(SHIPPED)
    | st.sampled_from(NEEDLES)
    | st.builds(lambda text, at: text[:at], st.sampled_from(SHIPPED), st.integers(1, 12))
    | st.builds(lambda text, at: text[at:], st.sampled_from(SHIPPED), st.integers(1, 12))
    | st.sampled_from([b"\n", b"\n\n", b"\r", b"\0"])
    | st.binary(max_size=8)
)
contents = st.lists(pieces, max_size=40).map(b"".join)
user_texts = st.lists(
    st.text(characters, min_size=1, max_size=9).map(str.encode) | st.sampled_from(SHIPPED),
    max_size=12,
).map(tuple)


@settings(max_examples=400, deadline=None)
@given(contents, st.binary(max_size=40))
def test_a_block_gives_what_a_plain_loop_finds(content: bytes, stale: bytes) -> None:
    assert FINDER.lines(bytearray(content + stale), len(content)) == expected(content, SHIPPED)


@settings(max_examples=400, deadline=None)
@given(user_texts, st.data())
def test_any_texts_are_found(texts: tuple[bytes, ...], data: st.DataObject) -> None:
    own = st.sampled_from([*texts, b" "])
    content = b"".join(data.draw(st.lists(own | pieces, max_size=30)))

    assert FoldFinder(texts).lines(bytearray(content), len(content)) == expected(content, texts)


@pytest.mark.parametrize("text", SHIPPED)
def test_a_text_is_found_among_beginnings_of_itself(text: bytes) -> None:
    beginnings = b"".join(text[:at] for at in range(1, len(text)))
    content = b"x\n" + beginnings + text + b"\n" + text[:-1] + b"\n" + beginnings + text[-1:]

    assert FINDER.lines(bytearray(content), len(content)) == expected(content, SHIPPED)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("number", range(len(FINDER.folds)))
def test_a_line_full_of_needles_takes_linear_time(number: int) -> None:
    fold = FINDER.folds[number]
    window = min(fold.windows)
    other = bytes(max(code for code in range(256) if fold.table[code] == c) for c in fold.needle)
    for text in (window, other):
        content = bytearray(text * (1_000_000 // len(text)))

        assert FINDER.lines(content, len(content)) == expected(bytes(content), SHIPPED)
