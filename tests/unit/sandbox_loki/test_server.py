"""What can the embedded Loki do that the real one cannot? Misbehave, forget, remember requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import requests

from konduktor_health.sandbox.loki import Limits, LokiServer
from tests.support.loki_http import HOUR, MINUTE, NS, LokiHttp, now_ns, own_label, selector


class FixedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def now_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / NS

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


@pytest.fixture
def server() -> Iterator[LokiServer]:
    with LokiServer() as started:
        yield started


@pytest.fixture
def http(server: LokiServer) -> Iterator[LokiHttp]:
    client = LokiHttp(server.url)
    yield client
    client.close()


def test_lines_pushed_from_python_are_read_over_http(server: LokiServer, http: LokiHttp) -> None:
    own, now = own_label(), now_ns() - MINUTE

    refused = server.push(own, [(now, "one"), (now + 1, "two", {"node": "n1"})])

    assert refused == []
    assert http.lines(selector(own)) == ["one", "two"]
    assert http.lines(selector(own) + ' | node="n1"') == ["two"]


def test_refused_lines_of_a_python_push_are_told(server: LokiServer) -> None:
    (reason,) = server.push(own_label(), [(1, "very old"), (now_ns(), "good")])

    assert "timestamp too old" in reason


def test_a_forced_status_comes_as_often_as_asked_for(server: LokiServer, http: LokiHttp) -> None:
    server.faults.status(429, times=2, retry_after="3", body="too many outstanding requests")

    answers = [http.ask(selector(own_label())) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
    assert answers[0].text == "too many outstanding requests"


def test_a_fault_meets_only_its_path(server: LokiServer, http: LokiHttp) -> None:
    server.faults.status(503, path="push")

    assert http.ask(selector(own_label())).status_code == 200
    assert http.push(own_label(), [(now_ns(), "x")]).status_code == 503
    assert http.push(own_label(), [(now_ns(), "x")]).status_code == 204


def test_a_forced_failure_of_a_push_stores_nothing(server: LokiServer, http: LokiHttp) -> None:
    own = own_label()
    server.faults.status(500, path="push")

    http.push(own, [(now_ns() - NS, "x")])

    assert http.lines(selector(own)) == []


def test_a_connection_can_be_dropped(server: LokiServer, http: LokiHttp) -> None:
    server.faults.drop()

    with pytest.raises(requests.ConnectionError):
        http.ask(selector(own_label()))
    assert http.ask(selector(own_label())).status_code == 200


def test_an_answer_can_be_cut_or_be_a_web_page(server: LokiServer, http: LokiHttp) -> None:
    server.faults.truncate()
    server.faults.html()

    cut, page, good = (http.ask(selector(own_label())) for _ in range(3))

    assert cut.status_code == page.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        cut.json()
    assert page.text.startswith("<!DOCTYPE html>")
    assert good.json()["status"] == "success"


def test_a_hanging_request_ends_when_the_server_stops() -> None:
    server = LokiServer().start()
    client = LokiHttp(server.url)
    server.faults.hang(60)
    outcome: list[str] = []

    def ask() -> None:
        try:
            outcome.append(str(client.ask(selector(own_label())).status_code))
        except requests.ConnectionError:
            outcome.append("dropped")

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 5
    while not server.in_flight and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    server.stop()
    thread.join(5)
    client.close()

    assert outcome
    assert not thread.is_alive()


def test_a_restart_keeps_port_and_lines(server: LokiServer, http: LokiHttp) -> None:
    own, url = own_label(), server.url
    server.push(own, [(now_ns() - NS, "kept")])

    server.stop()
    with pytest.raises(requests.ConnectionError):
        http.ask(selector(own))
    server.start()

    assert server.url == url
    assert http.lines(selector(own)) == ["kept"]


def test_requests_are_remembered_up_to_a_bound(server: LokiServer, http: LokiHttp) -> None:
    http.request("GET", "/ready", headers={"X-Scope-OrgID": "t"})
    http.request("POST", "/loki/api/v1/query_range", data={"query": "{", "limit": "3"})

    ready, query = server.requests

    assert (ready.method, ready.path, ready.status, ready.tenant) == ("GET", "/ready", 200, "t")
    assert (query.method, query.status) == ("POST", 400)
    assert query.params == {"query": "{", "limit": "3"}
    assert server.requests.maxlen is not None


def test_the_oldest_lines_go_when_the_memory_is_full() -> None:
    now, own = now_ns() - MINUTE, own_label()
    with LokiServer(limits=Limits(max_stored_bytes=200_000)) as server:
        for i in range(2000):
            server.push({**own, "stream": str(i % 3)}, [(now + i, f"{i:04} " + "x" * 200)])

        http = LokiHttp(server.url)
        found = http.entries(selector(own), limit=5000)
        http.close()

        assert server.stored_bytes <= 200_000
        offsets = [ns - now for ns, _ in found]
        assert offsets == list(range(offsets[0], 2000))
        assert len(offsets) > 300


def test_limits_may_change_while_it_runs(server: LokiServer, http: LokiHttp) -> None:
    own = own_label()
    server.push(own, [(now_ns() - NS, "x" * 100)])
    server.limits = Limits(max_query_bytes=50)

    answer = http.ask(selector(own) + ' |= "x"')

    assert answer.status_code == 400
    assert answer.text.startswith("the query would read too many bytes (query: 1")
    assert http.ask(selector(own)).status_code == 200  # not counted for unfiltered queries


def test_too_large_an_answer_ends_without_one_when_writing_times_out_first(
    server: LokiServer, http: LokiHttp
) -> None:
    own, base = own_label(), now_ns() - NS
    server.limits = Limits(max_answer_bytes=5000, query_timeout_s=0.02, write_timeout_s=0.01)
    server.push(own, [(base + i, "x" * 100) for i in range(50)])

    with pytest.raises(requests.ConnectionError):
        http.ask(selector(own))
    assert len(http.lines(selector(own), limit=20)) == 20


def test_an_old_loki_ignores_the_categorize_header(server: LokiServer, http: LokiHttp) -> None:
    own, base = own_label(), now_ns() - NS
    server.limits = Limits(categorize_labels=False)
    server.push(own, [(base + i, "x", {"seen": str(i)}) for i in range(3)])

    data = http.ask(selector(own), categorize=True).json()["data"]

    assert "encodingFlags" not in data
    assert len(data["result"]) == 3


def test_time_is_the_clocks() -> None:
    clock = FixedClock(1_000_000 * NS)
    with LokiServer(clock=clock) as server:
        http, own = LokiHttp(server.url), own_label()
        server.push(own, [(clock.ns - MINUTE, "line")])

        assert http.lines(selector(own)) == ["line"]
        clock.ns += 2 * HOUR
        assert http.lines(selector(own)) == []
        assert http.lines(selector(own), since="3h") == ["line"]
        assert server.push(own, [(clock.ns + 11 * MINUTE, "future")]) != []
        http.close()


def test_twenty_thousand_lines_are_pushed_and_searched_quickly(
    server: LokiServer, http: LokiHttp
) -> None:
    own, base = own_label(), now_ns() - MINUTE
    lines = [(base + i, f"[ {i}.0] NVRM: Xid (PCI:0000:1b:00): 79, pid={i}") for i in range(20_000)]
    server.push(own, lines)
    query = selector(own) + ' |= "SXid" or "fallen off" or "pid=19999"'

    times = []  # CPU seconds of server and client: other processes have no say
    for _ in range(5):
        began = time.process_time()
        assert len(http.lines(query, limit=5000)) == 1
        times.append(time.process_time() - began)

    assert min(times) < 0.1
