"""How do bytes become calls? The HTTP/1.1 server: keep-alive, faults, streams, a clean stop."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from konduktor_health.sandbox.kubeapi.auth import Access
from konduktor_health.sandbox.kubeapi.faults import Faults, Request, RequestLog, Rule
from konduktor_health.sandbox.kubeapi.revisions import encode
from konduktor_health.sandbox.kubeapi.route import Answer, Call, Stream
from konduktor_health.sandbox.kubeapi.status import ApiError, bad_request

BODY_LIMIT = 3 * 1024 * 1024
IDLE_S = 120.0

Dispatch = Callable[[Call], "Answer | Stream"]


class _Dropped(Exception):
    """A fault rule ends the connection without an answer."""


class Server(ThreadingHTTPServer):
    """The listening socket and its connections."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self,
        dispatch: Dispatch,
        access: Access,
        faults: Faults,
        log: RequestLog,
        stopping: threading.Event,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.dispatch = dispatch
        self.access = access
        self.faults = faults
        self.log = log
        self.stopping = stopping
        self.failures: list[BaseException] = []  # errors of the sandbox itself
        self._open: set[socket.socket] = set()
        self._idle = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection and serve it in a thread."""
        with self._idle:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._idle:
            self._open.discard(request)
            self._idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - base class
        """A client that went away is no error; anything else is kept for the test to see."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.failures.append(error)

    def close_all(self, seconds: float = 3.0) -> None:
        """Stop listening, end every connection, wait for their threads."""
        self.shutdown()
        self.server_close()
        deadline = time.monotonic() + seconds
        with self._idle:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            while self._open and (left := deadline - time.monotonic()) > 0:
                self._idle.wait(left)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment per answer: unbuffered writes meet delayed ACKs (40 ms each)
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Silence: the request log is for that."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._user = ""
        retry_after: int | None = None
        result: Answer | Stream | None
        try:
            result = self._result(url)
        except ApiError as error:
            result = Answer(encode(error.body()), error.code)
            retry_after = error.retry_after
        except _Dropped:
            self.close_connection = True
            result = None
        except OSError:
            raise
        except Exception as error:  # a bug in here must be seen as one
            self.server.failures.append(error)
            result = Answer(encode(ApiError(500, f"sandbox error: {error!r}"[:500]).body()), 500)
        code = result.code if isinstance(result, Answer) else 200 if result else 0
        # before the answer: who has it can rely on finding the request in the log
        self.server.log.add(Request(self.command, url.path, url.query, self._user, code))
        if isinstance(result, Stream):
            self._stream(result)
        elif result is not None:
            self._send(result, retry_after)

    def _result(self, url: SplitResult) -> Answer | Stream:
        rules = self.server.faults.take(self.command, url.path)
        self._misbehave(rules)
        body = self._body()
        self._user = self.server.access.user(self.headers.get("Authorization"))
        result = self.server.dispatch(
            Call(
                self.command,
                unquote(url.path).rstrip("/"),
                dict(parse_qsl(url.query, keep_blank_values=True)),
                self.headers.get("Content-Type", ""),
                self.headers.get("Accept", ""),
                body,
                self._user,
                {name.lower(): value for name, value in self.headers.items()},
            )
        )
        if any(rule.drop == "after" for rule in rules):
            raise _Dropped
        return result

    def _misbehave(self, rules: list[Rule]) -> None:
        for rule in rules:
            if rule.delay_s:
                self.server.stopping.wait(rule.delay_s)
            if rule.drop == "before":
                raise _Dropped
            if rule.code:
                self._body()  # or the rest of it would be read as the next request
                raise ApiError(
                    rule.code, rule.message or "injected fault", retry_after=rule.retry_after
                )

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunked_body()
        length = _size(self.headers.get("Content-Length") or "0", 10)
        if length > BODY_LIMIT:
            self._refuse_body()
        return self.rfile.read(length) if length else b""

    def _chunked_body(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while size := _size(self.rfile.readline(64).decode("latin-1").split(";")[0], 16):
            total += size
            if total > BODY_LIMIT:
                self._refuse_body()
            parts.append(self.rfile.read(size))
            self.rfile.readline(8)
        self.rfile.readline(8)
        return b"".join(parts)

    def _refuse_body(self) -> None:
        self.close_connection = True
        raise ApiError(413, f"Request entity too large: limit is {BODY_LIMIT}")

    def _send(self, answer: Answer, retry_after: int | None) -> None:
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def _stream(self, stream: Stream) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for piece in stream.pieces:
            if piece is not None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            elif self._gone():
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
        if self.server.stopping.is_set():
            self.close_connection = True

    def _gone(self) -> bool:
        """True when the client has closed its side."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)


def _size(text: str, base: int) -> int:
    """A length from the wire. ApiError 400."""
    try:
        size = int(text.strip() or "0", base)
    except ValueError:
        size = -1
    if size < 0:
        raise bad_request("the length of the body cannot be understood")
    return size
