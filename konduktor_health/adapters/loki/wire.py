"""How is a blocked connection cut from outside? Nothing in requests can.

Time-outs of sockets bound one read each, not their sum: a server that drips single bytes is
only ended by shutting the socket down. One connection at a time.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Wire:
    """The one connection to Loki, held by a second descriptor so that it can be cut from
    outside whatever state it is in (TLS handshake, headers, body)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twin: socket.socket | None = None

    def __del__(self) -> None:
        self.release()

    def attach(self, sock: socket.socket) -> None:
        """A connection begins; the one before is over."""
        twin = sock.dup()
        with self._lock:
            self._twin, old = twin, self._twin
        if old is not None:
            old.close()

    def cut(self) -> None:
        """End every blocked read and write."""
        with self._lock, contextlib.suppress(OSError):
            if self._twin is not None:
                self._twin.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """The connection is over: give the second descriptor back."""
        with self._lock:
            twin, self._twin = self._twin, None
        if twin is not None:
            twin.close()


class WatchedAdapter(HTTPAdapter):
    """requests' adapter whose connections are attached to a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make connections of our classes."""
        super().init_poolmanager(*args, **kwargs)
        wire = self._wire

        class PlainConnection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                sock = super()._new_conn()
                wire.attach(sock)
                return sock

        class TlsConnection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                sock = super()._new_conn()
                wire.attach(sock)
                return sock

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = PlainConnection

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = TlsConnection

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
