"""How do bytes get to the API server and back? Deadlines, pooling, errors of ours.

On urllib3 directly, with what the official client loaded: its ApiClient adds model decoding,
which we do not use, and offers no way to end a watch from another thread.

Invariants: every call ends within its time-out (plus one socket read); nothing is retried but
once a request whose kept-alive connection turned out to be dead before any answer came (all our
writes are compare-and-swap or have a deterministic name, so a repetition cannot do harm); only
errors of konduktor_health.errors come out.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import RemoteDisconnected
from typing import Any
from urllib.parse import urlencode

import urllib3
from loguru import logger
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from konduktor_health import __version__
from konduktor_health.adapters.kube.config import Access
from konduktor_health.adapters.kube.status import Call, call_of, error_of
from konduktor_health.clock import Clock
from konduktor_health.errors import ClusterUnavailable, ConfigError, HealthError, excerpt

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON = "application/json"

MAX_ANSWER = 64 * 1024 * 1024  # a page of 500 nodes is 8 MB
MAX_EVENT = 8 * 1024 * 1024  # etcd holds objects up to 1.5 MB
_CONNECT_S = 3.0
_CHUNK = 64 * 1024
# A peer that vanished is noticed after 30 + 3 * 10 s, whatever the read time-out is.
_KEEP_ALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer from behind the API server, or its own where it did not get through."""

    status: int
    body: bytes
    etag: str
    call: Call


class KubeStream:
    """The lines of a watch. Iterated by one thread; ``abort`` may come from another."""

    def __init__(self, response: urllib3.BaseHTTPResponse, call: Call, server: str) -> None:
        self._response = response
        self._call = call
        self._server = server

    def __iter__(self) -> Iterator[bytes]:
        """Lines until the server ends the answer. Raises ClusterUnavailable when it breaks."""
        rest = b""
        try:
            while chunk := _next(self._response):
                rest += chunk
                if b"\n" in chunk:
                    *lines, rest = rest.split(b"\n")
                    yield from filter(None, lines)
                if len(rest) > MAX_EVENT:
                    raise ClusterUnavailable(f"{self._call}: an event of more than {MAX_EVENT} B")
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError, AttributeError: what http.client makes of a socket closed by abort()
            raise _connection_error(error, self._call, self._server) from error

    def abort(self) -> None:
        """End the iteration at once, from any thread."""
        try:
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError, AttributeError):
            return  # over already

    def close(self) -> None:
        """Give the connection up; it carries a half-read answer."""
        self._response.close()


