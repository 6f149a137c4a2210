"""An agent on a compromised node answers as it likes: it costs a bounded time, and its own node."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from konduktor_health.adapters.probes.client import AgentHttp, is_pod_address
from konduktor_health.clock import SystemClock
from konduktor_health.errors import AgentRefused, AgentUnavailable
from probes.report import MOST_BODY_BYTES
from tests.support.agents import AgentServer, Behave, answer

TIMEOUT_S = 0.6


@pytest.fixture
def agent() -> Iterator[AgentServer]:
    with AgentServer() as server:
        yield server


@pytest.fixture
def http() -> Iterator[AgentHttp]:
    client = AgentHttp(SystemClock(), may_ask=lambda _address: True, most_kept=2)
    yield client
    client.close()


def ask(http: AgentHttp, agent: AgentServer, *, keep: bool = False, etag: str = "") -> bytes:
    timeout_s = TIMEOUT_S
    found = http.get(
        agent.address, agent.port, "/v1/report", timeout_s=timeout_s, keep=keep, etag=etag
    )
    return found.body


def drip(data: bytes) -> Behave:
    def behave(connection: socket.socket, _request: str) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            threading.Event().wait(0.05)

    return behave


def says(data: bytes, *, hang_up: bool = True) -> Behave:
    def behave(connection: socket.socket, _request: str) -> None:
        connection.sendall(data)
        if hang_up:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            threading.Event().wait(5)

    return behave


def resets(connection: socket.socket, _request: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def floods(connection: socket.socket, _request: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n")
    for _ in itertools.repeat(None, 4096):
        connection.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    "behave",
    [
        drip(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"),
        drip(answer(b"{}" * 500)),
        lambda *_: threading.Event().wait(5),
        says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", hang_up=False),
        says(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, hang_up=False),
    ],
    ids=["headers drip", "a body drips", "silence", "a body that never ends", "goes on"],
)
def test_a_slow_answer_ends_at_the_deadline(
    agent: AgentServer, http: AgentHttp, behave: Behave
) -> None:
    agent.behave = behave
    began = time.monotonic()
    with pytest.raises(AgentUnavailable, match="within the time-out"):
        ask(http, agent)
    assert time.monotonic() - began < TIMEOUT_S + 1.0


@pytest.mark.parametrize(
    ("behave", "message"),
    [
        (floods, "an answer of 99999999 bytes"),
        (says(answer(b"x" * (MOST_BODY_BYTES + 1))), "at most"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100), "no length"),
        (
            says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
            "no length",
        ),
        (says(answer(b"x", content_encoding="gzip")), "encoding"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}"), "no answer of HTTP"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "no answer of HTTP"),
        (says(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n"), "no answer of HTTP"),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"), "no answer of HTTP"),
        (says(b""), "hung up without an answer"),
        (says(answer(b"busy", "503 Service Unavailable")), "answered 503: busy"),
        (says(answer(b"busy", "429 Too Many Requests")), "answered 429"),
        (resets, "hung up without an answer"),
    ],
)
def test_what_is_no_answer_is_told_as_unavailable(
    agent: AgentServer, http: AgentHttp, behave: Behave, message: str
) -> None:
    agent.behave = behave
    with pytest.raises(AgentUnavailable, match=message):
        ask(http, agent)


def test_a_redirect_is_not_followed(agent: AgentServer, http: AgentHttp) -> None:
    with AgentServer() as elsewhere:
        where = f"http://{elsewhere.address}:{elsewhere.port}/v1/report"
        agent.behave = says(answer(b"", "302 Found", location=where))
        with pytest.raises(AgentRefused, match="redirects"):
            ask(http, agent)
        assert elsewhere.connections == 0


def test_a_refusal_is_quoted_in_one_bounded_line(agent: AgentServer, http: AgentHttp) -> None:
    agent.behave = says(answer(b"\x1b[31mno\n" * 1000, "403 Forbidden"))
    with pytest.raises(AgentRefused) as refused:
        ask(http, agent)
    assert refused.value.status == 403
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_nobody_listens(http: AgentHttp, agent: AgentServer) -> None:
    agent.close()
    with pytest.raises(AgentUnavailable, match="no connection"):
        ask(http, agent)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "x"]
)
def test_an_address_that_no_pod_has_is_not_asked(address: str) -> None:
    assert not is_pod_address(address)
    with pytest.raises(AgentUnavailable, match="no address of a pod"):
        AgentHttp(SystemClock()).get(address, 80, "/", timeout_s=0.1, keep=False)


@pytest.mark.parametrize("address", ["10.244.3.7", "192.168.1.9", "fd00:10:244::7", "100.64.1.2"])
def test_addresses_of_pods_are_asked(address: str) -> None:
    assert is_pod_address(address)


# ---------------------------------------------------------------- connections


def test_an_unchanged_report_costs_no_body(agent: AgentServer, http: AgentHttp) -> None:
    agent.behave = says(b'HTTP/1.1 304 Not Modified\r\netag: "7"\r\n\r\n')
    found = http.get(agent.address, agent.port, "/", timeout_s=1, keep=False, etag='"7"')
    assert (found.status, found.body) == (304, b"")
    assert 'if-none-match: "7"' in agent.requests[0]


def test_a_kept_connection_serves_the_next_question(agent: AgentServer, http: AgentHttp) -> None:
    for _ in range(3):
        assert ask(http, agent, keep=True) == b"{}"
    assert (agent.connections, http.kept) == (1, 1)


def test_a_kept_connection_that_the_agent_has_closed_is_replaced(
    agent: AgentServer, http: AgentHttp
) -> None:
    agent.behave = says(answer(b"{}"))  # and hangs up
    assert ask(http, agent, keep=True) == b"{}"
    assert http.kept == 1
    assert ask(http, agent, keep=True) == b"{}"
    assert agent.connections == 2


def test_sockets_that_stay_open_are_bounded() -> None:
    http = AgentHttp(SystemClock(), may_ask=lambda _address: True, most_kept=2)
    agents = [AgentServer() for _ in range(5)]
    for agent in agents:
        ask(http, agent, keep=True)
    assert http.kept == 2
    http.close()
    assert http.kept == 0
    for agent in agents:
        agent.close()


def test_what_starts_work_is_never_sent_twice(agent: AgentServer, http: AgentHttp) -> None:
    agent.behave = resets
    with pytest.raises(AgentUnavailable):
        http.post(agent.address, agent.port, "/v1/run", b"{}", timeout_s=1)
    assert len(agent.requests) == 1


def test_the_environments_proxies_are_not_asked(
    agent: AgentServer, http: AgentHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AgentServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}:{proxy.port}")
        assert ask(http, agent) == b"{}"
        assert proxy.connections == 0
