"""A whole source against a Loki: nothing lost, whatever the page, the delay or the restart."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from konduktor_health.adapters.loki import LokiClient, LokiSource, SourceSpec
from konduktor_health.clock import NS, SystemClock
from konduktor_health.model import Trust
from konduktor_health.ports import Poll
from konduktor_health.sandbox.loki import Limits, LokiServer
from konduktor_health.settings import LokiSettings, ReadingSettings
from parsers.record import LogRecord
from tests.contract.loki.conftest import BOTH
from tests.support.loki_http import MINUTE, LokiHttp, now_ns, own_label, selector
from tests.support.servers import Loki

Labels = dict[str, str]


class MovedClock(SystemClock):
    """The real time, and a little later when a test cannot wait."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ns(self) -> int:
        return super().now_ns() + int(self.ahead_s * NS)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Reader:
    """A source over one selector, read to the end."""

    def __init__(
        self,
        url: str,
        labels: Labels,
        state: Mapping[str, Any] | None = None,
        *,
        loki: Mapping[str, Any] | None = None,
        **reading: Any,
    ) -> None:
        self.clock = MovedClock()
        self.client = LokiClient(LokiSettings(url=url, **(loki or {})), clock=self.clock)
        self.source = LokiSource(
            self.client,
            SourceSpec("kmsg", selector(labels), ("label:node",), Trust.KERNEL),
            ReadingSettings(**{"poll_interval_s": 0.05, **reading}),
            clock=self.clock,
            literals=("line",),
            unwrap=lambda text: LogRecord(text=text),
        )
        if state is not None:
            self.source.restore(json.loads(json.dumps(state)))
        self.found: list[str] = []

    def poll(self) -> Poll:
        poll = self.source.poll()
        self.found += [entry.record.text for entry in poll.entries]
        return poll

    def read(self, wanted: int, within_s: float = 20) -> list[str]:
        """Poll until so many lines have come and nothing is missing."""
        deadline = time.monotonic() + within_s
        poll = self.poll()
        while len(self.found) < wanted or poll.more or not poll.status.ok or poll.status.gaps:
            assert time.monotonic() < deadline, f"{len(self.found)} of {wanted}: {poll.status}"
            poll = self.poll()
        return sorted(self.found)


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    """Reader(url, labels, ...), closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Reader:
            made = Reader(*arguments, **options)
            stack.callback(made.client.close)
            return made

        yield make


Make = Callable[..., Reader]


def fill(http: LokiHttp, labels: Labels, count: int, length: int) -> list[str]:
    """Push lines of this length, 1 ms apart, in the last minutes."""
    texts = [f"line {number:06d} ".ljust(length, "x") for number in range(count)]
    base = now_ns() - 5 * MINUTE
    size = max(1, 3_000_000 // length)
    for first in range(0, count, size):
        part = texts[first : first + size]
        answer = http.push(labels, [(base + (first + i) * 10**6, t) for i, t in enumerate(part)])
        assert answer.status_code == 204, answer.text
    return texts


# ---------------------------------------------------------------- answers that Loki loses


@pytest.mark.parametrize(("count", "length"), [(20_000, 1000), (1_100, 12_000)])
def test_lines_that_do_not_fit_into_one_answer_are_all_read(
    limited_loki: LokiServer | Loki, reader: Make, count: int, length: int
) -> None:
    own, http = own_label(), LokiHttp(limited_loki.url, "large")
    texts = fill(http, own, count, length)
    http.close()

    started = time.monotonic()
    found = reader(limited_loki.url, own, loki={"tenant": "large"}).read(count, 40)

    assert found == texts
    assert time.monotonic() - started < 30


def test_connections_that_are_cut_at_each_large_answer_are_no_obstacle(reader: Make) -> None:
    limits = Limits(query_timeout_s=0.1, write_timeout_s=0.05)
    with LokiServer(limits=limits) as server:
        own, http = own_label(), LokiHttp(server.url)
        texts = fill(http, own, 600, 12_000)
        http.close()

        assert reader(server.url, own, loki={"attempts": 1}).read(600, 30) == texts


# ---------------------------------------------------------------- pages, late lines, restarts


def test_a_page_may_end_anywhere_in_a_tie(
    loki_server: LokiServer | Loki, loki: LokiHttp, reader: Make
) -> None:
    own, base = own_label(), now_ns() - 5 * MINUTE
    nodes = [{**own, "node": name} for name in ("n1", "n2")]
    wanted = []
    for group in range(30):
        for node in nodes:
            texts = [f"line {group:02d} {number} {node['node']}" for number in range(4)]
            loki.push(node, [(base + group, text) for text in texts])
            wanted += texts
    burst = [f"line {'ab'[i % 2]}{i:03d} in one nanosecond" for i in range(70)]
    loki.push(nodes[0], [(base + 30, text) for text in burst])

    found = reader(loki_server.url, own, loki={"page_lines": 7}).read(240 + 70)

    assert found == sorted([*wanted, *burst])


def test_late_lines_are_found_by_the_minute_and_by_the_hour(
    loki_server: LokiServer | Loki, loki: LokiHttp, reader: Make
) -> None:
    own, now = own_label(), now_ns()
    loki.push(own, [(now - MINUTE, "line in time")])
    late = reader(loki_server.url, own, first_lookback_s=10_000)
    assert late.read(1) == ["line in time"]

    loki.push({**own, "pod": "b"}, [(now - 8 * MINUTE, "line of some minutes ago")])
    late.poll()
    assert late.found == ["line in time"]
    late.clock.ahead_s = 61
    assert late.read(2)[1] == "line of some minutes ago"

    loki.push({**own, "pod": "c"}, [(now - 80 * MINUTE, "line of long ago")])
    late.clock.ahead_s = 1800
    late.poll()
    assert len(late.found) == 2
    late.clock.ahead_s = 3700
    assert late.read(3)[1] == "line of long ago"


def test_a_restarted_reader_goes_on_where_it_was(
    loki_server: LokiServer | Loki, loki: LokiHttp, reader: Make
) -> None:
    own, base = own_label(), now_ns() - 10 * MINUTE
    loki.push(own, [(base + i, f"line {i}") for i in range(5)])
    first = reader(loki_server.url, own)
    assert len(first.read(5)) == 5
    state = first.source.checkpoint()

    loki.push(own, [(now_ns(), "line meanwhile")])
    second = reader(loki_server.url, own, state, first_lookback_s=0)

    assert second.source.checkpoint()["gaps"], "nobody read meanwhile"
    assert "line meanwhile" in second.read(1)
    assert second.source.checkpoint()["gaps"] == []


@pytest.fixture(params=BOTH)
def own_server(request: pytest.FixtureRequest) -> Iterator[LokiServer | Loki]:
    """A Loki that the test may stop."""
    if request.param == "real":
        yield request.getfixturevalue("loki_factory")()
        return
    with LokiServer() as server:
        yield server


def test_a_loki_that_was_away_is_read_on_from_where_it_was(
    own_server: LokiServer | Loki, reader: Make
) -> None:
    own, http = own_label(), LokiHttp(own_server.url)
    http.push(own, [(now_ns(), "line before")])
    away = reader(own_server.url, own, loki={"attempts": 1})
    assert away.read(1) == ["line before"]
    cursor = away.source.checkpoint()["cursor"]

    http.push(own, [(now_ns(), "line just before")])
    http.close()
    own_server.stop()
    status = away.poll().status
    while status.ok:
        status = away.poll().status
    assert [gap.reason for gap in status.gaps] == ["unavailable"]
    assert away.source.checkpoint()["cursor"] >= cursor

    own_server.start()
    http.push(own, [(now_ns(), "line after")])
    http.close()
    assert away.read(3, 60) == ["line after", "line before", "line just before"]