class KubeHttp:
    """The API server as method, path, bytes. Thread-safe; ``writers`` threads keep connections."""

    def __init__(self, access: Access, clock: Clock, *, timeout_s: float, writers: int = 8) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self.access = access
        self.server = access.server
        options: dict[str, Any] = {"maxsize": writers + 4, "socket_options": _KEEP_ALIVE}
        if access.ssl_context is not None:
            options["ssl_context"] = access.ssl_context
            if access.tls_server_name:
                options["server_hostname"] = access.tls_server_name
            if not access.verify:
                options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                logger.warning("TLS of {} is not verified, as configured", access.server)
        self._pool: urllib3.PoolManager = (
            urllib3.ProxyManager(access.proxy, **options)
            if access.proxy
            else urllib3.PoolManager(**options)
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float | None = None,
    ) -> bytes:
        """Send ``body`` (encoded as JSON) and return the answer's bytes.

        Raises ClusterUnavailable, ClusterForbidden, ClusterRejected, NotFound, Conflict
        (AlreadyExists), Gone.
        """
        timeout = self._timeout_s if timeout_s is None else timeout_s
        call = call_of(method, path)
        deadline = self._clock.monotonic() + timeout
        response = self._open(method, path, params, body, content_type, timeout, timeout, call)
        try:
            payload = self._read(response, deadline, call)
        except (HTTPError, OSError) as error:
            response.close()
            raise _connection_error(error, call, self.server) from error
        except HealthError:
            response.close()
            raise
        if not 200 <= response.status < 300:
            raise error_of(response.status, payload, call, self.server)
        return payload

    def pass_on(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> Passed:
        """What is behind a ``proxy`` subresource answers: bytes as they are, whatever the status.
        Nothing is sent twice. Raises ClusterUnavailable."""
        call = call_of(method, path)
        deadline = self._clock.monotonic() + timeout_s
        sent = {**self._headers(), **(headers or {})}
        timeouts = urllib3.Timeout(connect=min(timeout_s, _CONNECT_S), read=timeout_s)
        try:
            response = self._pool.urlopen(
                method,
                self.server + path,
                body=body or None,
                headers=sent,
                timeout=timeouts,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise _connection_error(error, call, self.server) from error
        try:
            payload = self._read(response, deadline, call)
        except (HTTPError, OSError) as error:
            response.close()
            raise _connection_error(error, call, self.server) from error
        except HealthError:
            response.close()
            raise
        return Passed(response.status, payload, response.headers.get("etag", ""), call)

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """GET a JSON object."""
        return decode_object(self.request("GET", path, params=params), call_of("GET", path))

    def stream(self, path: str, *, params: Mapping[str, str], silence_s: float) -> KubeStream:
        """Open a watch. ``silence_s``: without a byte for so long it breaks (ClusterUnavailable).

        Raises like request().
        """
        call = call_of("GET", path, watch=True)
        response = self._open(
            "GET", path, {**params, "watch": "true"}, None, JSON, self._timeout_s, silence_s, call
        )
        if response.status != 200:
            try:
                payload = _next(response)
            except (HTTPError, OSError):
                payload = b""
            finally:
                response.close()
            raise error_of(response.status, payload, call, self.server)
        return KubeStream(response, call, self.server)

    def check(self) -> str:
        """Version of the API server. Raises ConfigError where nothing answers at a kubeconfig's
        address (in a pod that is ClusterUnavailable: the address is right, the server is down)."""
        try:
            return str(self.get("/version").get("gitVersion", "unknown"))
        except ClusterUnavailable as error:
            if self.access.origin == "in-cluster":
                raise
            raise ConfigError(
                f"kubeconfig {self.access.origin}: {error}", hint=error.hint
            ) from error

    def close(self) -> None:
        """Close idle connections."""
        self._pool.clear()

    def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        timeout: float,
        read: float,
        call: Call,
    ) -> urllib3.BaseHTTPResponse:
        headers = self._headers()
        if body is not None:
            headers["content-type"] = content_type
        url = self.server + path
        if params:
            url += "?" + urlencode(params)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        timeouts = urllib3.Timeout(connect=min(timeout, _CONNECT_S), read=read)

        def send() -> urllib3.BaseHTTPResponse:
            return self._pool.urlopen(
                method,
                url,
                body=data,
                headers=headers,
                timeout=timeouts,
                retries=False,
                preload_content=False,
            )

        try:
            try:
                return send()
            except ProtocolError as error:
                if not _stale(error):
                    raise
                return send()
        except (HTTPError, OSError) as error:
            raise _connection_error(error, call, self.server) from error

    def _headers(self) -> dict[str, str]:
        return {
            "accept": JSON,
            "user-agent": f"konduktor-health/{__version__}",
            **self.access.headers(),
        }

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float, call: Call) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := _next(response):
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER:
                raise ClusterUnavailable(f"{call}: an answer of more than {MAX_ANSWER} bytes")
            if self._clock.monotonic() > deadline:
                raise ClusterUnavailable(f"{call}: the answer did not end within the time-out")
        response.release_conn()
        return b"".join(parts)


def _next(response: urllib3.BaseHTTPResponse) -> bytes:
    """What one socket read brings; b"" at the end. (urllib3's read() and stream() wait until
    a piece is full, so that a trickling answer would outlive every time-out.)"""
    return response.read1(_CHUNK, decode_content=False)


def decode_object(payload: bytes, call: Call) -> dict[str, Any]:
    """The JSON object in an answer. Raises ClusterUnavailable for anything else."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ClusterUnavailable(f"{call}: the answer is not JSON: {excerpt(payload)}") from error
    if not isinstance(value, dict):
        raise ClusterUnavailable(f"{call}: the answer is not an object: {excerpt(payload)}")
    return value


def _stale(error: ProtocolError) -> bool:
    cause = error.args[1] if len(error.args) > 1 else None
    return isinstance(cause, (RemoteDisconnected, ConnectionResetError, BrokenPipeError))


def _connection_error(error: Exception, call: Call, server: str) -> HealthError:
    hint = ""
    match error:
        case NewConnectionError():
            what = "nothing answers there (connection refused or no route)"
            hint = "is the API server up, and is the server URL of the kubeconfig right?"
        case ConnectTimeoutError():
            what = "no connection within the time-out"
            hint = "is the address reachable from here?"
        case ReadTimeoutError() | TimeoutError():
            what = "no answer within the time-out"
        case SSLError():
            what = f"TLS failed: {excerpt(str(error))}"
            hint = "check certificate-authority and tls-server-name of the kubeconfig"
        case _:
            what = f"the connection broke: {excerpt(str(error))}"
    return ClusterUnavailable(f"{call} at {server}: {what}", hint=hint)
