"""What do tenants see of each other, and of their own limits and caches?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.loki_http import HOUR, MINUTE, LokiHttp, now_ns, own_label, selector


@pytest.fixture
def tenant(limited_loki: Any) -> Iterator[Callable[[str], LokiHttp]]:
    """tenant(name): requests in the name of a tenant; "" for none."""
    clients: list[LokiHttp] = []

    def client(name: str) -> LokiHttp:
        clients.append(LokiHttp(limited_loki.url, name))
        return clients[-1]

    yield client
    for each in clients:
        each.close()


Tenant = Callable[[str], LokiHttp]


def test_without_a_tenant_everything_is_refused(tenant: Tenant) -> None:
    nobody = tenant("")

    answers = [
        nobody.ask(selector(own_label())),
        nobody.push(own_label(), [(now_ns(), "line")]),
        nobody.request("GET", "/loki/api/v1/labels"),
    ]

    assert [(a.status_code, a.text.strip()) for a in answers] == [(401, "no org id")] * 3


def test_readiness_needs_no_tenant(tenant: Tenant) -> None:
    assert tenant("").request("GET", "/ready").status_code == 200


def test_tenants_do_not_see_each_other(tenant: Tenant) -> None:
    own, now = own_label(), now_ns() - MINUTE
    tenant("one").push(own, [(now, "of one")])

    assert tenant("one").lines(selector(own)) == ["of one"]
    assert tenant("two").lines(selector(own)) == []


def test_a_small_page_limit_refuses_even_the_default(tenant: Tenant) -> None:
    own, now = own_label(), now_ns() - MINUTE
    tenant("seven").push(own, [(now + i, str(i)) for i in range(9)])

    answer = tenant("seven").ask(selector(own))

    assert answer.status_code == 400
    assert answer.text == (
        "max entries limit per query exceeded, limit > max_entries_limit_per_query (100 > 7)"
    )
    assert tenant("seven").lines(selector(own), limit=7, direction="forward") == list("0123456")


def test_a_short_range_limit_is_named(tenant: Tenant) -> None:
    now = now_ns()

    answer = tenant("day").ask(selector(own_label()), start=now - 25 * HOUR, end=now)

    assert answer.status_code == 400
    assert answer.text == (
        "the query time range exceeds the limit (query length: 25h0m0s, limit: 1d)"
    )


def test_beyond_the_look_back_is_silence(tenant: Tenant) -> None:
    own, now = own_label(), now_ns()
    hour = tenant("hour")
    hour.push(own, [(now - 90 * MINUTE, "before"), (now - MINUTE, "after")])

    assert hour.lines(selector(own), start=now - 2 * HOUR) == ["after"]
    assert hour.lines(selector(own), start=now - 2 * HOUR, end=now - 80 * MINUTE) == []


def test_a_cached_empty_answer_hides_a_late_line_but_not_from_a_nonce(tenant: Tenant) -> None:
    own, now = own_label(), now_ns()
    cached = tenant("cached")
    window = {"start": now - 40 * MINUTE, "end": now - 20 * MINUTE}
    query = selector(own) + ' |= "Xid"'
    cached.push({**own, "stream": "other"}, [(now, "so that the selector exists")])
    assert cached.lines(query, **window) == []

    cached.push(own, [(now - 30 * MINUTE, "Xid")])

    assert cached.lines(query, **window) == []
    assert cached.lines(f'{query} != "a3f0"', **window) == ["Xid"]
    assert cached.lines(selector(own), **window) == ["Xid"]


def test_an_empty_answer_about_the_last_minutes_is_not_cached(tenant: Tenant) -> None:
    own, now = own_label(), now_ns()
    cached = tenant("cached")
    window = {"start": now - 8 * MINUTE, "end": now + MINUTE}  # every piece ends < 10 min ago
    query = selector(own) + ' |= "Xid"'
    cached.push({**own, "stream": "other"}, [(now, "so that the selector exists")])
    assert cached.lines(query, **window) == []

    cached.push(own, [(now - 5 * MINUTE, "Xid")])

    assert cached.lines(query, **window) == ["Xid"]


def test_very_late_lines_are_accepted_but_unseen_until_flushed(tenant: Tenant) -> None:
    own, now = own_label(), now_ns()
    memory = tenant("memory")
    window = {"start": now - 5 * HOUR, "end": now - 4 * HOUR}

    answer = memory.push(own, [(now - 5 * HOUR + MINUTE, "late")])

    assert answer.status_code == 204
    assert memory.lines(selector(own), **window) == []
    assert memory.request("POST", "/flush").status_code == 204
    deadline = time.monotonic() + 20
    while memory.lines(selector(own), **window) != ["late"]:
        assert time.monotonic() < deadline, "not visible after a flush"
        threading.Event().wait(0.2)


def test_an_answer_larger_than_a_message_times_out_until_the_page_is_smaller(
    tenant: Tenant,
) -> None:
    own, base = own_label(), now_ns() - MINUTE
    large = tenant("large")
    for first in (0, 2500):
        large.push(own, [(base + first + i, "x" * 1000) for i in range(2500)])

    answer = large.ask(selector(own), start=base, limit=5000)

    assert answer.status_code == 504
    assert "timed out" in answer.text.lower()
    assert len(large.lines(selector(own), start=base, limit=2500)) == 2500
