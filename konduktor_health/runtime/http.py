"""What does the controller answer over HTTP? /metrics, /healthz, /readyz; read-only.

- /healthz: 200 while the loop turns; 503 makes the kubelet restart the pod.
- /readyz: 200 when the node cache is current and every log source is read; otherwise 503
  with one line per trouble and a hint.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loguru import logger

from konduktor_health.errors import ConfigError
from konduktor_health.runtime.log import printable
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.report import Trouble


class StatusServer:
    """Serves the controller's own port in a thread."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        alive: Callable[[], bool],
        troubles: Callable[[], list[Trouble]],
        host: str,
        port: int,
    ) -> None:
        pages: dict[str, Callable[[], tuple[int, bytes]]] = {
            "/metrics": lambda: (200, metrics.render()),
            "/healthz": lambda: (200, b"ok\n") if alive() else (503, b"the loop stands still\n"),
            "/readyz": lambda: _ready(troubles()),
        }
        try:
            self._server = ThreadedServer(host, port, _handler(pages))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                hint="choose another port with http.port, or 0 for any free one",
            ) from error
        self._serving = False
        self.port = int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._serving = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="status-http", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._serving:  # it would wait for a loop that never began
            self._server.shutdown()
        self._server.server_close()


class ThreadedServer(ThreadingHTTPServer):
    """Listens on IPv4 and IPv6, a thread for each connection. Raises OSError."""

    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        handler: type[BaseHTTPRequestHandler],
        *,
        most: int | None = None,
    ) -> None:
        """``most``: connections at once; more are closed. None: the port is for those who run the
        cluster, and whoever asks it must never be shut out by others."""
        self._places = None if most is None else threading.BoundedSemaphore(most)
        if ":" in host or (host == "" and socket.has_dualstack_ipv6()):
            self.address_family = socket.AF_INET6
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """ "" and "::" are reached by IPv4 too: a pod's address may be of either family."""
        if self.address_family == socket.AF_INET6 and socket.has_dualstack_ipv6():
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is a place."""
        if self._places is not None and not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            if self._places is not None:
                self._places.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - base class
        """A client that hung up, or a bug: one line in the log instead of a dump on stderr."""
        logger.opt(exception=True).debug("a status request broke off")


def _ready(troubles: list[Trouble]) -> tuple[int, bytes]:
    if not troubles:
        return 200, b"ready\n"
    lines = [
        f"not ready: {trouble.message}" + (f"\nhint: {trouble.hint}" if trouble.hint else "")
        for trouble in troubles
    ]
    text = "\n".join(printable(line) for whole in lines for line in whole.split("\n"))
    return 503, (text + "\n").encode()


def _handler(
    pages: dict[str, Callable[[], tuple[int, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # without it each answer waits 40 ms for Nagle and delayed ACK
        timeout = 30
        server_version = "konduktor-health"
        sys_version = ""

        def do_GET(self) -> None:
            page = pages.get(self.path.split("?", 1)[0])
            status, body = page() if page else (404, b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its signature
            """Requests of probes and scrapers are not logged."""

    return Handler
