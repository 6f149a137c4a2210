"""Which lines does a push store, and what does it answer?"""

from __future__ import annotations

import gzip
import json

import pytest

from tests.support.loki_http import HOUR, MINUTE, NS, LokiHttp, now_ns, own_label, selector

DAY = 24 * HOUR
JSON = {"Content-Type": "application/json"}


def test_a_line_is_visible_as_soon_as_the_push_is_answered(loki: LokiHttp) -> None:
    own = own_label()

    answer = loki.push(own, [(now_ns(), "NVRM: Xid <&> é€😀")])

    assert (answer.status_code, answer.text) == (204, "")
    assert loki.lines(selector(own)) == ["NVRM: Xid <&> é€😀"]


def test_a_compressed_push_is_accepted(loki: LokiHttp) -> None:
    own = own_label()
    body = {"streams": [{"stream": own, "values": [[str(now_ns()), "line"]]}]}

    answer = loki.request(
        "POST",
        "/loki/api/v1/push",
        data=gzip.compress(json.dumps(body).encode()),
        headers={**JSON, "Content-Encoding": "gzip"},
    )

    assert answer.status_code == 204
    assert loki.lines(selector(own)) == ["line"]


def test_late_lines_up_to_an_hour_behind_their_stream_are_accepted(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    loki.push(own, [(now, "newest")])

    accepted = loki.push(own, [(now - 59 * MINUTE, "59 minutes late")])
    refused = loki.push(own, [(now - 61 * MINUTE, "61 minutes late"), (now - 1, "good")])

    assert accepted.status_code == 204
    assert refused.status_code == 400
    assert "entry too far behind" in refused.text
    assert "total ignored: 1 out of 2 for stream" in refused.text
    found = loki.lines(selector(own), start=now - 2 * HOUR)
    assert found == ["59 minutes late", "good", "newest"]


def test_a_stream_that_is_new_may_start_late(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    loki.push({**own, "stream": "a"}, [(now, "new")])

    answer = loki.push({**own, "stream": "b"}, [(now - 2 * HOUR, "late")])

    assert answer.status_code == 204
    assert loki.lines(selector(own), start=now - 3 * HOUR + MINUTE) == ["late", "new"]


def test_good_lines_of_a_refused_push_are_stored(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()

    too_old = loki.push(own, [(now - 8 * DAY, "old"), (now, "one")])
    too_new = loki.push(own, [(now + 11 * MINUTE, "future"), (now, "two")])

    assert too_old.status_code == too_new.status_code == 400
    assert "has timestamp too old: " in too_old.text
    assert "has timestamp too new: " in too_new.text
    assert f'case="{own["case"]}"' in too_old.text
    assert sorted(loki.lines(selector(own), end=now + HOUR)) == ["one", "two"]


def test_several_kinds_of_refusal_are_counted(loki: LokiHttp) -> None:
    now = now_ns()
    lines = [(now - 8 * DAY, "a"), (now + HOUR, "b"), (now - 8 * DAY, "c"), (now, "good")]

    answer = loki.push(own_label(), lines)

    assert answer.status_code == 400
    kinds = [part.split(" like: ")[0] for part in answer.text.split("; ")]
    assert sorted(kinds) == ["1 errors", "2 errors"]  # in any order


def test_a_clock_nine_minutes_fast_is_accepted(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()

    assert loki.push(own, [(now + 9 * MINUTE, "fast")]).status_code == 204
    assert loki.lines(selector(own)) == []  # the default end is now
    assert loki.lines(selector(own), end=now + 10 * MINUTE) == ["fast"]


def test_an_exact_duplicate_is_dropped_and_near_ones_are_kept(loki: LokiHttp) -> None:
    own, now = own_label(), now_ns()
    same: list[tuple[int, str]] = [(now, "a"), (now, "a"), (now, "b"), (now, "a"), (now + 1, "a")]

    loki.push(own, same)
    loki.push(own, same)
    loki.push(own, [(now, "a", {"node": "other"})])
    loki.push({**own, "stream": "other"}, [(now, "a")])

    found = loki.entries(selector(own), start=now, end=now + NS)
    assert found == [(now, "a"), (now, "a"), (now, "a"), (now, "b"), (now + 1, "a")]


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"streams": 5}', b'{"streams": [{"stream": {}, "values": [["x", "line"]]}]}',
     b'{"streams": [{"stream": {"a": "b"}, "values": [["1", "line", {"meta": 1}]]}]}',
     b'{"streams": [{"stream": {"a-b": "c"}, "values": [["1", "line"]]}]}'],
)  # fmt: skip
def test_a_body_that_is_no_push_is_refused_in_plain_text(loki: LokiHttp, body: bytes) -> None:
    answer = loki.request("POST", "/loki/api/v1/push", data=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.strip()


def test_a_push_of_nothing_is_refused(loki: LokiHttp) -> None:
    answer = loki.request("POST", "/loki/api/v1/push", json={"streams": []})

    assert answer.status_code == 422
    assert "at least one valid stream is required" in answer.text


def test_a_push_larger_than_a_message_may_be_is_a_server_error(loki: LokiHttp) -> None:
    answer = loki.push(own_label(), [(now_ns() + i, "x" * 1000) for i in range(5000)])

    assert answer.status_code == 500
    assert "ResourceExhausted" in answer.text
    assert "received message larger than max" in answer.text


def test_a_line_longer_than_allowed_is_refused_not_cut(loki: LokiHttp) -> None:
    own = own_label()

    answer = loki.push(own, [(now_ns(), "x" * 262_145)])

    assert answer.status_code == 400
    assert "max entry size '262144' bytes exceeded" in answer.text
    assert loki.lines(selector(own)) == []


def test_too_many_labels_are_refused(loki: LokiHttp) -> None:
    own = own_label() | {f"label{i}": "x" for i in range(15)}

    answer = loki.push(own, [(now_ns(), "line")])

    assert answer.status_code == 400
    assert "has 16 label names; limit 15" in answer.text
