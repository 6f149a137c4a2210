"""How long, and how many of them, may clients stay connected?

The server itself limits only how long a connection idles between two requests. Invariants: one
beyond ``MOST_CONNECTIONS``, or beyond a client's share of them, is closed at once; one that has not
brought a whole request, or not taken its answer, within ``EXCHANGE_S`` is cut. So nobody keeps
others out by being slow.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
#: Of one address: a controller needs one, Prometheus one, the kubelet two.
MOST_OF_ONE = 16
EXCHANGE_S = 15.0
KEEP_ALIVE_S = 5


class BoundedConnection(H11Protocol):
    """A connection that ends."""

    _ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it, or let the clock run."""
        super().connection_made(transport)
        own = sum(1 for each in self.connections if _client(each) == _client(self))
        if len(self.connections) > MOST_CONNECTIONS or own > MOST_OF_ONE:
            transport.abort()
            return
        self._begin()

    def data_received(self, data: bytes) -> None:
        """A request begins, or goes on."""
        if self._ending is None:
            self._begin()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """All of the answer is written; how much of it the client has taken, nobody knows."""
        self._end()
        super().on_response_complete()
        if self.transport.get_write_buffer_size() > 0:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._end()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._ending = self.loop.call_later(EXCHANGE_S, self._cut)

    def _end(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _cut(self) -> None:
        self._ending = None
        if self._is_between_requests() and self.transport.get_write_buffer_size() == 0:
            return  # taken after all; how long it may idle is the server's matter
        self.transport.abort()

    def _is_between_requests(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete


class PatientConnection(BoundedConnection):
    """One on which an answer may take long: a check runs meanwhile. What the client does may not:
    a request has to be there, and its answer to be taken, as on any other."""

    def _cut(self) -> None:
        if self.cycle is not None and not (self.cycle.more_body or self.cycle.response_started):
            self._begin()
        else:
            super()._cut()


def _client(connection: Any) -> str:
    return connection.client[0] if connection.client else ""
