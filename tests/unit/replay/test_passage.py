"""Packed and unpacked, polls are the same; and a chain is what a player takes it to be."""

from __future__ import annotations

import marshal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core.record import EPISODE_GAP_NS
from konduktor_health.model import Trust
from konduktor_health.ports import LogEntry
from konduktor_health.runtime.replay.heard import DecodedRecord, of_fault
from konduktor_health.runtime.replay.passage import Packer, Passage, Poll, one_by_one, unpacked
from konduktor_health.timestamps import NS
from parsers.layer import LogRecord
from tests.support.builders import BOOT, NOW, OTHER_BOOT, fault

lines = st.tuples(
    st.sampled_from(["a", "a", "b"]),
    st.sampled_from(["xid/63", "xid/63", "xid/31"]),
    st.sampled_from([BOOT, BOOT, OTHER_BOOT, ""]),
    st.sampled_from([0, 0, 500, 1_000_000, -100, 181_000_000]),  # later than before, us
    st.sampled_from([0, 0, 0, 1000, None]),  # drift of the uptime, us
    st.sampled_from([1, 1, 3]),
    st.sampled_from([Trust.KERNEL, Trust.KERNEL, Trust.POD]),
)
again = st.just(("a", "xid/63", BOOT, 500, 0, 1, Trust.KERNEL))
polls = st.lists(
    st.lists(st.one_of(again, again, again, lines), min_size=1, max_size=3), max_size=12
)


def heard(drawn: list[list[Any]]) -> list[Poll]:
    found: list[Poll] = []
    at_us = 1_000_000_000
    for number, each in enumerate(drawn):
        entries = []
        for node, fault_id, boot_id, later_us, drift_us, count, trust in each:
            at_us += later_us
            entries.append(
                of_fault(
                    fault(
                        fault_id,
                        node=node,
                        boot_id=boot_id,
                        time_ns=NOW + at_us * 1000,
                        uptime_us=None if drift_us is None else at_us + drift_us,
                        count=count,
                        trust=trust,
                        detail={"pid": "7"},
                    ),
                    "files",
                )
            )
        found.append((NOW + number * 2 * NS, entries))
    return found


def passage_of(found: list[Poll]) -> Passage:
    packer = Packer()
    for poll in found:
        packer.add(*poll)
    assert len(packer) == sum(len(entries) for _, entries in found)
    return unpacked(marshal.loads(marshal.dumps(packer.packed())))


@given(polls)
def test_polls_come_out_as_they_went_in(drawn: list[list[Any]]) -> None:
    found = heard(drawn)
    passage = passage_of(found)

    assert passage.times_ns == [at_ns for at_ns, _ in found]
    for at in [*range(len(passage)), *reversed(range(len(passage)))]:
        assert [*map(told, passage.entries(at))] == [*map(told, found[at][1])]
    assert [(each.times_ns, each.entries(0)) for each in one_by_one(found)] == [
        ([at_ns], entries) for at_ns, entries in found
    ]


@settings(max_examples=300, deadline=None)
@given(polls, st.one_of(st.just(30.0), st.floats(0, 30)))
def test_between_stops_there_are_chains_and_nothing_else(
    drawn: list[list[Any]], until_s: float
) -> None:
    found = heard(drawn)
    passage = passage_of(found)
    until_ns = NOW + int(until_s * NS)

    for at in range(len(found) + 1):
        end = passage.quiet_until(at, until_ns)
        assert all(at_ns <= until_ns for at_ns in passage.times_ns[at:end])
        stop = end < len(found) and passage.times_ns[end] <= until_ns
        assert not stop or not all_continue(found, end)
        consists_of_chains(passage, found, at, end)


def all_continue(found: list[Poll], at: int) -> bool:
    entries = [entry for _, lines in found[: at + 1] for entry in lines]
    first = len(entries) - len(found[at][1])
    return all(
        any(before := [one for one in entries[:place] if one.node_name == entry.node_name])
        and continues(before[-1], entry)
        for place, entry in enumerate(entries)
        if place >= first
    )


def consists_of_chains(passage: Passage, found: list[Poll], at: int, end: int) -> None:
    all_of = [entry for _, entries in found for entry in entries]
    there = sorted(place for each in passage.chains(at, end) for place in each.lines)
    before = sum(len(entries) for _, entries in found[:at])
    assert there == list(range(before, before + sum(len(each) for _, each in found[at:end])))
    for chain in passage.chains(at, end):
        first = all_of[chain.lines[0]]
        for place, poll in zip(chain.lines, chain.polls, strict=True):
            assert all_of[place] in found[poll][1]
            newest = [one for one in all_of[:place] if one.node_name == first.node_name][-1]
            assert continues(newest, all_of[place])
        counts = [all_of[place].record.repeated for place in chain.lines]
        assert passage.count(chain) == sum(counts)
        for number, place in enumerate(chain.lines):
            last_ns = all_of[place].time_ns
            assert passage.poll_beyond(chain, last_ns - 1) <= chain.polls[number]
            assert passage.poll_beyond(chain, last_ns) > chain.polls[number] or any(
                all_of[later].time_ns > last_ns for later in chain.lines[number:]
            )


def told(entry: LogEntry) -> tuple[Any, ...]:
    """All that is played of an entry."""
    record = entry.record
    own = (entry.time_ns, entry.identity, record.uptime_us, record.uptime_stamp, record.repeated)
    return (*own, *said(entry))


def said(entry: LogEntry) -> tuple[Any, ...]:
    """All that is not a line's own."""
    record = entry.record
    assert isinstance(record, DecodedRecord)
    (fault_,) = record.faults
    return (
        (entry.node_name, entry.source, entry.trust, entry.pod, record.boot_id, record.facility),
        (fault_.fault_id, fault_.severity, fault_.remedy, fault_.device, fault_.injected),
        (fault_.trust, fault_.text, fault_.detail),
    )


def continues(before: LogEntry, entry: LogEntry) -> bool:
    """All that a player rests on when it takes the first line of a chain for those that follow."""
    start_ns, last_ns = (start_of(each) for each in (entry, before))
    return (
        start_ns is not None
        and start_ns == last_ns
        and before.time_ns <= entry.time_ns <= before.time_ns + EPISODE_GAP_NS
        and said(entry) == said(before)
    )


def start_of(entry: LogEntry) -> int | None:
    uptime_us = entry.record.uptime_us
    return None if uptime_us is None else entry.time_ns - uptime_us * 1000


def test_repeats_within_one_start_are_one_chain() -> None:
    storm = [[("a", "xid/63", BOOT, 500, 0, 1, Trust.KERNEL)] * 3 for _ in range(40)]
    passage = passage_of(heard(storm))

    end = passage.quiet_until(1, NOW + 1000 * NS)

    assert end == 40
    assert [len(each.lines) for each in passage.chains(1, end)] == [117]


def test_a_line_that_was_not_decoded_is_no_line_of_a_past() -> None:
    entry = LogEntry("a", NOW, LogRecord("text"), "1", "files", Trust.KERNEL)
    with pytest.raises(TypeError, match="not decoded"):
        Packer().add(NOW, [entry])
