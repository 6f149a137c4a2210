"""How does one HTTP exchange with Loki run, and when does it end?

A server that refuses, hangs, drips single bytes or sends without end must cost a bounded
time and a bounded memory. Invariants: every exchange ends within ``connect_timeout_s`` and
its time-out, or at once when ``stop`` is set (name resolution is the system's and not
covered); no body grows beyond ``max_answer_bytes``, before or after gunzip; nothing of
requests or urllib3 leaves. One exchange at a time: not thread-safe.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from konduktor_health.adapters.loki.answers import CATEGORIZE
from konduktor_health.adapters.loki.refusals import AnswerLost, AnswerTooLarge, Unreachable
from konduktor_health.adapters.loki.wire import WatchedAdapter, Wire
from konduktor_health.clock import Clock
from konduktor_health.errors import ConfigError, HealthError, LokiUnavailable, excerpt
from konduktor_health.settings import LokiSettings

_CHUNK = 65_536
_ERROR_BODY = 16_384  # bytes kept of an answer that is not 200
_LOOK_EVERY_S = 0.1
_LONG_S = 2.0  # a connection that ends earlier is trouble with the connection, not the answer
_URL_HINT = "is loki.url (LOG_ENDPOINT) right and Loki running?"
_LOST_HINT = "Loki is overloaded, or the answer was above its 4 MiB: less is asked for next time"
_FOREIGN = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # urllib3 on broken chunk sizes, headers and locations
    zlib.error,
)
_NOT_CONNECTED = (
    requests.ConnectTimeout,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    urllib3.exceptions.SSLError,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its body, whole and unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float


class Transport:
    """POSTs forms to one Loki."""

    def __init__(
        self,
        settings: LokiSettings,
        *,
        clock: Clock,
        stop: threading.Event,
        session_factory: Callable[[], requests.Session] = requests.Session,
    ) -> None:
        """Raises ConfigError for settings that no request could be sent with."""
        self._settings = settings
        self._clock = clock
        self._stop = stop
        self._base = _base_url(settings.url)
        self._wire = Wire()
        self._session = session_factory()
        self._session.trust_env = settings.trust_env
        self._session.verify = _verify(settings)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, WatchedAdapter(self._wire))
        self._session.headers.update(_headers(settings))

    def exchange(
        self,
        method: str,
        path: str,
        fields: Sequence[tuple[str, str]] | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send ``fields`` (a form for POST) to a path below the base URL.

        ``timeout_s``: wait for the whole answer no longer than this (and never longer than
        ``read_timeout_s``). Raises LokiUnavailable, of it Unreachable where nobody took the
        request and AnswerLost where it was waited for, AnswerTooLarge, and ConfigError for an
        unreadable token file.
        """
        settings = self._settings
        auth = self._auth()
        wait_s = min(timeout_s or settings.read_timeout_s, settings.read_timeout_s)
        started = self._clock.monotonic()
        with self._deadline(started, settings.connect_timeout_s + wait_s) as cut:
            try:
                response = self._session.request(
                    method,
                    self._base + path,
                    data=list(fields) if method == "POST" and fields else None,
                    params=list(fields) if method == "GET" and fields else None,
                    auth=auth,
                    timeout=(settings.connect_timeout_s, wait_s),
                    stream=True,
                    allow_redirects=False,  # a redirect would turn the POST into a GET
                )
                with response:
                    body = self._body(response)
                if cut():  # the end of a cut connection can look like that of an answer
                    raise ConnectionAbortedError
            except HealthError:
                self._drop()
                raise
            except _FOREIGN as error:
                self._drop()
                raise self._no_answer(error, cut(), started) from error
        took_s = self._clock.monotonic() - started
        return Reply(response.status_code, response.headers, body, took_s)

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _body(self, response: requests.Response) -> bytes:
        ok = response.status_code == 200
        most = self._settings.max_answer_bytes if ok else _ERROR_BODY
        body = bytearray()
        for piece in _unpacked(response, most):
            body += piece
            if len(body) > most:
                if ok:
                    raise AnswerTooLarge(f"Loki's answer is larger than {most} bytes")
                del body[most:]
                self._wire.cut()  # the rest of an error's body is of no interest
                break
        return bytes(body)

    def _no_answer(self, error: Exception, cut: str, started_s: float) -> LokiUnavailable:
        chain = _chain(error)
        said = f"no answer from Loki at {self._base}: {cut or _plain(chain)}"
        if any(isinstance(link, _NOT_CONNECTED) for link in chain):
            return Unreachable(said, hint=_URL_HINT)
        if not self._stop.is_set() and self._clock.monotonic() - started_s >= _LONG_S:
            return AnswerLost(said, hint=_LOST_HINT)
        return LokiUnavailable(said, hint=_URL_HINT)

    def _auth(self) -> AuthBase | None:
        settings = self._settings
        if settings.token_file is not None:
            try:
                token = settings.token_file.read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"token file {settings.token_file} cannot be read: {_plain([error])}",
                    hint="loki.token_file",
                ) from error
            if not token or not token.isascii() or not token.isprintable():
                raise ConfigError(f"token file {settings.token_file} holds no token")
            return _Bearer(token)
        if settings.username:
            secret = settings.password.get_secret_value()
            return HTTPBasicAuth(settings.username.encode(), secret.encode())
        return None

    @contextlib.contextmanager
    def _deadline(self, started_s: float, seconds: float) -> Iterator[Callable[[], str]]:
        """Cut the wire at the deadline or at stop; the function says which, or nothing.

        Time-outs of requests bound one read of the socket, not their sum: only cutting the
        socket from outside ends a server that drips.
        """
        done = threading.Event()
        reason: list[str] = []

        def watch() -> None:
            while not done.wait(_LOOK_EVERY_S):
                if self._stop.is_set():
                    reason[:] = ["stopped"]
                elif self._clock.monotonic() - started_s >= seconds:
                    reason[:] = [f"not complete after {seconds:g} s"]
                else:
                    continue
                self._wire.cut()

        watcher = threading.Thread(target=watch, name="loki-deadline", daemon=True)
        watcher.start()
        try:
            yield lambda: reason[0] if reason else ""
        finally:
            done.set()
            watcher.join()

    def _drop(self) -> None:
        self._session.close()
        self._wire.release()


