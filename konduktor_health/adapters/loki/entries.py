"""Which log entry does a Loki line carry, from which node, and has it been seen before?

Invariants: identity is (node, boot id where known, uptime stamp as printed, text), without a
stamp (node, Loki nanoseconds, text); ``Seen`` is bounded in number and time; no line, however
odd, raises.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from konduktor_health.adapters.loki.answers import Line
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.ports import LogEntry
from parsers.record import LogRecord

MAX_LINE = 65_536  # characters of a line that are looked at
MAX_NODE_NAME = 253  # Kubernetes' bound for names
_HASH_BYTES = 16
_GENERATIONS = 8

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
    parts = (
        ("uptime", node, record.boot_id, record.uptime_stamp, record.text)
        if record.uptime_stamp
        else ("time", node, str(time_ns), record.text)
    )
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    for part in parts:
        data = part.encode("utf-8", "replace")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.hexdigest()


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


class Seen:
    """Identities handed out, in generations: the oldest one leaves as a whole.

    ``keep_s``: how long at least an identity is known, unless more than ``most`` come in that
    time: then the oldest eighth goes first, and its lines may be handed out again.
    """

    def __init__(self, *, keep_s: float, most: int = 1_000_000) -> None:
        self._keep_s = keep_s
        self._most = max(most, _GENERATIONS)
        self._generations: deque[tuple[float, set[bytes]]] = deque()  # (begun at, hashes)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, name: str, now_s: float) -> bool:
        """Remember an identity (hex); False when it was known."""
        key = bytes.fromhex(name)
        if any(key in hashes for _, hashes in self._generations):
            return False
        self._turn(now_s)
        self._generations[-1][1].add(key)
        self._count += 1
        return True

    def _turn(self, now_s: float) -> None:
        """Begin a new generation when the last is full or old; drop those past their time."""
        span_s, size = self._keep_s / _GENERATIONS, self._most // _GENERATIONS
        last = self._generations[-1] if self._generations else None
        if last is None or now_s - last[0] > span_s or len(last[1]) >= size:
            self._generations.append((now_s, set()))
        while len(self._generations) > 1 and (
            now_s - self._generations[1][0] > self._keep_s or self._count >= self._most
        ):
            self._count -= len(self._generations.popleft()[1])


class NewestHeartbeat:
    """Heartbeats are worth only their newest per node: remembered by time, not by identity."""

    def __init__(self, *, most: int = 20_000) -> None:
        self._most = most
        self._newest: dict[str, int] = {}

    def is_news(self, entry: LogEntry) -> bool:
        """True when no later heartbeat of the node has been handed out."""
        if entry.time_ns <= self._newest.get(entry.node_name, -1):
            return False
        if len(self._newest) >= self._most and entry.node_name not in self._newest:
            self._newest.pop(next(iter(self._newest)))
        self._newest[entry.node_name] = entry.time_ns
        return True
