"""How is Loki asked? Typed requests, retries and typed errors.

Each request is tried ``attempts`` times while that makes sense (refused connections, 5xx,
short 429) and for at most a few seconds; everything longer is the caller's pace. Raises only
errors of ``konduktor_health.errors``; a failed read is an error, never an empty page.
One caller at a time: not thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import requests
from pydantic_core import from_json
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_any,
    stop_when_event_set,
    wait_random_exponential,
)
from tenacity.stop import stop_base

from konduktor_health.adapters.loki import answers
from konduktor_health.adapters.loki.answers import Page, Vector
from konduktor_health.adapters.loki.refusals import AnswerLost, TooManyLines, error_for
from konduktor_health.adapters.loki.transport import Reply, Transport
from konduktor_health.clock import NS, Clock, SystemClock
from konduktor_health.errors import LokiBusy, LokiRefused, LokiUnavailable, TransientError
from konduktor_health.settings import LokiSettings

Direction = Literal["forward", "backward"]
_API = "/loki/api/v1"
_PATIENCE_S = 5.0  # no new try later than this after the first
_ASIDE_S = 10.0  # for what Loki answers from its index; the reader has a way without it
_WAIT_S = (0.2, 2.0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What this tenant may ask; 0 means no limit, or not known (Loki before 3.6)."""

    max_entries: int = 0
    lookback_ns: int = 0  # older log times are silently left out of answers


