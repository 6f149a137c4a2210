"""Which lines are in an answer of Loki, or in an export of one?

``query_range`` (status, data, result), a tail or push body (streams), and the list that Grafana's
log panel exports as JSON. Each is one JSON text, which has to be held as a whole: its size is
bounded. Entries come in time order, each as a line of ``logcli --output jsonl``, which is read
line by line, of any size, and needs none of this.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from konduktor_health.errors import ConfigError

ANSWER_BYTES = 256 << 20
#: Keys may be sorted (``jq -S``), and Windows puts a byte order mark in front.
_BEGINS = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:"
    rb'\{\s*"status"\s*:\s*"success"|\{\s*"streams"\s*:|\[\s*\{\s*"'
    rb'|\{\s*"data"\s*:\s*\{\s*"(?:encodingFlags|result|resultType|stats)"\s*:)'
)


def begins(content: bytes) -> bool:
    """Whether a stream that begins so is an answer."""
    return _BEGINS.match(content) is not None


def lines(stream: io.BufferedReader, name: str) -> Iterator[str]:
    """The lines, in time order. Raises ConfigError for a damaged or an oversized answer."""
    content = stream.read(ANSWER_BYTES + 1)
    if len(content) > ANSWER_BYTES:
        raise ConfigError(
            f"{name}: a Loki answer of more than {ANSWER_BYTES >> 20} MiB",
            hint="export with logcli --output jsonl, which is read line by line",
        )
    try:
        entries = sorted(_entries(json.loads(content)), key=lambda entry: entry[0])
    except (
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        hint = "an answer of query_range, or a list of objects with line and timestamp"
        raise ConfigError(
            f"{name}: not a query_range answer with log streams", hint=hint
        ) from error
    for stamp, labels, line in entries:
        yield json.dumps({"timestamp": str(stamp), "labels": labels, "line": line})


def _entries(answer: Any) -> Iterator[tuple[int, dict[str, Any], str]]:
    if isinstance(answer, list):
        for entry in answer:
            labels = entry.get("labels") or entry.get("fields") or {}
            yield int(entry["timestamp"]), labels, str(entry["line"])
        return
    for stream in answer["streams"] if "streams" in answer else answer["data"]["result"]:
        for value in stream["values"]:
            yield int(value[0]), stream["stream"], str(value[1])
