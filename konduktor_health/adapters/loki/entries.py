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
from dataclasses import dataclass, field
from typing import Any

from konduktor_health.adapters.loki.answers import Line
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.clock import NS
from konduktor_health.ports import LogEntry
from parsers.record import LogRecord

MAX_LINE = 65_536  # characters of a line that are looked at
MAX_NODE_NAME = 253  # Kubernetes' bound for names
_HASH_BYTES = 16
_GENERATIONS = 8  # of the bound in number
_MOST_GENERATIONS = 64
_SPAN_NS = 1800 * NS

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


@dataclass(slots=True)
class _Generation:
    begun_ns: int
    newest_ns: int = 0  # newest log time of its lines
    hashes: set[bytes] = field(default_factory=set)


class Seen:
    """Identities handed out, in generations that are forgotten as a whole.

    An identity is known until its log time will not be read again (``forget_before``), unless
    more than ``most`` would be kept: then the oldest eighth goes, and may be handed out again.
    """

    def __init__(self, *, most: int = 1_000_000) -> None:
        self._size = max(1, most // _GENERATIONS)
        self._generations: deque[_Generation] = deque([_Generation(0)])

    def __len__(self) -> int:
        return sum(len(generation.hashes) for generation in self._generations)

    def add(self, name: str, time_ns: int) -> bool:
        """Remember an identity (hex) of a line of that log time; False when it was known."""
        key = bytes.fromhex(name)
        if any(key in generation.hashes for generation in self._generations):
            return False
        last = self._generations[-1]
        if len(last.hashes) >= self._size:
            self._begin(last.begun_ns)
            last = self._generations[-1]
        last.hashes.add(key)
        last.newest_ns = max(last.newest_ns, time_ns)
        return True

    def forget_before(self, horizon_ns: int, now_ns: int) -> None:
        """Nothing before the horizon will be read again."""
        kept = [one for one in self._generations if one.newest_ns >= horizon_ns]
        self._generations = deque(kept)
        if not kept or now_ns - kept[-1].begun_ns > _SPAN_NS:
            self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        self._generations.append(_Generation(now_ns))
        while len(self._generations) > _MOST_GENERATIONS or len(self) > self._size * (
            _GENERATIONS - 1
        ):
            self._generations.popleft()


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