class LokiClient:
    """One Loki, one tenant."""

    def __init__(
        self,
        settings: LokiSettings,
        *,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
        session_factory: Callable[[], requests.Session] = requests.Session,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        """``stop`` ends waits and exchanges at once. Raises ConfigError for wrong settings."""
        self._clock = clock or SystemClock()
        self._stop = stop or threading.Event()
        self._sleep = sleep or sleep_using_event(self._stop)
        self._attempts = settings.attempts
        self.page_lines = settings.page_lines  # lowered when Loki says that its limit is lower
        self._transport = Transport(
            settings, clock=self._clock, stop=self._stop, session_factory=session_factory
        )

    def query_range(
        self,
        query: str,
        start_ns: int,
        end_ns: int,
        limit: int | None = None,
        direction: Direction = "forward",
        timeout_s: float | None = None,
    ) -> Page:
        """Entries with ``start_ns <= time < end_ns`` (Unix ns), at most ``limit`` of them,
        the oldest ("forward") or the newest ("backward"); merged, oldest first.

        ``timeout_s``: wait no longer for the answer; ``read_timeout_s`` at most. ``Page.limit``
        is the limit that was in force. Raises LokiUnavailable, LokiBusy, LokiTooMuch,
        LokiRefused, ConfigError.
        """
        lines = min(limit or self.page_lines, self.page_lines)
        while True:
            form = [
                ("query", query),
                ("start", str(start_ns)),
                ("end", str(end_ns)),
                ("limit", str(lines)),
                ("direction", direction),
            ]
            try:
                reply = self._ask("POST", f"{_API}/query_range", form, timeout_s)
            except TooManyLines as error:
                if not 1 <= error.allowed < lines:
                    raise
                self.page_lines = lines = error.allowed
                continue
            page = answers.page(reply.body, lines)
            inside = tuple(line for line in page.lines if start_ns <= line.time_ns < end_ns)
            if page.lines and not inside:
                raise LokiUnavailable("Loki's answer holds only entries from outside the window")
            skipped = page.skipped + len(page.lines) - len(inside)
            return replace(page, lines=inside, skipped=skipped, took_s=reply.took_s)

    def query(self, query: str, time_ns: int, timeout_s: float | None = None) -> Vector:
        """An instant metric query. Raises as query_range, and TooManySeries where the answer would
        have more series than the tenant may have."""
        form = [("query", query), ("time", str(time_ns))]
        return answers.vector(self._ask("POST", f"{_API}/query", form, timeout_s).body)

    def series(self, selector: str, start_ns: int, end_ns: int) -> list[Mapping[str, str]]:
        """Label sets of the streams that the selector matches. Raises as query_range."""
        form = [("match[]", selector), *_span(start_ns, end_ns)]
        return answers.label_sets(self._ask("POST", f"{_API}/series", form, _ASIDE_S).body)

    def label_values(self, name: str, selector: str, start_ns: int, end_ns: int) -> list[str]:
        """Values of an index label in the streams of a selector. Raises as query_range."""
        form = [("query", selector), *_span(start_ns, end_ns)]
        reply = self._ask("GET", f"{_API}/label/{name}/values", form, _ASIDE_S)
        return answers.names(reply.body)

    def label_names(self, start_ns: int, end_ns: int) -> list[str]:
        """Names of all index labels. Raises as query_range."""
        reply = self._ask("GET", f"{_API}/labels", _span(start_ns, end_ns), _ASIDE_S)
        return answers.names(reply.body)

    def limits(self) -> Limits:
        """The tenant's limits; all unknown where Loki does not tell. Raises ConfigError."""
        try:
            return _limits(self._ask("GET", f"{_API}/drilldown-limits", [], _ASIDE_S).body)
        except (LokiRefused, TransientError):  # an extra of newer Lokis: no reason to fail
            return Limits()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _ask(
        self,
        method: str,
        path: str,
        fields: Sequence[tuple[str, str]],
        timeout_s: float | None = None,
    ) -> Reply:
        retrying = Retrying(
            retry=retry_if_exception(_worth_retrying),
            stop=stop_any(
                stop_after_attempt(self._attempts),
                stop_when_event_set(self._stop),
                _OutOfPatience(self._clock),
            ),
            wait=_pause,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._once, method, path, fields, timeout_s)

    def _once(
        self,
        method: str,
        path: str,
        fields: Sequence[tuple[str, str]],
        timeout_s: float | None,
    ) -> Reply:
        reply = self._transport.exchange(method, path, fields, timeout_s)
        if reply.status != 200:
            raise error_for(reply.status, reply.headers, reply.body, self._clock.now_ns())
        return reply


def _worth_retrying(error: BaseException) -> bool:
    if isinstance(error, LokiBusy):
        return (error.retry_after or 0.0) <= _PATIENCE_S
    # An answer that was lost once would be lost again: the caller asks for less.
    return isinstance(error, LokiUnavailable) and not isinstance(error, AnswerLost)


class _OutOfPatience(stop_base):
    """Stop when the tries so far took too long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()

    def __call__(self, _state: RetryCallState) -> bool:
        return self._clock.monotonic() - self._started >= _PATIENCE_S


_backoff = wait_random_exponential(multiplier=_WAIT_S[0], max=_WAIT_S[1])


def _pause(state: RetryCallState) -> float:
    """Seconds to the next try: what Loki asked for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, LokiBusy) and error.retry_after is not None:
        return error.retry_after
    return _backoff(state)


def _span(start_ns: int, end_ns: int) -> list[tuple[str, str]]:
    return [("start", str(start_ns)), ("end", str(end_ns))]


def _limits(body: bytes) -> Limits:
    try:
        limits = from_json(body).get("limits", {})
        entries = limits.get("max_entries_limit_per_query")
        lookback = limits.get("max_query_lookback")
    except (ValueError, AttributeError):
        return Limits()
    return Limits(
        max_entries=entries if isinstance(entries, int) and entries > 0 else 0,
        lookback_ns=duration_ns(lookback) if isinstance(lookback, str) else 0,
    )


_UNITS_S = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


def duration_ns(text: str) -> int:
    """A Prometheus duration ("30d1h", "0s") in ns; 0 for anything else."""
    total, digits = 0, ""
    for character in text[:40]:
        if character.isascii() and character.isdigit():
            digits += character
        elif digits and character in _UNITS_S:
            total, digits = total + int(digits) * _UNITS_S[character], ""
        else:
            return 0
    return 0 if digits else total * NS
