"""Which of our errors is an answer that is not 200, or none at all?

The table is that of Loki's documented limits and of what real servers answered; error
bodies are plain text, never JSON. Invariant: every status gives an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from konduktor_health.clock import NS
from konduktor_health.errors import (
    HealthError,
    LokiBusy,
    LokiRefused,
    LokiTooMuch,
    LokiUnavailable,
    excerpt,
)

MAX_RETRY_AFTER_S = 600.0
_MAX_ENTRIES = re.compile(r"max entries limit per query exceeded.*?\(\d{1,12} > (\d{1,12})\)", re.S)
_MAX_SERIES = re.compile(r"maximum (?:number )?of series \((\d{1,9})\) reached")
_TOO_MUCH = (
    "too many bytes",
    "time range exceeds the limit",
    "timed out",
    "timeout",
    "deadline exceeded",
)
_TOO_LARGE = ("larger than max", "resourceexhausted")
_HINTS = {
    401: "set loki.username/password or loki.token_file",
    403: "these credentials may not read; check the gateway's or tenant's permissions",
    404: "wrong URL path, or a gateway in between: loki.url is the base, without /loki/api/v1",
    405: "a gateway does not pass POST to /loki/api/v1",
    422: "Loki understood the query and cannot run it; check selector and limits",
}


class Unreachable(LokiUnavailable):
    """Nobody took the request: it says nothing about what was asked for."""


class AnswerLost(LokiUnavailable):
    """The request was taken, and after seconds of waiting no answer came. Loki loses answers
    above 4 MiB on their way inside it like this; an overloaded Loki looks the same."""


class AnswerTooLarge(LokiTooMuch):
    """The answer is too large, or (504) did not come in time, which has the same cause when it
    was lost inside Loki: fewer lines a page are tried first."""


class TooManyLines(LokiRefused):
    """The page limit is above the tenant's; ``allowed`` is what Loki takes."""

    def __init__(self, message: str, *, allowed: int) -> None:
        super().__init__(message, status=400, hint="loki.page_lines is above Loki's limit")
        self.allowed = allowed


class TooManySeries(LokiRefused):
    """A metric query has more series than the tenant may have; ``allowed`` is what Loki takes."""

    def __init__(self, message: str, *, allowed: int) -> None:
        super().__init__(message, status=400, hint="limits_config.max_query_series of Loki")
        self.allowed = allowed


def error_for(status: int, headers: Mapping[str, str], body: bytes, now_ns: int) -> HealthError:
    """The error that an answer stands for (to be raised by the caller)."""
    text = body[:4096].decode("utf-8", "replace").lower()
    said = f"Loki answered {status}: {excerpt(body)}".rstrip(": ")
    if status == 413 or (status >= 400 and any(mark in text for mark in _TOO_LARGE)):
        return AnswerTooLarge(said)
    if status == 429:
        return LokiBusy(said, retry_after=retry_after(headers.get("Retry-After"), now_ns))
    if status == 504:
        return AnswerTooLarge(said)
    if status == 400 and any(mark in text for mark in _TOO_MUCH):
        return LokiTooMuch(said)
    if status >= 500 or status in (408, 499):
        return LokiUnavailable(said)
    if status == 400 and (match := _MAX_ENTRIES.search(text)):
        return TooManyLines(said, allowed=int(match[1]))
    if status == 400 and (match := _MAX_SERIES.search(text)):
        return TooManySeries(said, allowed=int(match[1]))
    if status >= 400:
        return LokiRefused(said, status=status, hint=_hint(status, text))
    if status >= 300:
        return LokiRefused(
            said, status=status, hint="a redirect: loki.url must be where Loki itself answers"
        )
    return LokiUnavailable(said)


def retry_after(value: str | None, now_ns: int) -> float | None:
    """Seconds that a Retry-After header asks for (number or HTTP date), at most 600."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = date.timestamp() - now_ns / NS
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S) if seconds == seconds else None


def _hint(status: int, text: str) -> str:
    if status == 401 and "no org id" in text:
        return "Loki wants a tenant: set loki.tenant (X-Scope-OrgID)"
    if status == 400 and "required matchers" in text:
        return "this tenant requires certain labels in every selector; add them"
    if status == 400 and "parse error" in text:
        return "the selector or the query is not valid LogQL for this Loki version"
    return _HINTS.get(status, "")
