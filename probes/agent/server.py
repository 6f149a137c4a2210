"""How is the application served? One loop in a thread, on a socket that is bound before."""

from __future__ import annotations

import logging
import os
import socket
import threading

import uvicorn
from fastapi import FastAPI

from probes.agent.connections import KEEP_ALIVE_S, BoundedConnection
from probes.agent.log import LibraryLog, Log
from probes.errors import ProbeError

_GRACEFUL_S = 2
_MOST_HEADER_BYTES = 16 * 1024
_BACKLOG = 64


class ListenError(ProbeError):
    """The address cannot be listened on."""


def listen(host: str, port: int, option: str = "--listen") -> socket.socket:
    """A bound socket; host "" is every address, of IPv4 and IPv6. ``option``: what chooses it.
    Raises ListenError."""
    try:
        if host == "" and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        number = error.errno or 0  # negative where a name is unknown
        why = os.strerror(number) if number > 0 else error.strerror
        raise ListenError(
            f"cannot listen on {host or '*'}:{port}: {why} (choose another with {option})"
        ) from error


class Server:
    """Answers from ``start`` to ``stop``."""

    def __init__(
        self,
        app: FastAPI,
        bound: socket.socket,
        log: Log,
        *,
        connection: type[BoundedConnection] = BoundedConnection,
        name: str = "http",
    ) -> None:
        self._socket = bound
        self.port = int(bound.getsockname()[1])
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logger = logging.getLogger(name)
            logger.handlers = [LibraryLog(log)] if name == "uvicorn" else []
            logger.propagate = name == "uvicorn.error"
            logger.setLevel(logging.WARNING)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=connection,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACEFUL_S,
                h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            )
        )
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def alive(self) -> bool:
        """Whether it answers, or will do so."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer no more; what is being answered has two seconds."""
        self._server.should_exit = True
        self._thread.join(_GRACEFUL_S + 2)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])
