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
from urllib.parse import parse_qsl, urlsplit

from konduktor_health.sandbox.kubeapi.auth import Access
from konduktor_health.sandbox.kubeapi.faults import Faults, Request, RequestLog, Rule
from konduktor_health.sandbox.kubeapi.revisions import encode
from konduktor_health.sandbox.kubeapi.route import Answer, Call, Stream
from konduktor_health.sandbox.kubeapi.status import ApiError

BODY_LIMIT = 3 * 1024 * 1024
IDLE_S = 120.0

Dispatch = Callable[[Call], "Answer | Stream"]


class _Dropped(Exception):  # noqa: N818 - a fault rule at work, no error of ours
    """The connection ends here without an answer."""


class Server(ThreadingHTTPServer):
    """The listening socket and its connections."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(
        self, dispatch: Dispatch, access: Access, faults: Faults, log: RequestLog,
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

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
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

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _serve(self) -> None:
        url = urlsplit(self.path)
        code, user = 0, ""
        try:
            try:
                rules = self.server.faults.take(self.command, url.path)
                self._misbehave(rules)
                body = self._body()
                user = self.server.access.user(self.headers.get("Authorization"))
                result = self.server.dispatch(
                    Call(
                        self.command,
                        url.path.rstrip("/"),
                        dict(parse_qsl(url.query, keep_blank_values=True)),
                        self.headers.get("Content-Type", ""),
                        self.headers.get("Accept", ""),
                        body,
                        user,
                    )
                )
                if any(rule.drop == "after" for rule in rules):
                    raise _Dropped
            except ApiError as error:
                code = error.code
                self._send(encode(error.body()), error.code, retry_after=error.retry_after)
                return
            code = result.code if isinstance(result, Answer) else 200
        except _Dropped:
            self.close_connection = True
            return
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug here must be seen as such, not hang
            self.server.failures.append(error)
            code = 500
            self._send(encode(ApiError(500, f"sandbox error: {error!r}"[:500]).body()), 500)
            return
        finally:
            self.server.log.add(Request(self.command, url.path, url.query, user, code))
        if isinstance(result, Stream):
            self._stream(result)
        else:
            self._send(result.body, result.code, result.content_type)

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
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self._refuse_body()
        return self.rfile.read(length) if length else b""

    def _chunked_body(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while size := int(self.rfile.readline(64).split(b";")[0].strip() or b"0", 16):
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

    def _send(
        self, body: bytes, code: int, content_type: str = "application/json",
        retry_after: int | None = None,
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
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
