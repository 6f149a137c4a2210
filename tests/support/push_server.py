"""A Loki that takes pushes on loopback and answers as the test says."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Push:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    labels: dict[str, str]
    values: list[tuple[int, str]]
    reply: Reply


class PushServer:
    """Answers with the scripted replies in turn, then 204. Lines count when answered 204."""

    def __init__(self, *replies: Reply, port: int = 0) -> None:
        self.pushes: list[Push] = []
        self.refuse_older_than_ns = 0
        self._replies = list(replies)
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = outer._take(self.path, dict(self.headers), body)
                payload = reply.body.encode()
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def setup(self) -> None:
                super().setup()
                outer._connections.append(self.connection)

        class Server(ThreadingHTTPServer):
            daemon_threads = False
            block_on_close = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __enter__(self) -> PushServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        for connection in self._connections:
            # A server that ends takes its connections with it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join(5)

    def lines(self) -> list[str]:
        """All accepted lines in order."""
        with self._changed:
            return [text for push in self._accepted() for _, text in push.values]

    def wait_for_lines(self, count: int, seconds: float = 10.0) -> list[str]:
        with self._changed:
            self._changed.wait_for(
                lambda: sum(len(push.values) for push in self._accepted()) >= count, seconds
            )
        return self.lines()

    def _accepted(self) -> list[Push]:
        return [push for push in self.pushes if push.reply.status == 204]

    def _take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        stream = body["streams"][0]
        values = [(int(stamp), text) for stamp, text in stream["values"]]
        with self._changed:
            if self._replies:
                reply = self._replies.pop(0)
            elif any(stamp < self.refuse_older_than_ns for stamp, _ in values):
                reply = Reply(400, "entry too far behind")
            else:
                reply = Reply(204)
            self.pushes.append(Push(path, headers, stream["stream"], values, reply))
            self._changed.notify_all()
            return reply
