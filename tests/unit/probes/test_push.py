from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from probes.kmsg.loki import LokiConnection, PushConfigError, PushTarget
from probes.kmsg.outbox import Outbox
from probes.kmsg.output import Line
from probes.kmsg.push import Backoff, Pusher
from tests.support.push_server import PushServer, Reply

LABELS = {"job": "konduktor-kmsg", "node": "node-a"}
NOW = 1_800_000_000_000_000_000


class Sender:
    """An outbox with a pusher on it."""

    def __init__(self, url: str, limit: int = 1 << 20, queued: Sequence[str] = ()) -> None:
        self.room = threading.Event()
        self.log: list[str] = []
        self.outbox = Outbox(limit, on_room=self.room.set)
        self.pusher = Pusher(
            self.outbox,
            LokiConnection(PushTarget(url, timeout_s=5.0)),
            LABELS,
            log=self.log.append,
            backoff=Backoff(0.01, 0.05),
            interval_s=0.005,
            now_ns=lambda: NOW,
        )
        self.put(*queued)
        self.thread = threading.Thread(target=self.pusher.run, daemon=True)
        self.thread.start()

    def put(self, *texts: str, time_ns: int = NOW) -> None:
        for text in texts:
            self.outbox.put(Line(text, time_ns, int(text.split()[-1])))

    def close(self, seconds: float = 5.0) -> None:
        self.outbox.close(seconds)
        self.thread.join(seconds + 2)
        assert not self.thread.is_alive()


@contextmanager
def sending(url: str, limit: int = 1 << 20, queued: Sequence[str] = ()) -> Iterator[Sender]:
    sender = Sender(url, limit, queued)
    try:
        yield sender
    finally:
        sender.close(0.5)


def numbered(count: int, first: int = 0) -> list[str]:
    return [f"line {number}" for number in range(first, first + count)]


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_lines_arrive_in_order_with_labels_and_event_time() -> None:
    with PushServer() as server, sending(server.url) as sender:
        sender.put(*numbered(50), time_ns=NOW - 5)

        assert server.wait_for_lines(50) == numbered(50)
        assert server.pushes[0].path == "/loki/api/v1/push"
        assert server.pushes[0].labels == LABELS
        assert {stamp for push in server.pushes for stamp, _ in push.values} == {NOW - 5}
    assert sender.outbox.delivered() == 49


@pytest.mark.parametrize(
    "troubles",
    [
        [Reply(500, "boom"), Reply(503, "not ready"), Reply(502)],
        [Reply(429, "ingestion rate limit exceeded", {"Retry-After": "0"})] * 3,
        [Reply(401, "no org id"), Reply(404), Reply(400, "max entry size"), Reply(302)],
    ],
)
def test_whatever_loki_answers_nothing_is_lost_and_order_holds(troubles: list[Reply]) -> None:
    with PushServer(*troubles) as server, sending(server.url) as sender:
        sender.put(*numbered(20))

        assert server.wait_for_lines(20) == numbered(20)
        assert len(sender.log) == len(troubles)


def test_lines_wait_while_loki_is_away_and_survive_its_restart() -> None:
    port = unused_port()
    with sending(f"http://127.0.0.1:{port}") as sender:
        sender.put(*numbered(10))
        while not sender.log:
            time.monotonic()
        with PushServer(port=port) as first:
            assert first.wait_for_lines(10) == numbered(10)
        sender.put(*numbered(10, first=10))
        with PushServer(port=port) as second:
            assert second.wait_for_lines(10) == numbered(10, first=10)


def test_retry_after_is_obeyed() -> None:
    backoff = Backoff(0.25, 15.0, random.Random(1))

    assert 7.0 <= backoff.next(7.0) <= 7.25
    assert backoff.next(1e9) <= 301


def test_back_off_doubles_to_a_cap_and_starts_again_after_a_success() -> None:
    backoff = Backoff(1.0, 8.0, random.Random(1))
    waits = [backoff.next(None) for _ in range(100)]
    backoff.reset()

    assert waits[0] <= 1.0
    assert 4.0 <= waits[3] <= 8.0
    assert max(waits) <= 8.0
    assert backoff.next(None) <= 1.0


