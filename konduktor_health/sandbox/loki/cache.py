"""When does a late line stay hidden? The cache of empty answers, a trap of the real Loki.

With ``cache_results`` (the default of its Helm chart) Loki remembers that a filter query found
nothing in a piece of an hour which ended more than ten minutes ago, and does not look again.
The key is the text of the query, so a nonce in a filter evades it.
"""

from __future__ import annotations

from collections.abc import Callable

from konduktor_health.clock import NS
from konduktor_health.sandbox.loki.store import Found

_HOUR_NS = 3600 * NS
_FRESH_NS = 600 * NS  # max_cache_freshness_per_query
_MAX_KEYS = 10_000


class EmptyAnswers:
    """Known-empty stretches of one tenant, per query text and hour. Not thread-safe."""

    def __init__(self) -> None:
        self._empty: dict[tuple[str, int], tuple[int, int]] = {}

    def read(
        self, text: str, start_ns: int, end_ns: int, now_ns: int,
        fetch: Callable[[int, int], list[Found]],
    ) -> list[Found]:  # fmt: skip
        """Fetch [start, end) hour by hour, leaving out what is known to be empty."""
        found: list[Found] = []
        while start_ns < end_ns:
            hour = start_ns // _HOUR_NS
            stop_ns = min(end_ns, (hour + 1) * _HOUR_NS)
            if stop_ns > now_ns - _FRESH_NS:
                found += fetch(start_ns, stop_ns)
            else:
                found += self._read_piece((text, hour), start_ns, stop_ns, fetch)
            start_ns = stop_ns
        return found

    def _read_piece(
        self, key: tuple[str, int], start_ns: int, end_ns: int,
        fetch: Callable[[int, int], list[Found]],
    ) -> list[Found]:  # fmt: skip
        low, high = self._empty.get(key, (end_ns, end_ns))
        if high < start_ns or low > end_ns:
            low, high = end_ns, end_ns
        found = fetch(start_ns, min(low, end_ns)) if start_ns < low else []
        if high < end_ns:
            found += fetch(max(high, start_ns), end_ns)
        if not found:
            if len(self._empty) >= _MAX_KEYS:
                self._empty.pop(next(iter(self._empty)))
            self._empty[key] = (min(low, start_ns), max(high, end_ns))
        return found
