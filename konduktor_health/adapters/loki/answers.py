"""What does Loki's answer say?

JSON bodies become Pages and label sets. Loki, a gateway or an attacker's log line may put
anything into them: an entry that cannot be understood is counted and left out, the rest
is kept; a body of another shape is LokiUnavailable, never "no lines".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from konduktor_health.errors import LokiUnavailable, excerpt

CATEGORIZE = "categorize-labels"
MAX_TIME_NS = 2**63 - 1
_SHAPE_HINT = "is the URL that of Loki itself? A gateway or login page may answer instead"


@dataclass(frozen=True, slots=True)
class Line:
    """One log line as Loki has it.

    Without categorize-labels (older Loki) index labels and metadata cannot be told apart:
    both mappings then hold everything.
    """

    time_ns: int
    text: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]

    def key(self) -> tuple[int, str, frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
        """What makes two entries the same one to Loki; equal lines of two streams differ."""
        return (
            self.time_ns,
            self.text,
            frozenset(self.labels.items()),
            frozenset(self.metadata.items()),
        )


@dataclass(frozen=True, slots=True)
class Page:
    """The answer to one query_range, merged over its streams in time order, oldest first."""

    lines: tuple[Line, ...]
    limit: int  # that the request had in the end; Loki may have forced a smaller one
    skipped: int = 0  # entries that could not be understood
    bytes_processed: int = 0  # that Loki scanned for it
    warnings: tuple[str, ...] = ()
    answer_bytes: int = 0  # of the JSON, unpacked
    took_s: float = 0.0  # from the request to the whole answer

    @property
    def full(self) -> bool:
        """True: there may be more. Only a page that is not full proves that it is all."""
        return len(self.lines) + self.skipped >= self.limit


@dataclass(frozen=True, slots=True)
class Vector:
    """The answer to an instant metric query: label sets whose value is above zero."""

    series: tuple[Mapping[str, str], ...]
    bytes_processed: int = 0  # that Loki scanned for it


def decode(body: bytes) -> dict[str, Any]:
    """A JSON object with ``status: success``. Raises LokiUnavailable for anything else."""
    try:
        answer = from_json(body)
    except ValueError:
        try:  # one broken character must not cost the page: Python's decoder is more lenient
            answer = json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise LokiUnavailable(
                f"Loki answered 200 with something that is not JSON: {excerpt(body)}",
                hint=_SHAPE_HINT,
            ) from error
    if not isinstance(answer, dict) or answer.get("status") != "success":
        raise LokiUnavailable(f"Loki's answer has no success: {excerpt(body)}", hint=_SHAPE_HINT)
    return answer


def page(body: bytes, limit: int) -> Page:
    """The streams of a query_range answer. Raises LokiUnavailable."""
    answer = decode(body)
    data = answer.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "streams":
        raise LokiUnavailable(f"Loki's answer holds no streams: {excerpt(body)}", hint=_SHAPE_HINT)
    result = data.get("result")
    if result is None:
        result = []
    if not isinstance(result, list):
        raise LokiUnavailable(f"Loki's answer holds no list: {excerpt(body)}", hint=_SHAPE_HINT)
    flags = data.get("encodingFlags")
    categorized = isinstance(flags, list) and CATEGORIZE in flags
    lines: list[Line] = []
    skipped = 0
    for stream in result:
        if not isinstance(stream, dict) or not isinstance(stream.get("values"), list):
            skipped += 1
            continue
        labels = _strings(stream.get("stream"))
        for value in stream["values"]:
            line = _line(value, labels, categorized)
            if line is None:
                skipped += 1
            else:
                lines.append(line)
    if skipped and not lines:
        raise LokiUnavailable(f"Loki's answer holds no readable entry: {excerpt(body)}")
    lines.sort(key=lambda line: line.time_ns)
    return Page(
        lines=tuple(lines),
        limit=limit,
        skipped=skipped,
        bytes_processed=_bytes_processed(data.get("stats")),
        warnings=_warnings(answer.get("warnings")),
        answer_bytes=len(body),
    )


def vector(body: bytes) -> Vector:
    """The series of an instant query's answer. Raises LokiUnavailable."""
    data = decode(body).get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(data, dict) or data.get("resultType") != "vector":
        raise LokiUnavailable(f"Loki's answer holds no vector: {excerpt(body)}", hint=_SHAPE_HINT)
    if result is not None and not isinstance(result, list):
        raise LokiUnavailable(f"Loki's answer holds no list: {excerpt(body)}", hint=_SHAPE_HINT)
    series = [
        _strings(sample.get("metric"))
        for sample in result or ()
        if isinstance(sample, dict) and _above_zero(sample.get("value"))
    ]
    return Vector(tuple(series), _bytes_processed(data.get("stats")))


def label_sets(body: bytes) -> list[Mapping[str, str]]:
    """The label sets of a series answer. Raises LokiUnavailable."""
    data = decode(body).get("data")
    if data is not None and not isinstance(data, list):
        raise LokiUnavailable(f"Loki's answer holds no series: {excerpt(body)}", hint=_SHAPE_HINT)
    return [_strings(item) for item in data or () if isinstance(item, dict)]


def names(body: bytes) -> list[str]:
    """The strings of a label-names or label-values answer. Raises LokiUnavailable."""
    data = decode(body).get("data")
    if data is not None and not isinstance(data, list):
        raise LokiUnavailable(f"Loki's answer holds no labels: {excerpt(body)}", hint=_SHAPE_HINT)
    return [item for item in data or () if isinstance(item, str)]


def _line(value: Any, labels: Mapping[str, str], categorized: bool) -> Line | None:
    if not isinstance(value, list) or len(value) < 2 or not isinstance(value[1], str):
        return None
    time_ns = _nanoseconds(value[0])
    if time_ns is None:
        return None
    metadata: Mapping[str, str] = labels
    if categorized:
        extra = value[2] if len(value) > 2 else None
        metadata = _strings(extra.get("structuredMetadata")) if isinstance(extra, dict) else {}
    return Line(time_ns, _encodable(value[1]), labels, metadata)


def _above_zero(value: Any) -> bool:
    """Whether a sample ``[time, "12"]`` counts anything."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    try:
        return float(value[1]) > 0
    except (TypeError, ValueError):
        return False


def _nanoseconds(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TIME_NS:
        return value
    return None


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        _encodable(str(name)): _encodable(item)
        for name, item in value.items()
        if isinstance(item, str)
    }


def _encodable(text: str) -> str:
    """Lone surrogates (the lenient decoder lets them pass) could not be encoded again."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8", "replace")


def _bytes_processed(stats: Any) -> int:
    summary = stats.get("summary") if isinstance(stats, dict) else None
    count = summary.get("totalBytesProcessed") if isinstance(summary, dict) else None
    if isinstance(count, (int, float)) and 0 <= count < MAX_TIME_NS:
        return int(count)
    return 0


def _warnings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(excerpt(item) for item in value[:10] if isinstance(item, str))
