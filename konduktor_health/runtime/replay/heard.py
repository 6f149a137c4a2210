"""Which log entries does the past consist of? Lines that were decoded once, for every policy.

A line is decoded before it is played, and its entry carries the faults: policies that are played
side by side share them. Identities are those of the live reader, so that a line which two shippers
delivered counts once here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from konduktor_health.adapters.loki.entries import identity
from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from parsers.decode import Decoder
from parsers.fault import Fault
from parsers.layer import LogRecord, uptime_stamp
from parsers.tables import Tables

#: Identities that are remembered: two shippers deliver a line within seconds.
REMEMBERED = 200_000
LATEST_NS = 2**63


@dataclass(slots=True)
class DecodedRecord(LogRecord):
    """A record and the faults that it reports."""

    faults: list[Fault] = field(default_factory=list)


class DecodedBefore(Decoder):
    """Stands in for the decoder of an Observer: tells what the record carries."""

    def __init__(self) -> None:  # the tables are those that the record was decoded with
        pass

    def use(self, read: Tables) -> None:
        """Nothing is decoded here."""
        del read

    def feed(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """The faults of a kernel record."""
        del node, time_ns
        return record.faults if isinstance(record, DecodedRecord) else []

    def feed_pod(self, record: LogRecord, node: str = "", time_ns: int = 0) -> list[Fault]:
        """The faults of a pod's line."""
        return self.feed(record, node, time_ns)


def record_of(
    faults: list[Fault], time_ns: int, uptime_us: int | None, stamp: str, boot_id: str, count: int
) -> DecodedRecord:
    """The record of a line that reports one fault. Lines may share the list: what is a line's own
    is in its record."""
    fault = faults[0]
    facility = 1 if fault.injected else None
    # by place, as there is one for each line: text, uptime, stamp, boot id, sequence, facility,
    # priority, time, host name, heartbeat, missed, repeated, foreign, sealed, plain
    return DecodedRecord(
        fault.text, uptime_us, stamp, boot_id, None, facility,
        None, time_ns, "", False, 0, count, False, False, False, faults,
    )  # fmt: skip


def of_fault(fault: Fault, source: str) -> LogEntry:
    """The entry of a fault whose line was decoded where it was read. Its node and time are said."""
    uptime_us, time_ns, trust = fault.uptime_us, fault.time_ns, fault.trust
    stamp = "" if uptime_us is None else uptime_stamp(uptime_us)
    record = record_of([fault], time_ns, uptime_us, stamp, fault.boot_id, fault.count)
    name = identity(fault.node, time_ns, record)
    return LogEntry(fault.node, time_ns, record, name, source, trust, trust is Trust.POD)


def of_entry(entry: LogEntry, decoder: Decoder) -> LogEntry:
    """The same entry with what the decoder says of it."""
    record = entry.record
    feed = decoder.feed_pod if entry.pod else decoder.feed
    told = DecodedRecord(
        record.text,
        record.uptime_us,
        record.uptime_stamp,
        record.boot_id,
        record.sequence,
        record.facility,
        record.priority,
        record.time_ns,
        record.hostname,
        record.heartbeat,
        record.missed,
        record.repeated,
        record.foreign,
        faults=feed(record, entry.node_name, entry.time_ns),
    )
    return LogEntry(
        entry.node_name,
        entry.time_ns,
        told,
        entry.identity,
        entry.source,
        entry.trust,
        entry.pod,
    )


@dataclass(slots=True)
class Told:
    """What the lines were, for the report."""

    lines: int = 0
    first_ns: int = 0
    last_ns: int = 0
    without_time: int = 0
    without_node: int = 0
    outside: int = 0  # of the range that was asked for
    copies: int = 0  # a line that was heard before
    late: int = 0  # heard after a line that is newer by more than a poll


def batches(
    entries: Iterable[LogEntry],
    told: Told,
    *,
    interval_ns: int,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Iterator[tuple[int, list[LogEntry]]]:
    """What each poll would have found: its time, Unix ns, and the new lines in time order.

    A poll ends each interval. A line that comes after newer ones is found by the poll that is due
    when it comes, as a late line is. Bounds are [start, end).
    """
    seen: dict[str, None] = {}  # identities, the oldest first
    poll_ns, found = 0, list[LogEntry]()
    first_ns, past_ns = start_ns or 1, LATEST_NS if end_ns is None else end_ns
    for entry in entries:
        time_ns = entry.time_ns
        if not (entry.node_name and first_ns <= time_ns < past_ns):
            _left_out(entry, told)
            continue
        if entry.identity in seen:
            told.copies += 1
            continue
        seen[entry.identity] = None
        if len(seen) > REMEMBERED:
            for identity_ in list(islice(seen, REMEMBERED // 8)):
                del seen[identity_]
        told.lines += 1
        if time_ns > told.last_ns:
            told.last_ns = time_ns
        if time_ns < told.first_ns or not told.first_ns:
            told.first_ns = time_ns
        due_ns = (time_ns // interval_ns + 1) * interval_ns
        if due_ns > poll_ns:
            if found:
                yield poll_ns, sorted(found, key=_time)
            poll_ns, found = due_ns, [entry]
        else:
            told.late += due_ns < poll_ns
            found.append(entry)
    if found:
        yield poll_ns, sorted(found, key=_time)


def _left_out(entry: LogEntry, told: Told) -> None:
    if not entry.time_ns:
        told.without_time += 1
    elif not entry.node_name:
        told.without_node += 1
    else:
        told.outside += 1


def _time(entry: LogEntry) -> int:
    return entry.time_ns
