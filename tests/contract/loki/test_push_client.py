"""Does our push client understand what a Loki answers?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from konduktor_health.adapters.loki_push import LokiPush
from konduktor_health.errors import LokiRefused, LokiUnavailable
from tests.support.loki_http import HOUR, MINUTE, LokiHttp, now_ns, own_label, selector
from tests.support.processes import free_port


@pytest.fixture
def client(loki: LokiHttp) -> Iterator[LokiPush]:
    push = LokiPush(loki.url)
    yield push
    push.close()


def test_what_is_pushed_can_be_read_at_once(loki: LokiHttp, client: LokiPush) -> None:
    own, now = own_label(), now_ns() - MINUTE

    client.push(own, [(now, "one"), (now + 1, "two", {"k8s_node_name": "n1"})])

    assert loki.lines(selector(own)) == ["one", "two"]
    assert loki.lines(selector(own) + ' | k8s_node_name="n1"') == ["two"]


def test_a_large_push_arrives_whole(loki: LokiHttp, client: LokiPush) -> None:
    own, base = own_label(), now_ns() - MINUTE

    client.push(own, [(base + i, "x" * 1000) for i in range(4900)])

    found = [
        ns
        for half in (base, base + 2450)
        for ns, _ in loki.entries(selector(own), start=half, end=half + 2450, limit=5000)
    ]
    assert found == list(range(base, base + 4900))


def test_a_refusal_says_why_and_keeps_the_good_lines(loki: LokiHttp, client: LokiPush) -> None:
    own, now = own_label(), now_ns() - MINUTE

    with pytest.raises(LokiRefused, match="timestamp too old") as refused:
        client.push(own, [(now - 200 * HOUR, "old"), (now, "good")])

    assert refused.value.status == 400
    assert loki.lines(selector(own)) == ["good"]


def test_nobody_there_is_unavailable() -> None:
    client = LokiPush(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(LokiUnavailable):
        client.push(own_label(), [(now_ns(), "line")])

    client.close()
