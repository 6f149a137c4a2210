"""The ledger annotation: bounded, versioned, and damage is told apart from emptiness."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core.ledger import (
    MAX_BYTES,
    CorruptLedger,
    Ledger,
    Past,
    Record,
    parse,
    render,
    written,
)
from konduktor_health.core.record import Missing, Passes
from konduktor_health.core.reset import ResetAt, parse_reset_at, render_reset_at
from konduktor_health.model import Remedy, Severity, Trust
from konduktor_health.treatment import Repair
from tests.support import ledgers

TIMES = st.integers(0, 2**62)
RECORDS = st.builds(
    Record,
    device=st.text(max_size=20),
    fault_id=st.text(max_size=30),
    severity=st.sampled_from(list(Severity)),
    remedy=st.sampled_from(list(Remedy)),
    first_ns=TIMES,
    last_ns=TIMES,
    count=st.integers(1, 10**9),
    log_ns=TIMES,
    uptime_us=st.none() | st.integers(0, 2**50),
    boot_id=st.text(max_size=32),
    identity=st.text(max_size=32),
    injected=st.booleans(),
    trust=st.sampled_from(list(Trust)),
    source=st.text(max_size=20),
    text=st.text(max_size=200),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=4), st.integers(0, 2**62), st.integers(0, 2**62))
def test_what_was_written_is_read_again(records: list[Record], tainted: int, removed: int) -> None:
    ledger = Ledger("uid", "boot", 1, 2, ("NoSchedule",), tainted, removed)
    for record in records:
        ledger = ledger.with_record(record)
    assert parse(render(ledger)) == ledger


def crowded(ledger: Ledger) -> Ledger:
    """The ledger with 200 records, more than fit, one in twenty of them fatal."""
    for n in range(200):
        fatal = n % 20 == 0
        ledger = ledger.with_record(
            Record(
                device=f"0000:{n:02x}:00",
                fault_id="xid/79",
                severity=Severity.FATAL if fatal else Severity.INFO,
                remedy=Remedy.NONE,
                first_ns=n,
                last_ns=n,
                count=1,
                text="\u202e" * 200,
            )
        )
    return ledger


def test_ledger_is_bounded_and_the_least_severe_go_first() -> None:
    text = render(crowded(Ledger()))
    kept = parse(text)
    assert len(text.encode()) <= MAX_BYTES
    assert kept.dropped == 200 - len(kept.records) > 0
    assert sum(record.severity is Severity.FATAL for record in kept.records) == 10


def test_records_that_were_left_out_and_are_seen_again_count_once() -> None:
    kept = parse(render(crowded(Ledger())))
    assert parse(render(crowded(kept))) == kept


@settings(max_examples=200, deadline=None)
@given(st.text() | st.from_regex(r'\{"v":1,.*\}', fullmatch=True))
def test_damage_is_a_corrupt_ledger_and_nothing_else(text: str) -> None:
    with contextlib.suppress(CorruptLedger):
        parse(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"v":2,"records":[]}', '{"v":1}', "[" * 100_000])
def test_what_is_not_version_one_is_corrupt(text: str) -> None:
    with pytest.raises(CorruptLedger):
        parse(text)


@given(st.integers(0, 4_000_000_000_000_000).map(lambda us: us * 1000), st.none() | st.integers(0))
def test_reset_at_round_trips(time_ns: int, uptime: int | None) -> None:
    before = ResetAt(time_ns, "boot", uptime, 7, ("xid/79|0000:3b:00",))
    mark = ResetAt(time_ns, "boot", uptime, 8, (), (before,))
    assert parse_reset_at(render_reset_at(mark)) == mark


@given(st.text())
def test_odd_reset_at_is_none_or_a_time(text: str) -> None:
    assert parse_reset_at(text) is None or isinstance(parse_reset_at(text), ResetAt)


def test_owned_as_a_text_is_damage_and_no_removal_by_hand() -> None:
    data = json.loads(ledgers.sick(ledgers.record()).ledger or "")
    with pytest.raises(CorruptLedger):
        parse(json.dumps(data | {"owned": "NoSchedule"}))


def test_a_count_as_high_as_there_is_can_be_raised_and_read() -> None:
    most = ledgers.record(count=2**63 - 1, attempts=2**63 - 1)
    raised = replace(most, count=most.count + 1, attempts=most.attempts + 1)
    (its,) = parse(render(Ledger(records=(raised,)))).records
    assert (its.count, its.attempts) == (most.count, most.attempts)


NAMES = st.text(max_size=12)
WHOLE_RECORDS = st.builds(
    replace,
    RECORDS,
    acting=st.booleans(),
    why=NAMES,
    rule=NAMES,
    reached=st.booleans(),
    effect=NAMES,
    episodes=st.lists(st.tuples(TIMES, NAMES, TIMES), max_size=3).map(tuple),
    places=st.lists(st.dictionaries(NAMES, NAMES, max_size=2).map(lambda d: tuple(d.items()))).map(
        tuple
    ),
    repairs=st.dictionaries(st.sampled_from(list(Repair)), TIMES).map(lambda d: tuple(d.items())),
    passes=st.lists(
        st.builds(Passes, NAMES, TIMES, TIMES, TIMES), max_size=3, unique_by=lambda each: each.name
    ).map(tuple),
    missing=st.dictionaries(NAMES, TIMES, max_size=3).map(
        lambda d: tuple(Missing(*each) for each in d.items())
    ),
    attempts=TIMES,
    flaps=TIMES,
    root=NAMES,
    guessed=st.booleans(),
)
PASTS = st.builds(
    Past,
    NAMES,
    NAMES,
    TIMES,
    TIMES,
    TIMES,
    st.none() | TIMES,
    NAMES,
    NAMES,
    TIMES,
    TIMES,
    TIMES,
    TIMES,
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(WHOLE_RECORDS, max_size=3),
    st.lists(PASTS, max_size=40),
    st.tuples(NAMES, NAMES),
    st.booleans(),
)
def test_a_text_that_was_just_written_says_what_it_says_when_it_is_read(
    records: list[Record], history: list[Past], names: tuple[str, str], soft: bool
) -> None:
    ledger = Ledger(*names, 1, 2, ("NoSchedule",), soft=soft, history=tuple(history))
    for record in records:
        ledger = ledger.with_record(record)

    text = written(ledger)

    assert text == render(ledger)
    assert parse(text) == parse(str(text))
