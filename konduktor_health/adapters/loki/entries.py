"""Which log entry does a Loki line carry, and from which node?

Invariants: identity is (node, boot id where known, uptime stamp as printed, text), without a
stamp (node, Loki nanoseconds, text); no line, however odd, raises.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from konduktor_health.adapters.loki.answers import Line
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.ports import LogEntry
from parsers.record import LogRecord

MAX_LINE = 65_536  # characters of a line that are looked at
MAX_NODE_NAME = 253  # Kubernetes' bound for names
_HASH_BYTES = 16

Unwrap = Callable[[str], LogRecord]


def entry_of(line: Line, spec: SourceSpec, unwrap: Unwrap) -> LogEntry:
    """The entry of one Loki line."""
    text = line.text[:MAX_LINE]
    try:
        record = unwrap(text)
    except Exception:  # unwrap promises not to raise; one line must not stop a source
        record = LogRecord(text=text)
    node = node_name(line, record, spec.node_from)
    return LogEntry(
        node_name=node,
        time_ns=line.time_ns,
        record=record,
        identity=identity(node, line.time_ns, record),
        source=spec.name,
        trust=spec.trust,
        pod=spec.pod,
    )


def identity(node: str, time_ns: int, record: LogRecord) -> str:
    """What a record is counted once by: 32 hexadecimal digits."""
    if record.uptime_stamp:
        start = _start("uptime", node, record.boot_id)
        told = start + _part(record.uptime_stamp) + _part(record.text)
    else:
        told = _start("time", node) + _part(str(time_ns)) + _part(record.text)
    return hashlib.blake2b(told, digest_size=_HASH_BYTES).hexdigest()


@lru_cache(maxsize=4096)  # most lines of a node begin with what the one before began with
def _start(*parts: str) -> bytes:
    return b"".join(map(_part, parts))


def _part(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return len(data).to_bytes(4, "big") + data


def node_name(line: Line, record: LogRecord, node_from: tuple[str, ...]) -> str:
    """The first of ``node_from`` that gives a usable name; "" when none does."""
    body: Any = None
    for rule in node_from:
        kind, _, argument = rule.partition(":")
        found: Any = None
        if kind == "label":
            found = line.labels.get(argument)
        elif kind == "metadata":
            found = line.metadata.get(argument)
        elif kind == "record":
            found = record.hostname
        elif kind == "json":
            body = _json(line.text) if body is None else body
            found = _walk(body, argument)
        if isinstance(found, str) and (name := found.strip()) and len(name) <= MAX_NODE_NAME:
            return name if name.isprintable() else ""
    return ""


def _json(text: str) -> Any:
    if text.lstrip()[:1] != "{":
        return {}
    try:
        return json.loads(text[:MAX_LINE])
    except (ValueError, RecursionError):
        return {}


def _walk(body: Any, path: str) -> Any:
    """A value by dotted path; a key that itself holds dots is found too."""
    if isinstance(body, dict):
        if path in body:
            return body[path]
        head, dot, rest = path.partition(".")
        if dot and head in body:
            return _walk(body[head], rest)
    return None
