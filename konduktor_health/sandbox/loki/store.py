"""Which entries does the embedded Loki hold, and which of them does a query return?

One :class:`Store` per tenant. Invariants: the entries of a stream are sorted by time (equal
times in order of arrival); an entry is visible to the next query once ``append`` has returned;
``stored_bytes`` is what ``drop_oldest`` can free.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from konduktor_health.sandbox.loki.logql import LabelSet, Matcher, Predicate, Query

_ENTRY_OVERHEAD = 120  # bytes of Python objects per entry, about
_STREAM_OVERHEAD = 1000  # the same per stream


class Entry(NamedTuple):
    """One log line. ``metadata`` is its structured metadata, sorted by name."""

    time_ns: int
    line: str
    metadata: LabelSet = ()

    def size(self) -> int:
        """Bytes as Loki's statistics count them: line and metadata."""
        return len(self.line) + sum(len(k) + len(v) for k, v in self.metadata)


@dataclass(slots=True)
class Stream:
    """Entries with the same index labels."""

    labels: dict[str, str]
    times: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    newest_ns: int = 0  # of all entries ever accepted: decides what is too far behind
    waiting: list[Entry] = field(default_factory=list)  # late ones that a flush makes visible

    def insert(self, entry: Entry) -> bool:
        """Add an entry; False for one that is held already (same time, line and metadata)."""
        if not self.times or entry.time_ns > self.times[-1]:
            self.times.append(entry.time_ns)
            self.entries.append(entry)
            return True
        at = bisect_right(self.times, entry.time_ns)
        first = bisect_left(self.times, entry.time_ns, 0, at)
        # Only the newest few are compared: 20,000 lines at one nanosecond stay linear.
        if entry in self.entries[max(first, at - 16) : at]:
            return False
        self.times.insert(at, entry.time_ns)
        self.entries.insert(at, entry)
        return True


@dataclass(slots=True)
class Scan:
    """What a query touched, for ``data.stats``."""

    lines: int = 0
    bytes: int = 0
    metadata_bytes: int = 0
    matched: int = 0


class Found(NamedTuple):
    """One entry of an answer and the index labels of its stream."""

    labels: Mapping[str, str]
    entry: Entry


class Store:
    """The streams of one tenant. Not thread-safe: the server holds one lock."""

    def __init__(self) -> None:
        self._streams: dict[LabelSet, Stream] = {}
        self.stored_bytes = 0

    def stream(self, labels: Mapping[str, str]) -> Stream:
        """The stream with these index labels, created when it is new."""
        key = tuple(sorted(labels.items()))
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = Stream(dict(key))
            self.stored_bytes += _STREAM_OVERHEAD
        return stream

    def append(self, stream: Stream, entry: Entry, *, visible: bool = True) -> None:
        """Store one accepted entry; exact duplicates are dropped, as Loki drops them."""
        stream.newest_ns = max(stream.newest_ns, entry.time_ns)
        if not visible:
            stream.waiting.append(entry)
            self.stored_bytes += entry.size() + _ENTRY_OVERHEAD
        elif stream.insert(entry):
            self.stored_bytes += entry.size() + _ENTRY_OVERHEAD

    def flush(self) -> None:
        """Make the late entries visible."""
        for stream in self._streams.values():
            for entry in stream.waiting:
                if not stream.insert(entry):
                    self.stored_bytes -= entry.size() + _ENTRY_OVERHEAD
            stream.waiting.clear()

    def drop_oldest(self, bytes_to_free: int) -> int:
        """Drop the oldest entries over all streams, invisible ones first, and streams that
        become empty; the number of bytes freed."""
        freed, drops = self._drop_waiting(bytes_to_free), dict.fromkeys(self._streams, 0)
        heads = [(s.times[0], key) for key, s in self._streams.items() if s.times]
        heapq.heapify(heads)
        while heads and freed < bytes_to_free:
            _, key = heads[0]
            stream = self._streams[key]
            freed += stream.entries[drops[key]].size() + _ENTRY_OVERHEAD
            drops[key] += 1
            if drops[key] < len(stream.times):
                heapq.heapreplace(heads, (stream.times[drops[key]], key))
            else:
                heapq.heappop(heads)
        for key, count in drops.items():
            stream = self._streams[key]
            del stream.times[:count]
            del stream.entries[:count]
            if not stream.times and not stream.waiting:
                del self._streams[key]
                freed += _STREAM_OVERHEAD
        self.stored_bytes -= freed
        return freed

    def _drop_waiting(self, bytes_to_free: int) -> int:
        freed = 0
        for stream in self._streams.values():
            while stream.waiting and freed < bytes_to_free:
                freed += stream.waiting.pop(0).size() + _ENTRY_OVERHEAD
        return freed

    def select(
        self, query: Query, start_ns: int, end_ns: int, limit: int, *, backward: bool, scan: Scan
    ) -> list[Found]:
        """At most ``limit`` entries of [start, end) in the query's direction, sorted by time."""
        selects, keeps = query.selects(), query.keeps()
        runs = []
        for stream in self._streams.values():
            if not stream.times or not selects(stream.labels):
                continue
            low, high = bisect_left(stream.times, start_ns), bisect_left(stream.times, end_ns)
            if low < high:
                window = stream.entries[low:high]
                if backward:
                    window.reverse()
                runs.append(_matches(stream.labels, window, keeps, scan))
        # islice before merge: no stream can contribute more than the whole answer.
        merged = heapq.merge(*(islice(run, limit) for run in runs), key=_time_of, reverse=backward)
        return list(islice(merged, limit))

    def bytes_in(self, query: Query, start_ns: int, end_ns: int) -> int:
        """Bytes of lines that the query would have to read."""
        selects, total = query.selects(), 0
        for stream in self._streams.values():
            if selects(stream.labels):
                low, high = bisect_left(stream.times, start_ns), bisect_left(stream.times, end_ns)
                total += sum(entry.size() for entry in stream.entries[low:high])
        return total

    def series(
        self, matchers: tuple[Matcher, ...], start_ns: int, end_ns: int
    ) -> list[dict[str, str]]:
        """Index labels of the streams that match and whose first and last entry span the range."""
        selects = Query(matchers, (), "").selects()
        return [
            dict(s.labels)
            for s in self._streams.values()
            if s.times and s.times[0] <= end_ns and s.times[-1] >= start_ns and selects(s.labels)
        ]


def _time_of(found: Found) -> int:
    return found.entry.time_ns


def _matches(
    labels: Mapping[str, str], window: list[Entry], keeps: Predicate | None, scan: Scan
) -> Iterator[Found]:
    for entry in window:
        extra = entry.metadata
        scan.lines += 1
        scan.bytes += len(entry.line)
        if extra:
            scan.metadata_bytes += sum(len(k) + len(v) for k, v in extra)
        if keeps is None or keeps(entry.line, labels, extra):
            scan.matched += 1
            yield Found(labels, entry)