def test_lines_that_loki_finds_too_old_get_the_present_time() -> None:
    hour = 3600 * 10**9
    refusal = Reply(
        400,
        "entry with timestamp 2027-01-15 05:00:00 +0000 UTC ignored, reason: 'entry too far "
        "behind, entry timestamp is: 2027-01-15T05:00:00Z, oldest acceptable timestamp is: "
        "2027-01-15T07:00:00Z',\nuser 'fake', total ignored: 2 out of 3 for stream: {}",
        {"Date": "Fri, 15 Jan 2027 08:00:00 GMT"},
    )
    with PushServer(Reply(503), refusal, refusal) as server, sending(server.url) as sender:
        sender.put("old 0", time_ns=NOW - 3 * hour)
        sender.put("old 1", time_ns=NOW - 2 * hour)
        sender.put("fresh 2", time_ns=NOW - 1)

        assert server.wait_for_lines(3) == ["old 0", "old 1", "fresh 2"]
        stamps = [
            stamp for push in server.pushes if push.reply.status == 204 for stamp, _ in push.values
        ]
        assert stamps[-1] == NOW - 1
        assert all(0 <= stamp - NOW < 1000 for stamp in stamps[:-1])


def test_a_node_with_a_fast_clock_takes_lokis_time() -> None:
    refusal = Reply(400, "timestamp too new", {"Date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    with PushServer(refusal) as server, sending(server.url) as sender:
        sender.put("from the future 0", time_ns=NOW + 10**15)

        server.wait_for_lines(1)
        assert server.pushes[-1].values == [(NOW, "from the future 0")]


def test_a_body_that_is_too_large_is_sent_in_pieces() -> None:
    refusals = [Reply(413, "request entity too large"), Reply(500, "ResourceExhausted: grpc")]
    with PushServer(*refusals) as server, sending(server.url, queued=numbered(64)):
        assert server.wait_for_lines(64) == numbered(64)
        sizes = [len(push.values) for push in server.pushes]
        assert sizes[0] == 64
        assert sizes[2] < sizes[1] < sizes[0]


def test_a_full_outbox_says_so_and_tells_when_there_is_room_again() -> None:
    port = unused_port()
    with sending(f"http://127.0.0.1:{port}", limit=2000) as sender:
        while sender.outbox.has_room():
            sender.put("line 0")
        assert not sender.room.is_set()
        with PushServer(port=port):
            assert sender.room.wait(5)
        assert sender.outbox.has_room()


def test_closing_delivers_what_is_left_even_when_loki_comes_back_late() -> None:
    with PushServer(Reply(503), Reply(503)) as server:
        sender = Sender(server.url)
        sender.put(*numbered(5))
        sender.close()

        assert server.lines() == numbered(5)
        assert sender.outbox.delivered() == 4


def test_closing_ends_in_time_when_loki_is_away_and_keeps_the_position() -> None:
    sender = Sender(f"http://127.0.0.1:{unused_port()}")
    sender.put(*numbered(5))
    began = time.monotonic()
    sender.close(0.2)

    assert time.monotonic() - began < 1.0
    assert sender.outbox.delivered() is None


def test_a_server_that_drips_cannot_hold_a_push_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"X-More: x\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        target = PushTarget(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3)
        began = time.monotonic()
        connection = LokiConnection(target)
        answer = connection.post(b"{}")
        connection.close()
        done.set()
        thread.join(5)

        assert answer.status == 0
        assert time.monotonic() - began < 2.0


def test_credentials_tenant_and_headers_are_sent_and_the_token_is_read_again(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    body = b'{"streams":[{"stream":{},"values":[]}]}'
    with PushServer() as server:
        target = PushTarget(server.url + "/", "team-a", str(token), headers={"X-Extra": "1"})
        connection = LokiConnection(target)
        for value in ("first", "second"):
            token.write_text(value + "\n")
            assert connection.post(body).status == 204
        token.write_text("bad\x00token")
        refused = connection.post(body)
        basic = PushTarget(server.url.replace("//", "//user:p%40ss@") + "/loki/api/v1/push")
        second = LokiConnection(basic)
        second.post(body)
        connection.close()
        second.close()

        sent = [push.headers for push in server.pushes]
        assert [headers["Authorization"] for headers in sent] == [
            "Bearer first",
            "Bearer second",
            "Basic dXNlcjpwQHNz",
        ]
        assert (sent[0]["X-Scope-OrgID"], sent[0]["X-Extra"]) == ("team-a", "1")
        assert refused.status == 0
        assert "bad" not in refused.text
        assert {push.path for push in server.pushes} == {"/loki/api/v1/push"}


@pytest.mark.parametrize(
    "url", ["", "loki:3100", "ftp://loki", "http://", "http://[", "http://x:y"]
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    with pytest.raises(PushConfigError):
        PushTarget(url)
