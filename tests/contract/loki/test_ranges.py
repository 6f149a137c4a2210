"""Which entries does a time range, a limit and a direction give?"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.loki_http import HOUR, MINUTE, NS, LokiHttp, now_ns, own_label, selector


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_start_is_included_and_end_is_not(loki: LokiHttp, direction: str) -> None:
    own, now = own_label(), now_ns()
    loki.push(own, [(now, "start"), (now + 1, "inside"), (now + 2, "end")])

    found = loki.lines(selector(own), start=now, end=now + 2, direction=direction)

    assert found == ["start", "inside"]


def test_adjacent_windows_tile_without_loss_or_repetition(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    stored = [(base + i // 3, f"line {i:02}") for i in range(60)]  # three per nanosecond
    loki.push(own, stored)

    @settings(max_examples=10)
    @given(st.lists(st.integers(0, 20), max_size=4))
    def tiles(cuts: list[int]) -> None:
        edges = [base, *(base + cut for cut in sorted(cuts)), base + 20]
        found = [
            entry
            for start, end in itertools.pairwise(edges)
            for entry in loki.entries(selector(own), start=start, end=end, direction="forward")
        ]
        assert sorted(found) == sorted(stored)

    tiles()


def test_an_empty_range_is_an_empty_answer(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    loki.push(own, [(now, "line")])

    assert loki.lines(selector(own), start=now, end=now) == []


def test_an_unknown_selector_is_an_empty_answer(loki: LokiHttp) -> None:
    assert loki.streams(selector(own_label())) == []


def test_end_before_start_is_refused(loki: LokiHttp) -> None:
    now = now_ns()

    answer = loki.ask(selector(own_label()), start=now, end=now - 1)

    assert answer.status_code == 400
    assert answer.text == "end timestamp must not be before or equal to start time"


def test_by_default_the_newest_hundred_are_returned_newest_first(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, f"line {i}") for i in range(150)])

    (stream,) = loki.streams(selector(own))

    assert [int(ns) - base for ns, _ in stream["values"]] == list(range(149, 49, -1))


def test_forward_returns_the_oldest_over_all_streams(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    for i in range(4):
        loki.push({**own, "stream": str(i)}, [(base + 4 * n + i, f"{n}.{i}") for n in range(5)])

    streams = loki.streams(selector(own), limit=6, direction="forward")

    newest_first = [value for stream in streams for value in stream["values"]]
    assert sorted(int(ns) - base for ns, _ in newest_first) == [0, 1, 2, 3, 4, 5]
    assert all(s["values"] == sorted(s["values"], key=lambda v: int(v[0])) for s in streams)


def test_pages_in_a_tie_overlap_from_both_ends_to_twice_the_limit(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    stored = {f"line {i:03}" for i in range(150)}
    loki.push(own, [(now, line) for line in sorted(stored)])

    def page(direction: str, limit: int) -> list[str]:
        return loki.lines(selector(own), start=now, end=now + 1, direction=direction, limit=limit)

    assert len(page("forward", 100)) == len(page("backward", 100)) == 100
    assert set(page("forward", 100)) | set(page("backward", 100)) == stored
    assert set(page("forward", 150)) == stored
    assert page("forward", 100) == page("forward", 100)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (5001, ("max entries limit per query exceeded, limit > max_entries_limit_per_query "
               "(5001 > 5000)")),
        (0, "limit must be a positive value"),
        (-1, "limit must be a positive value"),
        ("many", 'strconv.Atoi: parsing "many": invalid syntax'),
    ],
)  # fmt: skip
def test_bad_limits_are_refused_in_plain_text(loki: LokiHttp, limit: int | str, text: str) -> None:
    answer = loki.ask(selector(own_label()), limit=limit)

    assert (answer.status_code, answer.text) == (400, text)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_the_largest_allowed_page_is_full(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, "x") for i in range(5100)])

    found = loki.entries(selector(own), start=base, limit=5000, direction="forward")

    assert [ns - base for ns, _ in found] == list(range(5000))


def test_times_are_nanoseconds_seconds_or_rfc3339(loki: LokiHttp) -> None:
    own, second = own_label(), now_ns() // NS - 30
    loki.push(own, [(second * NS, "whole"), (second * NS + NS // 2, "half")])
    stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    def between(start: object, end: object) -> list[str]:
        return loki.lines(selector(own), start=start, end=end)

    assert between(second, second + 1) == ["whole", "half"]
    assert between(second * NS + 1, (second + 1) * NS) == ["half"]
    assert between(f"{second}.25", f"{second}.75") == ["half"]
    assert between(f"{stamp}Z", f"{stamp}.5Z") == ["whole"]
    assert between(f"{stamp}.1+00:00", f"{stamp}.9Z") == ["half"]


def test_since_counts_back_from_the_end_and_yields_to_start(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    loki.push(own, [(now - 50 * MINUTE, "old"), (now - MINUTE, "new")])

    assert loki.lines(selector(own), since="10m") == ["new"]
    assert loki.lines(selector(own), since="1h30m") == ["old", "new"]
    assert loki.lines(selector(own), since="1m", start=now - HOUR) == ["old", "new"]


@pytest.mark.parametrize(
    ("params", "prefix"),
    [
        ({"start": "yesterday"}, "could not parse 'start' parameter: "),
        ({"end": "2026-11-22"}, "could not parse 'end' parameter: "),
        ({"since": "soon"}, "could not parse 'since' parameter: "),
        ({"direction": "up"}, "invalid direction 'up'"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    loki: LokiHttp, params: dict[str, str], prefix: str
) -> None:
    query = {"query": selector(own_label()), **params}

    answer = loki.request("GET", "/loki/api/v1/query_range", params=query)

    assert answer.status_code == 400
    assert answer.text.startswith(prefix)


def test_a_range_longer_than_allowed_is_refused(loki: LokiHttp) -> None:
    now = now_ns()

    answer = loki.ask(selector(own_label()), start=now - 744 * HOUR, end=now)

    assert answer.status_code == 400
    assert answer.text == (
        "the query time range exceeds the limit (query length: 744h0m0s, limit: 30d1h)"
    )


def test_a_form_post_is_a_query_too_and_wins_over_the_query_string(loki: LokiHttp) -> None:
    own, base = own_label(), now_ns() - MINUTE
    loki.push(own, [(base + i, str(i)) for i in range(9)])

    answer = loki.request(
        "POST",
        "/loki/api/v1/query_range?limit=2",
        data={"query": selector(own), "limit": "5", "direction": "forward"},
    )

    assert [value[1] for value in answer.json()["data"]["result"][0]["values"]] == list("01234")
