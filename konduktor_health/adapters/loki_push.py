"""How does a line get into Loki? The push client of ``konduktor-health inject --loki``.

Invariants: nothing is retried (the caller decides, and a retry is harmless: Loki drops exact
duplicates); redirects are not followed; at most a few KiB of an answer are read; nothing of
requests leaves. Not thread-safe.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from konduktor_health.adapters.loki.refusals import error_for
from konduktor_health.errors import ConfigError, LokiUnavailable, excerpt
from konduktor_health.settings import LokiSettings

# Well below the 4 MiB that a message inside a monolithic Loki may have.
_BATCH_BYTES = 1024 * 1024
_ERROR_BYTES = 4096

Entry = tuple[int, str] | tuple[int, str, Mapping[str, str]]


class LokiPush:
    """Pushes entries to one Loki.

    ``url`` is the base, without /loki/api/v1. ``tenant`` is sent as X-Scope-OrgID unless empty.
    ``timeout_s`` bounds connecting and each wait for an answer. ``session_factory`` makes the
    session that requests go through (credentials, CA).
    """

    def __init__(
        self,
        url: str,
        *,
        tenant: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10,
        session_factory: Callable[[], requests.Session] = requests.Session,
    ) -> None:
        self._base = url.rstrip("/").removesuffix("/loki/api/v1")
        self._timeout_s = timeout_s
        self._session = session_factory()
        self._headers = {"Content-Type": "application/json", "User-Agent": "konduktor-health"}
        if tenant:
            self._headers["X-Scope-OrgID"] = tenant
        self._headers.update(headers or {})

    @classmethod
    def from_settings(cls, settings: LokiSettings) -> LokiPush:
        """A client for the Loki that is read from. Raises ConfigError for a bad token file, and
        for credentials in the URL (as the reader does): messages name the URL."""
        if "@" in settings.url.partition("://")[2].partition("/")[0]:
            raise ConfigError(
                "loki.url holds credentials", hint="use loki.username and loki.password"
            )
        return cls(
            settings.url,
            tenant=settings.tenant,
            headers=settings.headers,
            session_factory=lambda: _session(settings),
        )

    def push(self, labels: Mapping[str, str], entries: Iterable[Entry]) -> None:
        """Push (Unix ns, line) or (Unix ns, line, structured metadata) to one stream.

        When it returns, the lines can be read. Raises LokiUnavailable (no answer, 5xx), LokiBusy
        (429, with retry_after), LokiTooMuch (413) and LokiRefused (other 4xx). With LokiRefused
        and status 400 the lines that Loki found acceptable have been stored.
        """
        for values in _batches(entries):
            self._post(json.dumps({"streams": [{"stream": dict(labels), "values": values}]}))

    def version(self) -> str:
        """What Loki says its version is; "" when it does not say. Never raises."""
        try:
            answer = self._session.get(
                f"{self._base}/loki/api/v1/status/buildinfo",
                headers=self._headers,
                timeout=self._timeout_s,
                allow_redirects=False,
            )
            version = answer.json().get("version")
        except (requests.RequestException, HTTPError, OSError, ValueError, AttributeError):
            return ""
        return version if isinstance(version, str) else ""

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _post(self, body: str) -> None:
        try:
            response = self._session.post(
                f"{self._base}/loki/api/v1/push",
                data=body.encode(),
                headers=self._headers,
                timeout=self._timeout_s,
                stream=True,
                allow_redirects=False,  # a redirect would turn the POST into a GET
            )
            with response:
                status, headers = response.status_code, response.headers
                said = b"" if status == 204 else self._beginning(response)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise LokiUnavailable(
                f"no answer from Loki at {self._base}: {excerpt(str(error))}",
                hint="is loki.url (LOG_ENDPOINT) right and Loki running?",
            ) from error
        if status != 204:
            raise error_for(status, headers, said, time.time_ns())

    def _beginning(self, response: requests.Response) -> bytes:
        """The first KiB of an answer, or what came within the time-out."""
        end, said = time.monotonic() + self._timeout_s, bytearray()
        for piece in response.iter_content(1):  # larger ones wait until they are full
            said += piece
            if len(said) >= _ERROR_BYTES or time.monotonic() > end:
                break
        return bytes(said)


def _batches(entries: Iterable[Entry]) -> Iterator[list[list[Any]]]:
    """Entries as Loki's JSON has them, in pieces that Loki takes."""
    values: list[list[Any]] = []
    size = 0
    for ns, line, *metadata in entries:
        value = [str(ns), line, *map(dict, metadata)]
        length = len(json.dumps(value))
        if values and size + length > _BATCH_BYTES:
            yield values
            values, size = [], 0
        values.append(value)
        size += length
    if values:
        yield values


def _session(settings: LokiSettings) -> requests.Session:
    session = requests.Session()
    session.trust_env = settings.trust_env
    if not settings.verify_tls:
        session.verify = False
    elif settings.ca_file is not None:
        session.verify = str(settings.ca_file)
    if settings.token_file is not None:
        try:
            token = settings.token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"token file {settings.token_file} cannot be read", hint="loki.token_file"
            ) from error
        if not token or not (token.isascii() and token.isprintable()):
            # the library's own complaint would print it
            raise ConfigError(
                f"token file {settings.token_file} holds no token", hint="loki.token_file"
            )
        session.headers["Authorization"] = f"Bearer {token}"
    elif settings.username:
        session.auth = (settings.username, settings.password.get_secret_value())
    return session
