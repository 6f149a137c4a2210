"""Autopilot's label says what ours says, to those who read that one; only where it is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.labels import (
    AUTOPILOT,
    labels_after_reset,
    labels_due,
    labels_for,
)
from konduktor_health.model import Verdict
from konduktor_health.treatment import Effect
from tests.support.builders import KEYS, node, policy

ON = policy(autopilot_labels=True)


@pytest.mark.parametrize(
    ("verdict", "effect", "label"),
    [
        (Verdict.FAULTY, Effect.NO_SCHEDULE, "EVICT"),
        (Verdict.FAULTY, Effect.NO_EXECUTE, "EVICT"),
        (Verdict.SUSPECT, Effect.NO_SCHEDULE, "EVICT"),
        (Verdict.UNOBSERVED, Effect.NO_SCHEDULE, "EVICT"),
        (Verdict.FAULTY, None, "WARN"),
        (Verdict.FAULTY, Effect.PREFER_NO_SCHEDULE, "WARN"),
        (Verdict.SUSPECT, None, "WARN"),
        (Verdict.SUSPECT, Effect.LABEL, "WARN"),
        (Verdict.RECOVERING, Effect.NO_SCHEDULE, "TESTING"),
        (Verdict.RECOVERING, None, "TESTING"),
        (Verdict.HEALTHY, None, "PASS"),
    ],
)
def test_the_label_of_each_verdict(verdict: Verdict, effect: Effect | None, label: str) -> None:
    assert labels_for(verdict, effect, ON)[AUTOPILOT] == label


def test_a_node_that_is_not_observed_keeps_its_label() -> None:
    assert AUTOPILOT not in labels_for(Verdict.UNOBSERVED, None, ON)


def test_nothing_is_left_where_nothing_is_to_be_said() -> None:
    assert labels_for(None, None, ON) == {KEYS.health: None, AUTOPILOT: None}


@given(st.sampled_from([None, *Verdict]), st.sampled_from([None, *Effect]))
def test_without_the_policy_only_our_own_label_is_written(
    verdict: Verdict | None, effect: Effect | None
) -> None:
    labels = labels_for(verdict, effect, policy())
    told = None if verdict in (None, Verdict.HEALTHY) else verdict.value
    assert labels == {KEYS.health: told}


@given(st.sampled_from([None, *Verdict]), st.sampled_from([None, *Effect]))
def test_a_node_that_carries_its_labels_needs_no_write(
    verdict: Verdict | None, effect: Effect | None
) -> None:
    wanted = labels_for(verdict, effect, ON)
    pairs = tuple((key, value) for key, value in wanted.items() if key == AUTOPILOT and value)
    view = node(health_label=wanted[KEYS.health], labels=pairs)
    assert not labels_due(view, wanted, ON)
    assert labels_due(node(health_label="odd"), wanted, ON)


@pytest.mark.parametrize(
    ("told", "reset_at", "ledger", "due"),
    [
        ("EVICT", "2027-01-15T08:00:00Z", None, True),
        ("TESTING", "2027-01-15T08:00:00Z", None, True),
        ("PASS", "2027-01-15T08:00:00Z", None, False),
        ("EVICT", None, None, False),
        ("EVICT", "2027-01-15T08:00:00Z", "{}", False),
    ],
)
def test_a_reset_takes_back_what_was_told(
    told: str, reset_at: str | None, ledger: str | None, due: bool
) -> None:
    view = node(labels=((AUTOPILOT, told),), reset_at=reset_at, ledger=ledger)
    assert labels_after_reset(view, ON) == ({AUTOPILOT: "PASS"} if due else {})
    assert labels_after_reset(view, policy()) == {}
