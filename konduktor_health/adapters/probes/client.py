"""How do bytes get to an agent and back? One request at a time, each within one deadline.

Agents are addressed by IP, spoken to in plain HTTP/1.1 on the pod network, and not trusted: a
compromised node answers whatever it likes, as slowly as it likes.

Invariants:
- A request ends at its deadline: connecting, sending, headers and body together. Bytes that drip in
  do not prolong it.
- An answer has a Content-Length of at most MOST_BODY_BYTES and no encoding; nothing larger is
  read. Redirects are not followed, and proxies of the environment are not asked.
- Sockets that are kept open are bounded; only answers to GET leave one. A kept one that turns out
  to be closed is replaced once.
- Only AgentUnavailable and AgentRefused come out.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from konduktor_health import __version__
from konduktor_health.adapters.probes.refusal import error_of
from konduktor_health.clock import Clock
from konduktor_health.errors import AgentRefused, AgentUnavailable, excerpt
from probes.report import MOST_BODY_BYTES

CONNECT_S = 2.0
_SAID = 2048  # bytes of a refusal that are looked at


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent answered. ``status`` is 2xx, or 304 without a body."""

    status: int
    body: bytes = b""
    etag: str = ""


def is_pod_address(text: str) -> bool:
    """Whether a pod may have this address. An address of our own host, of a link or of a group is
    none: a pod that claims it would have us ask somebody else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )


class SpeaksToAgents(Protocol):
    """How requests get to agents: ``AgentHttp``, or by way of the API server (``operators``)."""

    def get(
        self, address: str, port: int, path: str, *, timeout_s: float, etag: str = "", keep: bool
    ) -> Answer:
        """GET. Raises HealthError."""
        ...

    def post(
        self,
        address: str,
        port: int,
        path: str,
        body: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST JSON, once. Raises HealthError."""
        ...


