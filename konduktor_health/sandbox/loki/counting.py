"""Which metric queries does the embedded Loki answer? One form: lines counted by labels.

``sum by (a, b) (count_over_time({selector} stages [5m]))`` as an instant query. The range is
(time - duration, time], as in Loki; anything else is refused, rather than answered wrongly.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from konduktor_health.clock import NS
from konduktor_health.sandbox.loki.limits import Limits
from konduktor_health.sandbox.loki.logql import LogQLError, StageError, parse
from konduktor_health.sandbox.loki.queries import Refused, summary
from konduktor_health.sandbox.loki.store import Found, Scan, Store
from konduktor_health.sandbox.loki.times import parse_duration, parse_time

_LOG_QUERY = (
    "log queries are not supported as an instant query type, please change your query to a range "
    "query type"
)
_COUNTED = re.compile(
    r"\s*sum\s+by\s*\((?P<by>[\w\s,]+)\)\s*\(\s*count_over_time\s*\((?P<query>.+)"
    r"\[(?P<range>\w+)\]\s*\)\s*\)\s*\Z",
    re.DOTALL,
)


def answer_instant(
    store: Store, params: Mapping[str, str], limits: Limits, now_ns: int
) -> dict[str, Any]:
    """The ``data`` of an instant query. Raises Refused."""
    began, scan = time.perf_counter(), Scan()
    text = params.get("query", "")
    match = _COUNTED.match(text)
    if match is None:
        if text.lstrip().startswith("{"):
            raise Refused(400, _LOG_QUERY)
        raise Refused(400, "parse error : the sandbox counts lines by labels and nothing else")
    labels = [name for part in match["by"].split(",") if (name := part.strip())]
    try:
        at_ns = parse_time(params["time"]) if params.get("time") else now_ns
        range_ns = parse_duration(match["range"])
        query = parse(match["query"], limits.max_query_text)
    except (LogQLError, StageError, ValueError) as error:
        raise Refused(400, str(error)) from error
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    start_ns = at_ns - range_ns + 1
    for found in store.select(query, start_ns, at_ns + 1, 2**31, backward=False, scan=scan):
        counts[_key(found, labels)] += 1
    if limits.max_query_series and len(counts) > limits.max_query_series:
        raise Refused(
            400, f"maximum number of series ({limits.max_query_series}) reached for a single query"
        )
    at_s = at_ns / NS
    return {
        "resultType": "vector",
        "result": [
            {"metric": dict(key), "value": [at_s, str(count)]}
            for key, count in sorted(counts.items())
        ],
        "stats": {"summary": summary(scan, len(counts), time.perf_counter() - began)},
    }


def _key(found: Found, labels: list[str]) -> tuple[tuple[str, str], ...]:
    """Labels that the entry has; one that it lacks is left out, as in Loki."""
    values = {**dict(found.entry.metadata), **found.labels}
    return tuple((name, values[name]) for name in sorted(labels) if values.get(name))
