"""How do HTTP requests reach the embedded Loki? A small threaded HTTP/1.1 server on loopback.

Answers are written in one piece: with unbuffered writes, Nagle's algorithm and delayed
acknowledgements cost 40 ms per request.
"""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol, cast

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=UTF-8"

_IDLE_S = 60.0  # a connection that says nothing for so long is closed
_MAX_BODY = 32 * 1024 * 1024  # bytes, packed or unpacked
_GZIP_FROM = 1024  # bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Status 0 closes the connection without one."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    retry_after: str = ""


class App(Protocol):
    """What answers requests; called on many threads at once."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request; header names are in lower case."""
        ...


class WireServer(ThreadingHTTPServer):
    """Threads, one per connection, that close_connections() can end."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, app: App) -> None:
        self.app = app
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        """Remember the connection, then serve it on its own thread."""
        with self._open_lock:
            self._open.add(cast("socket.socket", request))
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        """Forget the connection and close it."""
        with self._open_lock:
            self._open.discard(cast("socket.socket", request))
        super().shutdown_request(request)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Silent: clients that go away in the middle are what tests are about."""

    def close_connections(self) -> None:
        """End every open connection, idle or not."""
        with self._open_lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: the server keeps a log of requests itself."""

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._body(headers)
        if body is None:
            answer = Answer(400, b"bad request body\n")
            self.close_connection = True
        else:
            app = cast("WireServer", self.server).app
            answer = app.answer(self.command, self.path, headers, body)
        if answer.status == 0:
            self.close_connection = True
            return
        self._send(answer, gzip_wanted="gzip" in headers.get("accept-encoding", ""))

    def _body(self, headers: Mapping[str, str]) -> bytes | None:
        """The unpacked body; None for one that is damaged or too large."""
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _MAX_BODY or "transfer-encoding" in headers:
            return None
        packed = self.rfile.read(int(length))
        if headers.get("content-encoding", "") != "gzip":
            return packed
        unpacker = zlib.decompressobj(wbits=31)
        try:
            body = unpacker.decompress(packed, _MAX_BODY)
        except zlib.error:
            return None
        return body if unpacker.eof else None

    def _send(self, answer: Answer, *, gzip_wanted: bool) -> None:
        body = answer.body
        self.send_response(answer.status)
        if gzip_wanted and len(body) >= _GZIP_FROM:
            body = gzip.compress(body, 1, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        if answer.retry_after:
            self.send_header("Retry-After", answer.retry_after)
        if body:
            self.send_header("Content-Type", answer.content_type)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
