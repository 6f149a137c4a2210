"""What does Loki answer to one push?

One POST over a kept connection. ``post`` raises nothing but OSError-like failures turned into
an ``Answer`` with status 0, never takes longer than its deadline, and reads a bounded answer.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import re
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

PUSH_PATH = "/loki/api/v1/push"
_BODY_LIMIT = 64 * 1024
_CONTROL = re.compile(r"[^\x20-\x7e]+")


class PushConfigError(Exception):
    """The push settings cannot work. ``str()`` says which and why."""


@dataclass(frozen=True, slots=True)
class PushTarget:
    """Where and how to push. Raises PushConfigError for a URL that cannot be one."""

    url: str  # base URL, or with the push path
    tenant: str = ""  # X-Scope-OrgID
    token_file: str = ""  # bearer token, read again for each push
    ca_file: str = ""
    timeout_s: float = 10.0  # for one whole push
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise PushConfigError("push URL: expected something like http://loki.loki.svc:3100")
        for value in (self.tenant, *self.headers, *self.headers.values()):
            if _CONTROL.search(value):
                raise PushConfigError("tenant and headers must be printable ASCII")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0: nothing did; ``text`` says why. Bounded, printable."""

    status: int
    text: str = ""
    retry_after_s: float | None = None
    date_ns: int | None = None  # the server's clock


class LokiConnection:
    """Not thread-safe; one push at a time."""

    def __init__(self, target: PushTarget) -> None:
        self._target = target
        parts = urlsplit(target.url)
        self._host = parts.hostname or ""
        self._port = parts.port
        path = parts.path.rstrip("/")
        self._path = path if path.endswith(PUSH_PATH) else path + PUSH_PATH
        self._tls = parts.scheme == "https"
        self._basic = ""
        if parts.username:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._basic = base64.b64encode(secret.encode()).decode()
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> Answer:
        """Send one push body (JSON)."""
        try:
            return self._exchange(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            reason = str(error) or type(error).__name__
            return Answer(0, _printable(reason))

    def close(self) -> None:
        """Close the connection; the next post opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, body: bytes) -> Answer:
        headers = self._headers()
        connection = self._connected()
        # A socket's time-out is per packet; the timer bounds a server that drips.
        late = threading.Event()
        watchdog = threading.Timer(self._target.timeout_s, _abort, [connection.sock, late])
        watchdog.daemon = True
        watchdog.start()
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            text = response.read(_BODY_LIMIT)
        finally:
            watchdog.cancel()
        if late.is_set():
            raise TimeoutError("no whole answer in time")
        if not response.isclosed():
            self.close()  # more than we care to read
        return Answer(
            response.status,
            _printable(text.decode("utf-8", "replace")),
            _retry_after(response.getheader("Retry-After")),
            _date(response.getheader("Date")),
        )

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", **self._target.headers}
        if self._target.tenant:
            headers["X-Scope-OrgID"] = self._target.tenant
        if self._target.token_file:
            token = Path(self._target.token_file).read_text(encoding="ascii").strip()
            if not token or _CONTROL.search(token):
                # http.client's own complaint would print the token.
                raise OSError(f"{self._target.token_file} holds no token")
            headers["Authorization"] = f"Bearer {token}"
        elif self._basic:
            headers["Authorization"] = f"Basic {self._basic}"
        return headers

    def _connected(self) -> http.client.HTTPConnection:
        """The open connection, or a new one.

        A kept connection that the other side has closed would fail only after the request
        was sent; it is readable before that, and replaced here.
        """
        if self._connection is not None and _has_gone(self._connection.sock):
            self.close()
        if self._connection is None:
            timeout = min(3.0, self._target.timeout_s)
            if self._tls:
                import ssl  # 3 MiB, which a plain connection does not need

                try:
                    context = ssl.create_default_context(cafile=self._target.ca_file or None)
                except OSError as error:
                    raise OSError(f"CA file {self._target.ca_file}: {error}") from error
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(
                    self._host, self._port, timeout=timeout
                )
        if self._connection.sock is None:
            self._connection.connect()
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._target.timeout_s)
        return self._connection


def _has_gone(sock: socket.socket | None) -> bool:
    if sock is None:
        return False
    import select

    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))


def _abort(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _printable(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()[:2000]


def _retry_after(value: str | None) -> float | None:
    """Seconds; HTTP also allows a date, which counts as not said (back-off applies)."""
    if value is None or not re.fullmatch(r"\s*\d{1,6}(\.\d{1,3})?\s*", value):
        return None
    return float(value)


def _date(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(value).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
