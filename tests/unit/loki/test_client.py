"""Each class of answer is a typed error, a page, or a retry; nothing hangs or grows."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.adapters.loki import answers
from konduktor_health.adapters.loki.client import LokiClient, duration_ns
from konduktor_health.adapters.loki.refusals import AnswerLost, AnswerTooLarge, Unreachable
from konduktor_health.clock import NS
from konduktor_health.errors import (
    ConfigError,
    LokiBusy,
    LokiRefused,
    LokiTooMuch,
    LokiUnavailable,
)
from konduktor_health.settings import LokiSettings
from tests.support.memory_loki import FakeClock

URL = "http://loki.test:3100"
RANGE = f"{URL}/loki/api/v1/query_range"
NOW = 1_800_000_000 * NS


def body(*values: list[Any], flags: bool = True, **labels: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "resultType": "streams",
        "result": [{"stream": labels or {"job": "a"}, "values": list(values)}],
        "stats": {"summary": {"totalBytesProcessed": 123}},
    }
    if flags:
        data["encodingFlags"] = ["categorize-labels"]
    return {"status": "success", "data": data}


class Loki:
    """A client, what it slept, and the clock."""

    def __init__(self, **changes: Any) -> None:
        self.clock = FakeClock(NOW)
        self.slept: list[float] = []
        self.client = LokiClient(
            LokiSettings(**{"url": URL, **changes}), clock=self.clock, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    def ask(self) -> answers.Page:
        return self.client.query_range('{job="a"}', 0, 100)


@pytest.fixture
def loki() -> Loki:
    return Loki()


@pytest.fixture
def http() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def form(http: responses.RequestsMock, index: int = -1) -> dict[str, list[str]]:
    sent = http.calls[index].request.body
    return parse_qs(sent.decode() if isinstance(sent, bytes) else str(sent))


def test_a_query_is_a_form_with_all_parameters_and_headers(
    http: responses.RequestsMock, loki: Loki
) -> None:
    http.post(RANGE, json=body(["5", "line", {"structuredMetadata": {"node": "n1"}}]))
    page = loki.ask()
    assert form(http) == {
        "query": ['{job="a"}'],
        "start": ["0"],
        "end": ["100"],
        "limit": ["5000"],
        "direction": ["forward"],
    }
    headers = http.calls[0].request.headers
    assert headers["X-Loki-Response-Encoding-Flags"] == "categorize-labels"
    assert headers["X-Query-Tags"] == "Source=konduktor_health"
    assert headers["Accept-Encoding"] == "gzip"
    assert "X-Scope-OrgID" not in headers
    assert "Authorization" not in headers
    (line,) = page.lines
    assert (line.time_ns, line.text, line.labels, line.metadata) == (
        5,
        "line",
        {"job": "a"},
        {"node": "n1"},
    )
    assert page.bytes_processed == 123


def test_a_loki_that_does_not_categorize_gives_labels_and_metadata_as_one(
    http: responses.RequestsMock, loki: Loki
) -> None:
    http.post(RANGE, json=body(["5", "line"], flags=False, job="a", k8s_node_name="n1"))
    (line,) = loki.ask().lines
    assert line.metadata["k8s_node_name"] == "n1"
    assert line.labels["job"] == "a"


def test_streams_are_merged_in_time_order(http: responses.RequestsMock, loki: Loki) -> None:
    answer = body(["3", "c"], ["1", "a"])
    answer["data"]["result"].append({"stream": {"job": "b"}, "values": [["2", "b", {}]]})
    http.post(RANGE, json=answer)
    assert [line.text for line in loki.ask().lines] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("changes", "header", "value"),
    [
        ({"tenant": "t1"}, "X-Scope-OrgID", "t1"),
        ({"username": "u", "password": "p"}, "Authorization", "Basic dTpw"),
        ({"headers": {"X-Extra": "1"}}, "X-Extra", "1"),
    ],
)
def test_tenant_credentials_and_extra_headers_are_sent(
    http: responses.RequestsMock, changes: dict[str, Any], header: str, value: str
) -> None:
    http.post(RANGE, json=body())
    Loki(**changes).ask()
    assert http.calls[0].request.headers[header] == value


def test_the_token_file_is_read_again_for_each_request(
    http: responses.RequestsMock, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    loki = Loki(token_file=token)
    http.post(RANGE, json=body())
    for content in ("one\n", "two"):
        token.write_text(content)
        loki.ask()
    assert [call.request.headers["Authorization"] for call in http.calls] == [
        "Bearer one",
        "Bearer two",
    ]
    token.unlink()
    with pytest.raises(ConfigError, match="token file"):
        loki.ask()


REFUSED = [
    (400, "parse error at line 1", "not valid LogQL"),
    (401, "no org id", "loki.tenant"),
    (401, "nope", "loki.username"),
    (403, "forbidden", "permissions"),
    (404, "page not found", "without /loki/api/v1"),
    (422, "unprocessable", "limits"),
    (418, "teapot", ""),
    (302, "", "redirect"),
]
TOO_MUCH = [
    (400, "the query would read too many bytes (query: 3.4 MiB, limit: 10 KiB); consider"),
    (400, "the query time range exceeds the limit (query length: 744h0m0s, limit: 30d1h)"),
    (504, "Request timed out, decrease the duration of the request"),
    (413, "too large"),
    (500, "rpc error: code = ResourceExhausted desc = grpc: received message larger than max"),
]


@pytest.mark.parametrize(("status", "text", "hint"), REFUSED)
def test_refusals_are_not_retried_and_carry_a_hint(
    http: responses.RequestsMock, loki: Loki, status: int, text: str, hint: str
) -> None:
    http.post(RANGE, status=status, body=text)
    with pytest.raises(LokiRefused, match=text or "302") as caught:
        loki.ask()
    assert caught.value.status == status
    assert hint in caught.value.hint
    assert len(http.calls) == 1


@pytest.mark.parametrize(("status", "text"), TOO_MUCH)
def test_too_much_is_the_callers_to_ask_for_less(
    http: responses.RequestsMock, loki: Loki, status: int, text: str
) -> None:
    http.post(RANGE, status=status, body=text)
    with pytest.raises(LokiTooMuch):
        loki.ask()
    assert len(http.calls) == 1


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"status": 500, "body": "too many unhealthy instances in the ring"}, "unhealthy"),
    ({"status": 503, "body": "Ingester not ready"}, "not ready"),
    ({"status": 204}, "204"),
    ({"body": "<html>login</html>"}, "login"),
    ({"body": '{"status":"success","data":{"resultType":"streams","result":[{"str'}, "JSON"),
    ({"body": "[" * 100_000}, "JSON"),
    ({"json": {"status": "error"}}, "no success"),
    ({"json": [1]}, "no success"),
    ({"json": {"status": "success", "data": {"resultType": "matrix"}}}, "no streams"),
    ({"json": {"status": "success", "data": {"resultType": "streams", "result": 7}}}, "no list"),
    ({"json": body(["x", "y"])}, "no readable"),
    ({"json": body(["1000", "outside the window"])}, "outside"),
    ({"body": requests.ConnectionError("refused")}, "refused"),
    ({"body": requests.ReadTimeout("slow")}, "in time"),
    ({"body": b"no gzip", "headers": {"Content-Encoding": "gzip"}}, "no answer"),
    ({"body": b"x", "headers": {"Content-Encoding": "br"}}, "br"),
    (
        {"body": gzip.compress(b"x" * 999, mtime=0)[:-9], "headers": {"Content-Encoding": "gzip"}},
        "middle",
    ),
]


@pytest.mark.parametrize(("answer", "said"), BROKEN)
def test_what_cannot_be_understood_is_unavailable_and_never_no_lines(
    http: responses.RequestsMock, loki: Loki, answer: dict[str, Any], said: str
) -> None:
    http.post(RANGE, **answer)
    with pytest.raises(LokiUnavailable, match=said):
        loki.ask()


def test_unavailable_is_tried_again_with_growing_pauses(http: responses.RequestsMock) -> None:
    loki = Loki(attempts=4)
    for _ in range(3):
        http.post(RANGE, status=503, body="starting")
    http.post(RANGE, json=body(["5", "line"]))
    assert len(loki.ask().lines) == 1
    assert len(loki.slept) == 3
    assert sum(loki.slept) < 5


def test_tries_end_when_patience_does(http: responses.RequestsMock, loki: Loki) -> None:
    def hang(request: requests.PreparedRequest) -> Any:
        loki.clock.advance(65)
        raise requests.ReadTimeout("slow")

    http.add_callback("POST", RANGE, hang)
    with pytest.raises(AnswerLost):
        loki.ask()
    assert len(http.calls) == 1, "a time-out is not waited for three times"


def test_a_request_that_nobody_took_is_no_lost_answer(http: responses.RequestsMock) -> None:
    loki = Loki(attempts=1)

    def slow_to_refuse(request: requests.PreparedRequest) -> Any:
        loki.clock.advance(3)
        raise requests.ConnectTimeout("nobody")

    http.add_callback("POST", RANGE, slow_to_refuse)
    with pytest.raises(Unreachable):
        loki.ask()


def test_stop_ends_the_tries(http: responses.RequestsMock) -> None:
    stop = threading.Event()
    stop.set()
    client = LokiClient(LokiSettings(url=URL), clock=FakeClock(NOW), stop=stop)
    http.post(RANGE, status=503)
    with pytest.raises(LokiUnavailable):
        client.query_range("{}", 0, 1)
    assert len(http.calls) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3.0),
        (formatdate(NOW / NS + 4, usegmt=True), 4.0),
        ("soon", None),
        ("nan", None),
        ("-5", 0.0),
        ("1e9", 600.0),
        (None, None),
    ],
)
def test_busy_says_how_long_to_wait(
    http: responses.RequestsMock, header: str | None, seconds: float | None
) -> None:
    loki = Loki(attempts=1)
    headers = {"Retry-After": header} if header else {}
    http.post(RANGE, status=429, body="too many outstanding requests", headers=headers)
    with pytest.raises(LokiBusy) as caught:
        loki.ask()
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(("seconds", "slept"), [(3, [3.0, 3.0]), (30, [])])
def test_a_short_wait_is_the_requests_and_a_long_one_the_readers(
    http: responses.RequestsMock, loki: Loki, seconds: int, slept: list[float]
) -> None:
    http.post(RANGE, status=429, headers={"Retry-After": str(seconds)})
    with pytest.raises(LokiBusy):
        loki.ask()
    assert loki.slept == slept


def test_a_page_above_the_tenants_limit_is_asked_again_with_what_is_allowed(
    http: responses.RequestsMock, loki: Loki
) -> None:
    text = "max entries limit per query exceeded, limit > max_entries_limit_per_query (5000 > 7)"
    http.post(RANGE, status=400, body=text)
    http.post(RANGE, json=body(*([str(i), "x"] for i in range(7))))
    page = loki.ask()
    assert (page.limit, page.full, loki.client.page_lines) == (7, True, 7)
    assert form(http)["limit"] == ["7"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_above_the_bound_is_refused_packed_or_not(
    http: responses.RequestsMock, packed: bool
) -> None:
    loki = Loki(max_answer_bytes=4096)
    raw = json.dumps(body(["5", "x" * 10_000_000])).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    http.post(RANGE, body=gzip.compress(raw) if packed else raw, headers=headers)
    with pytest.raises(AnswerTooLarge):
        loki.ask()


def test_a_packed_answer_is_unpacked(http: responses.RequestsMock, loki: Loki) -> None:
    raw = json.dumps(body(["5", "line"])).encode()
    http.post(RANGE, body=gzip.compress(raw), headers={"Content-Encoding": "gzip"})
    assert [line.text for line in loki.ask().lines] == ["line"]


def test_odd_entries_are_counted_and_the_rest_is_kept(
    http: responses.RequestsMock, loki: Loki
) -> None:
    answer = body(["5", "good"], ["x", "bad"], ["6"], None, ["7", 8], ["9" * 30, "y"], [9, "int"])  # type: ignore[arg-type]
    answer["data"]["result"] += [None, {"stream": 3, "values": [["8", "no labels", 4]]}, {}]
    answer["warnings"] = ["partial\x1b[0m", 3]
    http.post(RANGE, json=answer)
    page = loki.ask()
    assert [line.text for line in page.lines] == ["good", "no labels", "int"]
    assert page.skipped == 7
    assert page.warnings == ("partial [0m",)


def test_broken_characters_do_not_cost_the_page(http: responses.RequestsMock, loki: Loki) -> None:
    raw = json.dumps(body(["5", "BYTE"], ["6", "\ud800 lone"])).encode().replace(b"BYTE", b"\xff!")
    http.post(RANGE, body=raw)
    texts = [line.text for line in loki.ask().lines]
    assert texts == ["\ufffd!", "? lone"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    data=st.fixed_dictionaries(
        {"resultType": st.just("streams"), "result": json_values},
        optional={"stats": json_values, "encodingFlags": json_values},
    ),
    values=st.lists(json_values),
)
def test_no_answer_whatever_its_shape_raises_anything_else(
    data: dict[str, Any], values: list[Any]
) -> None:
    for result in (data["result"], [{"stream": data["result"], "values": values}]):
        raw = json.dumps({"status": "success", "data": {**data, "result": result}}).encode()
        with contextlib.suppress(LokiUnavailable):
            answers.page(raw, 10)
        with contextlib.suppress(LokiUnavailable):
            answers.names(raw)


def test_series_labels_and_limits_are_read(http: responses.RequestsMock, loki: Loki) -> None:
    api = f"{URL}/loki/api/v1"
    http.post(f"{api}/series", json={"status": "success", "data": [{"job": "a"}, 3]})
    http.get(f"{api}/label/job/values", json={"status": "success", "data": ["a", 1]})
    http.get(f"{api}/labels", json={"status": "success"})
    http.get(f"{api}/drilldown-limits", json={"limits": {"max_query_lookback": "1d2h"}})
    assert loki.client.series('{job="a"}', 0, 1) == [{"job": "a"}]
    assert loki.client.label_values("job", '{job="a"}', 0, 1) == ["a"]
    assert loki.client.label_names(0, 1) == []
    assert loki.client.limits().lookback_ns == 26 * 3600 * NS
    assert form(http, 0)["match[]"] == ['{job="a"}']


def test_a_loki_that_does_not_tell_its_limits_has_none_known(
    http: responses.RequestsMock, loki: Loki
) -> None:
    http.get(f"{URL}/loki/api/v1/drilldown-limits", status=404)
    assert loki.client.limits().lookback_ns == 0


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0), ("30d1h", 2_595_600), ("x", 0), ("3", 0)])
def test_durations_are_read(text: str, seconds: int) -> None:
    assert duration_ns(text) == seconds * NS


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://u:p@loki"},
        {"url": "http://loki:99999"},
        {"url": "http://loki/?x=1"},
        {"ca_file": "/nowhere/ca.pem"},
        {"tenant": "a\nb"},
        {"headers": {"X": "ü"}},
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Loki(**changes)


def test_the_environment_changes_nothing_unless_allowed(
    http: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine loki.test login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    http.post(RANGE, json=body())
    Loki().ask()
    assert "Authorization" not in http.calls[0].request.headers


# ---------------------------------------------------------------- on a real socket

Serve = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(*serve: Serve) -> Iterator[str]:
    """Answers one connection after the other, each by the next function."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def run() -> None:
        for answer in serve:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    read_request(connection)
                    answer(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(5)
        listener.close()


def read_request(connection: socket.socket) -> None:
    """All of a request: closing with unread bytes would reset the connection."""
    with connection.makefile("rb") as stream:
        length = 0
        while (line := stream.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        stream.read(length)


def drip(head: bytes) -> Serve:
    def serve(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(b"x")
            time.sleep(0.02)  # noqa: TID251 - a server that drips has to

    return serve


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX-Header: ", HEAD + b"Content-Length: 100000\r\n\r\n"]
)
def test_a_server_that_drips_is_cut_at_the_deadline(head: bytes) -> None:
    with server(drip(head)) as url:
        client = LokiClient(
            LokiSettings(url=url, attempts=1, connect_timeout_s=0.1, read_timeout_s=0.3)
        )
        started = time.monotonic()
        with pytest.raises(LokiUnavailable, match=r"not complete after 0\.4 s"):
            client.query_range('{job="a"}', 0, 1)
        assert time.monotonic() - started < 2
        client.close()


def test_a_caller_may_wait_for_less_than_the_settings_say() -> None:
    def hang(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with server(hang) as url:
        client = LokiClient(LokiSettings(url=url, attempts=1, connect_timeout_s=0.1))
        started = time.monotonic()
        with pytest.raises(LokiUnavailable):
            client.query_range('{job="a"}', 0, 1, timeout_s=0.2)
        assert time.monotonic() - started < 2
        client.close()


def test_stop_cuts_a_request_that_hangs() -> None:
    stop = threading.Event()

    def hang(connection: socket.socket) -> None:
        stop.set()
        while connection.recv(1000):
            pass

    with server(hang) as url:
        client = LokiClient(LokiSettings(url=url), stop=stop)
        started = time.monotonic()
        with pytest.raises(LokiUnavailable, match="stopped"):
            client.query_range('{job="a"}', 0, 1)
        assert time.monotonic() - started < 2
        client.close()


def test_a_connection_that_breaks_in_the_body_is_unavailable() -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"status"')

    with server(half) as url:
        client = LokiClient(LokiSettings(url=url, attempts=1))
        with pytest.raises(LokiUnavailable):
            client.query_range('{job="a"}', 0, 1)
        client.close()


def test_a_connection_that_is_closed_without_an_answer_says_so() -> None:
    with server(lambda connection: None) as url:
        client = LokiClient(LokiSettings(url=url, attempts=1))
        with pytest.raises(LokiUnavailable, match=r"closed without an answer$"):
            client.query_range('{job="a"}', 0, 1)
        client.close()


def test_a_refused_connection_is_unavailable_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = LokiClient(LokiSettings(url=f"http://127.0.0.1:{port}", attempts=1))
    with pytest.raises(Unreachable, match="refused") as caught:
        client.query_range('{job="a"}', 0, 1)
    assert "LOG_ENDPOINT" in caught.value.hint
