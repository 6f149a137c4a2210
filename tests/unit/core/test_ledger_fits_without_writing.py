"""A ledger is only written out to be measured where it may be too large."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from konduktor_health.core import ledger as written
from konduktor_health.core.ledger_json import dumps, to_json
from konduktor_health.core.record import Ledger, Missing, Passes, Past, Record
from konduktor_health.model import Remedy, Severity, Trust
from konduktor_health.treatment import Repair

times = st.integers(0, 2**63 - 1)
texts = st.text(max_size=40)
pairs = st.lists(st.tuples(texts, st.just('"x"')), max_size=2, unique_by=lambda p: p[0]).map(tuple)
places = st.lists(st.lists(st.tuples(texts, texts), max_size=2).map(tuple), max_size=3).map(tuple)
records = st.builds(
    Record,
    device=texts,
    fault_id=texts,
    severity=st.sampled_from(Severity),
    remedy=st.sampled_from(Remedy),
    first_ns=times,
    last_ns=times,
    count=times,
    log_ns=times,
    uptime_us=st.none() | times,
    boot_id=texts,
    identity=texts,
    acting=st.booleans(),
    why=texts,
    injected=st.booleans(),
    trust=st.sampled_from(Trust),
    source=texts,
    text=texts,
    rule=texts,
    reached=st.booleans(),
    effect=texts,
    episodes=st.lists(st.tuples(times, texts, times), max_size=16).map(tuple),
    places=places,
    repairs=st.lists(st.tuples(st.sampled_from(Repair), times), max_size=4).map(tuple),
    passes=st.lists(st.builds(Passes, texts, times, times, times), max_size=3).map(tuple),
    missing=st.lists(st.builds(Missing, texts, times), max_size=3).map(tuple),
    attempts=times,
    flaps=times,
    root=texts,
    extra=pairs,
)
pasts = st.builds(
    Past,
    device=texts,
    fault_id=texts,
    last_ns=times,
    cleared_ns=times,
    log_ns=times,
    uptime_us=st.none() | times,
    boot_id=texts,
    identity=texts,
    repaired_ns=times,
    times=times,
    attempts=times,
    count=times,
    shown=st.booleans(),
)
ledgers = st.builds(
    Ledger,
    uid=texts,
    boot_id=texts,
    written_ns=times,
    since_ns=times,
    owned=st.lists(texts, max_size=3).map(tuple),
    records=st.lists(records, max_size=3).map(tuple),
    history=st.lists(pasts, max_size=3).map(tuple),
    soft=st.booleans(),
    extra=pairs,
)


@settings(max_examples=150, deadline=None)
@given(ledgers)
def test_no_ledger_is_larger_than_it_is_taken_for(ledger: Ledger) -> None:
    assert len(dumps(to_json(ledger))) <= written._at_most(ledger)


def test_nor_is_a_long_history_of_the_largest_numbers() -> None:
    most = 2**63 - 1
    past = Past("", "", most, most, most, most, "", "", most, most, most, most, True)
    ledger = Ledger(history=(past,) * 60)

    assert len(dumps(to_json(ledger))) <= written._at_most(ledger)


def test_nor_is_a_long_list_that_somebody_else_has_written() -> None:
    ledger = Ledger(owned=("",) * 1000)

    assert len(dumps(to_json(ledger))) <= written._at_most(ledger)