class _Bearer(AuthBase):
    """A token as Authorization header (as auth object: a netrc cannot replace it)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _unpacked(response: requests.Response, most: int) -> Iterator[bytes]:
    """The body in pieces, at most a little more than ``most`` bytes, gunzipped by ourselves:
    a small packed piece may hold a thousand times its size."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip"):
        raise LokiUnavailable(f"Loki's answer is packed with {excerpt(coding)!r}, not with gzip")
    unpacker = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    left = most + 1
    while left > 0 and (piece := response.raw.read(_CHUNK, decode_content=False)):
        if unpacker is None:
            left -= len(piece)
            yield piece
            continue
        while piece and left > 0:
            plain = unpacker.decompress(piece, min(left, 16 * _CHUNK))
            piece = unpacker.unconsumed_tail
            left -= len(plain)
            yield plain
    if unpacker is not None and left > 0 and not unpacker.eof:
        raise LokiUnavailable("Loki's answer ends in the middle (gzip)")


def _base_url(url: str) -> str:
    hint = "loki.url (LOG_ENDPOINT) looks like http://loki.example:3100"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise ConfigError(f"loki.url {url[:200]!r} is not a URL", hint=hint)
    if parts.query or parts.fragment:
        raise ConfigError(f"loki.url {url[:200]!r} has a query or fragment", hint=hint)
    if parts.username or parts.password:
        raise ConfigError("loki.url holds credentials", hint="use loki.username and loki.password")
    return url.rstrip("/").removesuffix("/loki/api/v1")


def _verify(settings: LokiSettings) -> bool | str:
    if not settings.verify_tls:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False
    if settings.ca_file is None:
        return True
    if not settings.ca_file.is_file():
        raise ConfigError(f"CA file {settings.ca_file} is not there", hint="loki.ca_file")
    return str(settings.ca_file)


def _headers(settings: LokiSettings) -> dict[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "User-Agent": "konduktor-health",
        "X-Query-Tags": "Source=konduktor_health",
        "X-Loki-Response-Encoding-Flags": CATEGORIZE,
    }
    if settings.tenant:
        headers["X-Scope-OrgID"] = settings.tenant
    headers.update(settings.headers)
    for name, value in headers.items():
        if not (name and (name + value).isascii() and (name + value).isprintable()):
            raise ConfigError(
                f"header {name[:80]!r}: only printable ASCII can be sent", hint="loki.headers"
            )
    return headers


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it came from, the outermost first; bounded."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and len(chain) < 8:
        chain.append(step)
        step = step.__cause__ or step.__context__
    return chain


def _plain(chain: Sequence[BaseException]) -> str:
    """What happened, without the library's object addresses; bounded."""
    for link in chain:
        if isinstance(link, (TimeoutError, requests.ReadTimeout)):
            return "nothing came in time"
        if isinstance(link, http.client.RemoteDisconnected):
            return "the connection was closed without an answer"
    for link in reversed(chain):
        if isinstance(link, OSError) and link.strerror:
            return excerpt(link.strerror)
    return excerpt(f"{type(chain[0]).__name__}: {chain[0]}")
