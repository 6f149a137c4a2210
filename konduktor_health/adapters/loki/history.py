"""Which matching lines does Loki hold from some time ago? For listing, never for acting."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from loguru import logger

from konduktor_health.adapters.loki.answers import Page
from konduktor_health.adapters.loki.entries import Unwrap, entry_of
from konduktor_health.adapters.loki.memory import Seen
from konduktor_health.adapters.loki.paging import Pager, RangeReader
from konduktor_health.adapters.loki.presets import SourceSpec
from konduktor_health.adapters.loki.query import Query, containing, uncached
from konduktor_health.adapters.loki.refusals import AnswerLost
from konduktor_health.clock import rfc3339
from konduktor_health.ports import LogEntry

_MOST_LOST = 4  # answers in a row: a person waits


def history(
    client: RangeReader,
    spec: SourceSpec,
    start_ns: int,
    end_ns: int,
    *,
    literals: Sequence[str],
    unwrap: Unwrap,
) -> Iterator[LogEntry]:
    """Entries of [start, end), oldest first, each identity once (heartbeats left out).

    Bounded memory: read as it is consumed. What cannot be read is logged and left out; raises
    errors of the client where nothing can be read any more.
    """
    lost = 0
    query = Query(spec.selector).then(containing(literals)).then(uncached(uuid.uuid4().hex))
    seen = Seen()
    for batch in Pager(client, on_page=_ignore).read(query, start_ns, end_ns):
        lost = lost + 1 if isinstance(batch.trouble, AnswerLost) else 0
        if lost >= _MOST_LOST and batch.trouble is not None:
            raise batch.trouble
        if batch.unread is not None:
            first, last = (rfc3339(time_ns) for time_ns in batch.unread)
            logger.bind(source=spec.name).warning(f"not all was read from {first} to {last}")
        for line in sorted(batch.lines, key=lambda line: line.time_ns):
            entry = entry_of(line, spec, unwrap)
            if not entry.record.heartbeat and seen.add(entry.identity, entry.time_ns):
                yield entry


def _ignore(_page: Page) -> None:
    """Bytes and warnings are the reader's business."""