class AgentHttp:
    """Requests to agents. Thread-safe."""

    def __init__(
        self,
        clock: Clock,
        *,
        most_kept: int = 256,
        may_ask: Callable[[str], bool] = is_pod_address,
    ) -> None:
        """``most_kept``: sockets that stay open between requests. ``may_ask``: addresses that may
        be asked at all."""
        self._clock = clock
        self._most_kept = most_kept
        self._may_ask = may_ask
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], socket.socket] = OrderedDict()

    def get(
        self, address: str, port: int, path: str, *, timeout_s: float, etag: str = "", keep: bool
    ) -> Answer:
        """GET. ``etag``: what was answered last; unchanged is an Answer of 304. ``keep``: leave the
        connection open, if there is room."""
        headers = {"if-none-match": etag} if etag else {}
        deadline = self._clock.monotonic() + timeout_s
        known = self._take(address, port)
        if known is not None:
            try:
                return self._ask(known, address, port, "GET", path, headers, b"", deadline, keep)
            except _Stale:
                pass  # closed by the agent meanwhile, before a byte of an answer
        return self._fresh(address, port, "GET", path, headers, b"", deadline, keep)

    def post(
        self,
        address: str,
        port: int,
        path: str,
        body: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST JSON, on a connection of its own: it is never sent twice."""
        deadline = self._clock.monotonic() + timeout_s
        more = {"content-type": "application/json", **(headers or {})}
        return self._fresh(address, port, "POST", path, more, body, deadline, keep=False)

    def close(self) -> None:
        """Close the sockets that are kept."""
        with self._lock:
            kept, self._kept = list(self._kept.values()), OrderedDict()
        for each in kept:
            each.close()

    @property
    def kept(self) -> int:
        """How many sockets are open without a request."""
        with self._lock:
            return len(self._kept)

    def _fresh(
        self,
        address: str,
        port: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        keep: bool,
    ) -> Answer:
        connected = self._connect(address, port, deadline)
        try:
            return self._ask(connected, address, port, method, path, headers, body, deadline, keep)
        except _Stale as error:
            raise AgentUnavailable("the agent hung up without an answer") from error

    def _connect(self, address: str, port: int, deadline: float) -> socket.socket:
        if not self._may_ask(address):
            raise AgentUnavailable(f"{excerpt(address)!r} is no address of a pod")
        seconds = min(CONNECT_S, max(0.01, deadline - self._clock.monotonic()))
        try:
            connected = socket.create_connection((address, port), seconds)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            raise AgentUnavailable("no connection within the time-out") from error
        except OSError as error:
            raise AgentUnavailable(f"no connection: {error.strerror or error}") from error
        return connected

    def _ask(
        self,
        connected: socket.socket,
        address: str,
        port: int,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        keep: bool,
    ) -> Answer:
        """One request on an open socket, which is kept or closed then."""
        timed = _Timed(connected, deadline, self._clock)
        stays = False
        try:
            timed.sendall(_request(method, path, address, port, headers, body, keep))
            response = http.client.HTTPResponse(timed, method=method)  # type: ignore[arg-type]
            response.begin()
            answer = _read(response)
            stays = keep and not response.will_close
        except TimeoutError as error:
            raise AgentUnavailable("no answer within the time-out") from error
        except http.client.RemoteDisconnected as error:
            raise _Stale from error
        except (http.client.HTTPException, ValueError) as error:
            raise AgentUnavailable(f"no answer of HTTP: {excerpt(repr(error))}") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            if timed.heard:
                raise AgentUnavailable(f"the connection broke: {error.strerror}") from error
            raise _Stale from error
        except OSError as error:
            raise AgentUnavailable(f"the connection broke: {error.strerror or error}") from error
        finally:
            if not stays:
                connected.close()
        if stays:
            self._keep(address, port, connected)
        return answer

    def _take(self, address: str, port: int) -> socket.socket | None:
        with self._lock:
            return self._kept.pop((address, port), None)

    def _keep(self, address: str, port: int, connected: socket.socket) -> None:
        with self._lock:
            gone = [self._kept.pop((address, port), None)]
            self._kept[address, port] = connected
            while len(self._kept) > self._most_kept:
                gone.append(self._kept.popitem(last=False)[1])
        for each in gone:
            if each is not None:
                each.close()


class _Stale(Exception):
    """The other side closed the connection before a byte of the answer."""


class _Timed:
    """A socket with one deadline for all that is done with it, as http.client wants to see it."""

    def __init__(self, connected: socket.socket, deadline: float, clock: Clock) -> None:
        self._socket = connected
        self._deadline = deadline
        self._clock = clock
        self.heard = False

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What the other side sends."""
        return io.BufferedReader(_Reader(self), 16 * 1024)

    def receive(self, into: Any) -> int:
        """What one read of the socket brings; 0 at the end."""
        self._socket.settimeout(self._left())
        received = self._socket.recv_into(into)
        self.heard = self.heard or received > 0
        return received

    def _left(self) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Reader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        super().__init__()
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._timed.receive(buffer)


def _request(
    method: str,
    path: str,
    address: str,
    port: int,
    headers: Mapping[str, str],
    body: bytes,
    keep: bool,
) -> bytes:
    host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    lines = [
        f"{method} {path} HTTP/1.1",
        f"host: {host}",
        "accept: application/json",
        "accept-encoding: identity",
        f"user-agent: konduktor-health/{__version__}",
        f"connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if method == "POST":
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _read(response: http.client.HTTPResponse) -> Answer:
    """The answer, whole. ``http.client`` raises for one that ends early (IncompleteRead)."""
    status, etag = response.status, response.headers.get("etag", "")
    if len(etag) > 256 or not etag.isascii() or not etag.isprintable():
        etag = ""
    if status == 304:
        response.read(0)
        return Answer(status, etag=etag)
    length = response.length
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AgentUnavailable("the answer has an encoding that was not asked for")
    if length is None or response.chunked:
        raise AgentUnavailable("the answer has no length")
    if length > MOST_BODY_BYTES:
        raise AgentUnavailable(f"an answer of {length} bytes: at most {MOST_BODY_BYTES} are read")
    if 200 <= status < 300:
        return Answer(status, response.read(), etag)
    if 300 <= status < 400:
        raise AgentRefused(f"it redirects ({status}): this is not an agent", status=status)
    raise error_of(status, response.read(_SAID))
