"""Windows tile without loss, whatever the pages, ties and limits."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.adapters.loki.answers import Line, Page
from konduktor_health.adapters.loki.client import Direction
from konduktor_health.adapters.loki.paging import Batch, Pager
from konduktor_health.adapters.loki.portion import HOUR_NS
from konduktor_health.adapters.loki.query import Query
from konduktor_health.adapters.loki.refusals import AnswerLost, AnswerTooLarge, Unreachable
from konduktor_health.clock import NS
from konduktor_health.errors import HealthError, LokiRefused, LokiTooMuch, LokiUnavailable
from tests.support.memory_loki import MemoryLoki, line

QUERY = Query('{job="kmsg"}')

texts = st.one_of(
    st.text(alphabet="ab\n.[]^-\\é", max_size=4), st.sampled_from(["Xid 79", "Xid 48", "same"])
)
lines = st.builds(
    lambda time_ns, text, node, pod: line(time_ns, text, {"job": "kmsg", "pod": pod}, node=node),
    st.integers(0, 6),
    texts,
    st.sampled_from(["n1", "n2"]),
    st.sampled_from(["p1", "p2", "p3"]),
)


def read(loki: MemoryLoki, start_ns: int, end_ns: int, tie_pages: int = 10_000) -> list[Batch]:
    pages: list[Page] = []
    pager = Pager(loki, tie_pages=tie_pages, on_page=pages.append)
    return list(pager.read(QUERY, start_ns, end_ns))


def keys(batches: list[Batch]) -> Counter[object]:
    return Counter(one.key() for batch in batches for one in batch.lines)


@settings(max_examples=150)
@given(
    entries=st.lists(lines, max_size=40, unique_by=Line.key),
    limit=st.integers(2, 9),
    cuts=st.sets(st.integers(0, 7), max_size=4),
)
def test_adjacent_windows_hand_out_every_entry_exactly_once(
    entries: list[Line], limit: int, cuts: set[int]
) -> None:
    loki = MemoryLoki(limit)
    loki.put(*entries)
    handed: Counter[object] = Counter()
    for start_ns, end_ns in pairwise(sorted({0, 7, *cuts})):
        batches = read(loki, start_ns, end_ns)
        assert all(batch.unread is None for batch in batches)
        handed += keys(batches)
    assert handed == Counter(one.key() for one in entries)


@settings(max_examples=80)
@given(entries=st.lists(lines, max_size=30, unique_by=Line.key), stop=st.integers(1, 6))
def test_a_read_that_stops_anywhere_and_goes_on_at_its_mark_loses_nothing(
    entries: list[Line], stop: int
) -> None:
    loki = MemoryLoki(3)
    loki.put(*entries)
    at_ns, handed = 0, set[object]()
    while at_ns < 7:
        pager = Pager(loki, tie_pages=1000, on_page=lambda page: None)
        for count, batch in enumerate(pager.read(QUERY, at_ns, 7), 1):
            handed |= {one.key() for one in batch.lines}
            assert batch.upto_ns > at_ns or batch.upto_ns == 7
            at_ns = batch.upto_ns
            if count >= stop:
                break
    assert handed == {one.key() for one in entries}


def test_six_pages_at_one_nanosecond_are_read_completely() -> None:
    loki = MemoryLoki(200)
    loki.put(*(line(5, f"[{i}.5] NVRM: Xid (PCI:0000:{i % 97:02x}:00): 79") for i in range(1200)))
    batches = read(loki, 0, 10, tie_pages=64)
    assert sum(keys(batches).values()) == 1200
    assert len(loki.queries) <= 64


def test_a_tie_that_cannot_be_told_apart_is_a_gap_and_the_rest_is_read() -> None:
    loki = MemoryLoki(4)
    middle = [f"{'a' * 400}{i}{'b' * 400}" for i in range(40)]
    loki.put(*(line(5, text) for text in middle), line(6, "after"), line(4, "before"))
    batches = read(loki, 0, 10)
    assert [batch.unread for batch in batches if batch.unread is not None] == [(5, 6)]
    handed = {one.text for batch in batches for one in batch.lines}
    assert {"before", "after"} <= handed
    assert len(handed & set(middle)) > 4, "the other end of the tie is read as well"


def test_a_tie_above_its_page_budget_is_a_gap() -> None:
    loki = MemoryLoki(4)
    loki.put(*(line(5, f"line {i:04d}") for i in range(500)))
    batches = read(loki, 0, 10, tie_pages=10)
    assert [batch.unread for batch in batches if batch.unread is not None] == [(5, 6)]
    assert len(loki.queries) <= 13


def test_a_loki_without_the_stages_of_a_split_gives_a_gap_not_an_error() -> None:
    class Old(MemoryLoki):
        def query_range(self, query: str, *args: object, **options: object) -> Page:
            if "|~" in query or "!~" in query:
                raise LokiRefused("parse error", status=400)
            return super().query_range(query, *args, **options)  # type: ignore[arg-type]

    loki = Old(4)
    loki.put(*(line(5, f"line {i}") for i in range(9)))
    marks = [batch.unread for batch in read(loki, 0, 10)]
    assert [mark for mark in marks if mark is not None] == [(5, 6)]


def test_a_loki_that_answers_nothing_to_a_split_gives_a_gap_not_silence() -> None:
    class Silent(MemoryLoki):
        def query_range(self, query: str, *args: object, **options: object) -> Page:
            if "|~" in query or "!~" in query:
                return Page((), self.page_lines)
            return super().query_range(query, *args, **options)  # type: ignore[arg-type]

    loki = Silent(4)
    loki.put(*(line(5, f"line {i}") for i in range(9)))
    marks = [batch.unread for batch in read(loki, 0, 10)]
    assert [mark for mark in marks if mark is not None] == [(5, 6)]


def test_long_ranges_are_read_by_the_full_hour_oldest_first() -> None:
    loki = MemoryLoki()
    start_ns, end_ns = HOUR_NS // 2, 3 * HOUR_NS + 5
    read(loki, start_ns, end_ns)
    assert [(start, end) for _, start, end in loki.queries] == [
        (start_ns, HOUR_NS),
        (HOUR_NS, 2 * HOUR_NS),
        (2 * HOUR_NS, 3 * HOUR_NS),
        (3 * HOUR_NS, end_ns),
    ]


def test_windows_shrink_until_loki_bears_them_and_nothing_is_lost() -> None:
    loki = MemoryLoki()
    loki.most_in_window = 3
    entries = [line(i * 60 * NS, f"line {i}") for i in range(120)]
    loki.put(*entries)
    assert keys(read(loki, 0, 2 * HOUR_NS)) == Counter(one.key() for one in entries)


def test_what_loki_does_not_bear_at_the_smallest_is_an_error() -> None:
    loki = MemoryLoki()
    loki.most_in_window = -1
    with pytest.raises(LokiTooMuch):
        read(loki, 0, 4 * NS)


def test_a_second_that_loki_does_not_bear_is_left_out_with_a_mark() -> None:
    loki = MemoryLoki()
    loki.most_in_window = 1
    twins = [line(10 * NS + 1, "one"), line(10 * NS + 2, "two")]
    loki.put(line(1, "before"), *twins, line(3600 * NS - 1, "after"))
    batches = read(loki, 0, HOUR_NS)
    assert {one.text for batch in batches for one in batch.lines} == {"before", "after"}
    (unread,) = [batch.unread for batch in batches if batch.unread is not None]
    assert unread[0] <= 10 * NS < unread[1] <= 11 * NS


def test_answers_that_are_too_large_ask_for_fewer_lines_first() -> None:
    asked: list[int] = []

    class Heavy(MemoryLoki):
        def query_range(
            self,
            query: str,
            start_ns: int,
            end_ns: int,
            limit: int | None = None,
            direction: Direction = "forward",
            timeout_s: float | None = None,
        ) -> Page:
            asked.append(limit or self.page_lines)
            if asked[-1] > 100:
                raise AnswerTooLarge("larger than max")
            return super().query_range(query, start_ns, end_ns, limit, direction, timeout_s)

    loki = Heavy(1000)
    entries = [line(i, f"line {i}") for i in range(500)]
    loki.put(*entries)
    assert keys(read(loki, 0, HOUR_NS)) == Counter(one.key() for one in entries)
    assert asked[:3] == [1000, 250, 62]


@pytest.mark.parametrize(
    ("error", "between", "asked"),
    [
        (Unreachable("refused"), 9, 1000),
        (LokiUnavailable("503"), 2, 1000),
        (LokiUnavailable("503"), 3, 250),
        (AnswerLost("hung"), 1, 250),
    ],
)
def test_only_what_the_page_may_be_the_reason_of_makes_it_smaller(
    error: HealthError, between: int, asked: int
) -> None:
    loki = MemoryLoki()
    pager = Pager(loki, on_page=lambda page: None)
    limits: list[int | None] = []
    for _ in range(2):  # what came between two answers counts, not all there ever was
        loki.fail = error
        for _ in range(between):
            with contextlib.suppress(HealthError):
                next(pager.read(QUERY, 0, NS))
        loki.fail = None
        limits.append(next(asked_of(pager, loki)))
    assert limits[0] == asked
    assert asked < 1000 or limits == [1000, 1000]


def asked_of(pager: Pager, loki: MemoryLoki) -> Iterator[int | None]:
    for _ in pager.read(QUERY, 0, NS):
        yield loki.limits_asked[-1]


def test_each_time_that_is_left_out_begins_small_again() -> None:
    loki = MemoryLoki()
    loki.most_in_window = 1
    for second in (10, 2000):
        loki.put(line(second * NS, "one"), line(second * NS + 1, "two"))
    unread = [batch.unread for batch in read(loki, 0, HOUR_NS) if batch.unread is not None]
    assert [end - start for start, end in unread] == [NS, NS]
