"""What does a read request ask for, and what does Loki answer? Parameters in, JSON data out.

Raises :class:`Refused` with the status and the plain text of the real Loki.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from konduktor_health.clock import NS
from konduktor_health.sandbox.loki.cache import EmptyAnswers
from konduktor_health.sandbox.loki.limits import Limits
from konduktor_health.sandbox.loki.logql import (
    LabelSet,
    LogQLError,
    Matcher,
    Query,
    StageError,
    parse,
    parse_selector,
)
from konduktor_health.sandbox.loki.store import Found, Scan, Store
from konduktor_health.sandbox.loki.times import (
    parse_duration,
    parse_time,
    print_duration,
    print_limit,
)

TIMED_OUT = (
    "request timed out, decrease the duration of the request or add more label matchers (prefer "
    "exact match over regex match) to reduce the amount of data processed"
)
_DEFAULT_LIMIT = 100
_DEFAULT_SINCE_NS = 3600 * NS
_KIB = 1024
_IN_MEMORY_NS = 3 * _DEFAULT_SINCE_NS  # how far back a query reaches data not yet flushed


class Refused(Exception):
    """The request is answered with an error status and a plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """A checked query_range request; times in Unix ns, the interval is [start, end)."""

    query: Query | None  # None: nothing matches, see StageError
    start_ns: int
    end_ns: int
    limit: int
    backward: bool
    categorize: bool


def read_range_request(
    params: Mapping[str, str], limits: Limits, now_ns: int, *, categorize: bool
) -> RangeRequest:
    """Check the parameters in the real Loki's order. Raises Refused."""
    end_ns = _time(params, "end", now_ns)
    since_ns = _since(params)
    start_ns = _time(params, "start", min(end_ns, now_ns) - since_ns)
    if end_ns < start_ns:
        raise Refused(400, "end timestamp must not be before or equal to start time")
    limit = _limit(params)
    direction = params.get("direction", "").lower() or "backward"
    if direction not in {"backward", "forward"}:
        raise Refused(400, f"invalid direction '{params['direction']}'")
    categorize = categorize and limits.categorize_labels
    query = None
    try:
        query = parse(params.get("query", ""), limits.max_query_text)
    except StageError as error:
        if not categorize:
            raise Refused(400, str(error)) from error
    except LogQLError as error:
        raise Refused(400, str(error)) from error
    if limits.max_entries and limit > limits.max_entries:
        raise Refused(
            400,
            "max entries limit per query exceeded, limit > max_entries_limit_per_query "
            f"({limit} > {limits.max_entries})",
        )
    start_ns = _cut(start_ns, end_ns, limits, now_ns)
    return RangeRequest(query, start_ns, end_ns, limit, direction == "backward", categorize)


def answer_range(
    store: Store, request: RangeRequest, limits: Limits, cache: EmptyAnswers | None, now_ns: int
) -> dict[str, Any]:
    """The ``data`` of a query_range answer. Raises Refused when it would read too many bytes."""
    began, scan = time.perf_counter(), Scan()
    query, found = request.query, list[Found]()
    if query is not None:
        _refuse_too_many_bytes(store, query, request, limits)

        def fetch(start_ns: int, end_ns: int) -> list[Found]:
            return store.select(
                query, start_ns, end_ns, request.limit, backward=request.backward, scan=scan
            )

        if cache is not None and query.stages:
            found = cache.read(query.text, request.start_ns, request.end_ns, now_ns, fetch)
            found.sort(key=lambda f: f.entry.time_ns, reverse=request.backward)
            del found[request.limit :]
        else:
            found = fetch(request.start_ns, request.end_ns)
    data: dict[str, Any] = {"resultType": "streams"}
    if request.categorize:
        data["encodingFlags"] = ["categorize-labels"]
    data["result"] = _categorized(found) if request.categorize else _merged(found)
    data["stats"] = {"summary": summary(scan, len(found), time.perf_counter() - began)}
    return data


def answer_labels(store: Store, params: Mapping[str, str], now_ns: int) -> list[str]:
    """Names of index labels."""
    return sorted({name for labels in _in_index(store, params, now_ns) for name in labels})


def answer_values(store: Store, name: str, params: Mapping[str, str], now_ns: int) -> list[str]:
    """Values of one index label; structured metadata does not show."""
    shown = _in_index(store, params, now_ns)
    return sorted({labels[name] for labels in shown if name in labels})


def answer_series(
    store: Store, selectors: list[str], params: Mapping[str, str], now_ns: int
) -> list[dict[str, str]]:
    """Label sets of the streams with entries in the range that match any of the selectors."""
    start_ns, end_ns = _label_range(params, now_ns)
    seen: dict[LabelSet, dict[str, str]] = {}
    for text in selectors or [""]:
        for labels in store.series(_matchers(text), start_ns, end_ns):
            seen[tuple(labels.items())] = labels
    return list(seen.values())


def _in_index(store: Store, params: Mapping[str, str], now_ns: int) -> list[dict[str, str]]:
    """Streams as the label endpoints see them: whatever is in memory counts for any range that
    reaches the last hours, so these endpoints are no proof that a stream has fresh lines."""
    start_ns, end_ns = _label_range(params, now_ns)
    if end_ns > now_ns - _IN_MEMORY_NS:
        start_ns = min(start_ns, now_ns - 2 * _IN_MEMORY_NS)
        end_ns = now_ns + _DEFAULT_SINCE_NS
    return store.series(_matchers(params.get("query", "")), start_ns, end_ns)


