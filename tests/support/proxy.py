"""A reverse proxy on loopback that counts, refuses and cuts: trouble in front of real servers."""

from __future__ import annotations

import http.client
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class Refusal:
    """What to answer instead of passing a request on, ``times`` times."""

    status: int
    times: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"refused by the test\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed says nothing about the proxy."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Proxy:
    """Passes requests to ``target`` (plain HTTP), watches included.

    ``before`` and ``after`` are called with (method, path, write number) around each write that
    ``counted`` (method, path) says yes to; where ``before`` answers False the write never arrives.
    ``delay_s``: so long each request is on its way. ``seen`` has every write that began, counted
    or not. ``ca``: of a target that speaks TLS.
    """

    def __init__(
        self,
        target: str,
        counted: Callable[[str, str], bool] = lambda _method, _path: True,
        ca: Path | None = None,
    ) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._tls = ssl.create_default_context(cafile=str(ca)) if ca else None
        self.delay_s = 0.0
        self.seen: list[tuple[str, str]] = []
        self._counted = counted
        self.refusal: Refusal | None = None
        self.writes = 0
        self.refused = 0
        self.before: Callable[[str, str, int], object] = lambda *_: None
        self.after: Callable[[str, str, int], object] = lambda *_: None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def _pass(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                self.close_connection = True
                if proxy._refuses(self):
                    return
                if self.command in WRITES:
                    proxy.seen.append((self.command, self.path))
                if proxy.delay_s:
                    threading.Event().wait(proxy.delay_s)
                number = 0
                if self.command in WRITES and proxy._counted(self.command, self.path):
                    with proxy._lock:
                        proxy.writes += 1
                        number = proxy.writes
                    if proxy.before(self.command, self.path, number) is False:
                        return
                upstream = proxy._connection()
                try:
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
                    upstream.request(self.command, self.path, body, headers)
                    answer = upstream.getresponse()
                    if number:
                        proxy.after(self.command, self.path, number)
                    self._answer(answer)
                except OSError:
                    pass  # either side has gone
                finally:
                    upstream.close()

            def _answer(self, answer: http.client.HTTPResponse) -> None:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.flush()
                while chunk := answer.read1(65536):
                    self.wfile.write(chunk)
                    self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        for method in ("GET", *WRITES):
            setattr(Handler, f"do_{method}", Handler._pass)
        return Handler

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._target, timeout=600)
        return http.client.HTTPSConnection(*self._target, timeout=600, context=self._tls)

    def _refuses(self, handler: BaseHTTPRequestHandler) -> bool:
        with self._lock:
            refusal = self.refusal
            if refusal is None or refusal.times <= 0:
                return False
            refusal.times -= 1
            self.refused += 1
        handler.send_response(refusal.status)
        for name, value in refusal.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(refusal.body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(refusal.body)
        handler.wfile.flush()
        return True