def _label_range(params: Mapping[str, str], now_ns: int) -> tuple[int, int]:
    end_ns = _time(params, "end", now_ns)
    return _time(params, "start", min(end_ns, now_ns) - _since(params)), end_ns


def _matchers(text: str) -> tuple[Matcher, ...]:
    if not text:
        return ()
    try:
        return parse_selector(text)
    except LogQLError as error:
        raise Refused(400, str(error)) from error


def _refuse_too_many_bytes(
    store: Store, query: Query, request: RangeRequest, limits: Limits
) -> None:
    if not limits.max_query_bytes or not query.stages:
        return
    size = store.bytes_in(query, request.start_ns, request.end_ns)
    if size > limits.max_query_bytes:
        raise Refused(
            400,
            f"the query would read too many bytes (query: {_bytes(size)}, limit: "
            f"{_bytes(limits.max_query_bytes)}); consider adding more specific stream "
            "selectors or reduce the time range of the query",
        )


def _categorized(found: list[Found]) -> list[dict[str, Any]]:
    streams: dict[int, dict[str, Any]] = {}
    for labels, entry in found:
        stream = streams.get(id(labels))
        if stream is None:
            stream = streams[id(labels)] = {"stream": labels, "values": []}
        extra = {"structuredMetadata": dict(entry.metadata)} if entry.metadata else {}
        stream["values"].append([str(entry.time_ns), entry.line, extra])
    return _in_label_order(streams.values())


def _merged(found: list[Found]) -> list[dict[str, Any]]:
    """Without categories structured metadata is part of the stream, which splits streams."""
    streams: dict[tuple[int, LabelSet], dict[str, Any]] = {}
    for labels, entry in found:
        key = (id(labels), entry.metadata)
        stream = streams.get(key)
        if stream is None:
            merged = {**labels, **dict(entry.metadata)}
            stream = streams[key] = {"stream": merged, "values": []}
        stream["values"].append([str(entry.time_ns), entry.line])
    return _in_label_order(streams.values())


def _in_label_order(streams: Any) -> list[dict[str, Any]]:
    return sorted(streams, key=lambda s: sorted(s["stream"].items()))


def summary(scan: Scan, returned: int, seconds: float) -> dict[str, Any]:
    """``data.stats.summary``: what a query touched."""
    rate = 1 / max(seconds, 1e-6)
    size = scan.bytes + scan.metadata_bytes
    return {
        "bytesProcessedPerSecond": round(size * rate),
        "linesProcessedPerSecond": round(scan.lines * rate),
        "totalBytesProcessed": size,
        "totalLinesProcessed": scan.lines,
        "execTime": round(seconds, 6),
        "queueTime": 0.0,
        "subqueries": 0,
        "totalEntriesReturned": returned,
        "splits": 1,
        "shards": 1,
        "totalPostFilterLines": scan.matched,
        "totalStructuredMetadataBytesProcessed": scan.metadata_bytes,
    }


def _time(params: Mapping[str, str], name: str, default_ns: int) -> int:
    text = params.get(name, "")
    if not text:
        return default_ns
    try:
        return parse_time(text)
    except ValueError as error:
        raise Refused(
            400,
            f"could not parse '{name}' parameter: strconv.ParseInt: parsing \"{text[:80]}\": "
            "invalid syntax",
        ) from error


def _since(params: Mapping[str, str]) -> int:
    text = params.get("since", "")
    if not text:
        return _DEFAULT_SINCE_NS
    try:
        return parse_duration(text)
    except ValueError as error:
        raise Refused(
            400,
            f"could not parse 'since' parameter: not a valid duration string: \"{text[:80]}\"",
        ) from error


def _limit(params: Mapping[str, str]) -> int:
    text = params.get("limit", "")
    if not text:
        return _DEFAULT_LIMIT
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise Refused(400, f'strconv.Atoi: parsing "{text[:80]}": invalid syntax')
    limit = int(text)
    if limit <= 0:
        raise Refused(400, "limit must be a positive value")
    return limit


def _cut(start_ns: int, end_ns: int, limits: Limits, now_ns: int) -> int:
    """Apply the look-back (silently) and the length limit (an error)."""
    if limits.max_query_lookback_s:
        start_ns = max(start_ns, now_ns - round(limits.max_query_lookback_s * NS))
    length_ns = end_ns - start_ns
    if limits.max_query_length_s and length_ns > limits.max_query_length_s * NS:
        shown = print_duration(length_ns // 1_000_000 * 1_000_000)
        raise Refused(
            400,
            f"the query time range exceeds the limit (query length: {shown}, limit: "
            f"{print_limit(limits.max_query_length_s)})",
        )
    return start_ns


def _bytes(count: int) -> str:
    """1.5 KiB, 10 MiB, as Loki's errors print sizes."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):  # noqa: B007
        if size < _KIB:
            break
        size /= _KIB
    return f"{size:.1f} {unit}" if size < 10 and unit != "B" else f"{size:.0f} {unit}"
