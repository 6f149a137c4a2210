"""What stands on a Node about its test is read as it was written, bounded, and told in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.core.decide import decide
from konduktor_health.core.invasive import wanted_tests, why_left_alone
from konduktor_health.core.invasive_note import (
    WHY_LIMIT,
    Note,
    Purpose,
    Stage,
    busy,
    in_words,
    is_testing,
    parse_note,
    render_note,
)
from konduktor_health.core.invasive_turns import interval_of, most_at_once
from konduktor_health.core.labels import AUTOPILOT, labels_after_reset, labels_for
from konduktor_health.core.ledger import Ledger
from konduktor_health.core.record import Missing
from konduktor_health.core.uninstall import plan_removal
from konduktor_health.core.wanted import wanted_probes
from konduktor_health.model import SetCondition, Verdict
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Effect
from tests.support.builders import KEYS, NOW, node, policy, snapshot
from tests.support.job_world import proving
from tests.support.ledgers import record

TIMES = st.integers(1, 4_000_000_000).map(lambda seconds: seconds * NS)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NOTES = st.builds(
    Note,
    st.sampled_from(Stage),
    TIMES,
    probes=st.lists(NAMES, max_size=5).map(lambda names: tuple(sorted(names))),
    purpose=st.sampled_from(Purpose),
    run_id=NAMES | st.just(""),
    tries=st.integers(0, 1000),
    until_ns=TIMES | st.just(0),
    why=st.text("abc ()/,-", max_size=WHY_LIMIT).map(str.strip),
)


@given(NOTES)
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    assert parse_note(render_note(note)) == note


@given(st.text(max_size=300) | st.binary(max_size=300).map(repr))
def test_anything_else_is_no_note(text: str) -> None:
    assert parse_note(text) is None


@given(st.text(max_size=2000))
def test_words_of_others_are_bounded_and_printable(why: str) -> None:
    note = parse_note(render_note(Note(Stage.WAITING, NOW, why=why)))
    assert note is not None
    assert len(note.why) <= WHY_LIMIT
    assert in_words(note).isprintable()


@pytest.mark.parametrize(
    "fields",
    [
        {"probes": ["--root=/x"]},
        {"probes": ["a b"]},
        {"probes": "invasive x"},
        {"run": "--deliver"},
    ],
    ids=str,
)
def test_what_could_be_an_option_of_a_command_is_no_name(fields: dict[str, object]) -> None:
    whole = {"state": "testing", "since": "2027-01-15T08:00:00Z", "for": "proof", "probes": []}
    assert parse_note(json.dumps(whole)) is not None
    assert parse_note(json.dumps(whole | fields)) is None


def test_pods_that_hold_gpus_are_named_in_one_order_and_not_all_of_them() -> None:
    assert busy(["b/y", "a/x"]) == busy(["a/x", "b/y"]) == "GPUs busy (pods a/x, b/y)"
    assert busy(f"n/p{n}" for n in range(9)) == "GPUs busy (pods n/p0, n/p1, n/p2 and 6 more)"


# ---------------------------------------------------------------- what is wanted


def ledger(*each: tuple[str, ...]) -> Ledger:
    records = [
        record(
            device=f"0000:{number:02x}:00",
            rule="fatal",
            reached=True,
            missing=tuple(Missing(what, NOW) for what in missing),
        )
        for number, missing in enumerate(each)
    ]
    return Ledger(records=tuple(records))


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ([("probe:invasive",)], ("invasive",)),
        ([("probe:invasive", "quiet")], ("invasive",)),
        ([("probe:gpu-memory+load",), ("probe:dcgm-3", "quiet")], ("dcgm-3", "gpu-memory")),
        ([("probe:invasive",), ("probe:dcgm-4",)], ("dcgm-4", "invasive")),
        ([("probe:invasive",), ()], ("invasive",)),
        ([("probe:invasive",), ("repair",)], ()),
        ([("probe:invasive", "probe:light")], ()),
        ([("probe:own",)], ()),
        ([()], ()),
    ],
)
def test_invasive_probes_are_wanted_once_nothing_else_is_missing(
    missing: list[tuple[str, ...]], wanted: tuple[str, ...]
) -> None:
    assert wanted_tests(ledger(*missing)) == wanted


def test_checks_of_the_site_may_be_of_the_tier() -> None:
    assert wanted_tests(ledger(("probe:own",)), frozenset({"own"})) == ("own",)


def test_what_asks_for_nothing_wants_nothing() -> None:
    shown = replace(ledger(("probe:invasive",)).records[0], acting=False)
    assert wanted_tests(Ledger(records=(shown,))) == ()


def test_an_agent_is_not_asked_for_what_jobs_do() -> None:
    view = proving("probe:dcgm-3", "probe:ping")
    found = ledger(("probe:dcgm-3", "probe:ping"))
    assert wanted_probes(view, found, policy()) == {"dcgm-3", "ping"}
    assert wanted_probes(view, found, policy(), frozenset({"dcgm-3"})) == {"ping"}


def test_an_operators_word_that_is_over_leaves_the_node_to_be_tested() -> None:
    held = proving(hold='{"until":"2027-01-15T07:00:00Z"}')
    assert why_left_alone(held, policy(), NOW) == ""
    assert "held by an operator" in why_left_alone(proving(hold="{}"), policy(), NOW)


# ---------------------------------------------------------------- what is told


def condition(testing: str | None) -> str:
    view = proving("probe:invasive", testing=testing)
    asked = snapshot([view], observed_from_ns={view.name: NOW - NS}, agents=frozenset({view.name}))
    actions = decide(asked, policy(), NOW).actions
    (told,) = [each.condition for each in actions if isinstance(each, SetCondition)]
    return told.message


def test_the_condition_says_who_holds_the_gpus() -> None:
    note = Note(Stage.WAITING, NOW, ("invasive",), why=busy(["train/a"]), tries=1, until_ns=NOW)
    assert "; waiting: GPUs busy (pods train/a)" in condition(render_note(note))
    again = replace(note, tries=2, until_ns=NOW + NS)
    assert condition(render_note(again)) == condition(render_note(note))  # waiting writes nothing


def test_the_condition_says_that_a_test_runs_or_could_not() -> None:
    running = Note(Stage.TESTING, NOW, ("invasive",), run_id="job-1")
    assert "; testing" in condition(render_note(running))
    failed = Note(Stage.FAILED, NOW, ("invasive",), why="exit code 1")
    assert "; not tested: exit code 1" in condition(render_note(failed))


def test_a_test_of_the_schedule_and_a_damaged_note_are_not_told() -> None:
    scheduled = Note(Stage.TESTING, NOW, ("invasive",), Purpose.SCHEDULE, "job-1")
    for text in (render_note(scheduled), "{", None):
        assert condition(text) == condition(None)


TESTING = render_note(Note(Stage.TESTING, NOW, ("invasive",), run_id="job-1"))
ON = policy(autopilot_labels=True)


@pytest.mark.parametrize(
    ("verdict", "effect", "label"),
    [
        (Verdict.HEALTHY, None, "TESTING"),
        (Verdict.SUSPECT, Effect.PREFER_NO_SCHEDULE, "TESTING"),
        (Verdict.RECOVERING, Effect.NO_SCHEDULE, "TESTING"),
        (Verdict.FAULTY, Effect.NO_SCHEDULE, "EVICT"),
    ],
)
def test_autopilots_readers_are_told_that_a_node_is_tested_unless_worse_is_to_be_said(
    verdict: Verdict, effect: Effect | None, label: str
) -> None:
    assert labels_for(verdict, effect, ON, testing=True)[AUTOPILOT] == label
    assert AUTOPILOT not in labels_for(verdict, effect, policy(), testing=True)


def test_a_healthy_node_is_testing_for_as_long_as_its_test_and_then_passes() -> None:
    assert labels_after_reset(node(testing=TESTING), ON) == {AUTOPILOT: "TESTING"}
    over = node(labels=((AUTOPILOT, "TESTING"),))
    assert labels_after_reset(over, ON) == {AUTOPILOT: "PASS"}
    assert labels_after_reset(over, policy()) == {}
    assert is_testing(TESTING)


def test_uninstall_takes_note_and_label_away() -> None:
    view = node(testing=TESTING, labels=((KEYS.testing, "true"), ("a", "b")))
    removal = plan_removal(view, KEYS)
    assert removal is not None
    assert removal.edit is not None
    assert removal.edit.annotations == {KEYS.testing: None}
    assert removal.edit.labels == {KEYS.testing: None}


# ---------------------------------------------------------------- how many, and when


@given(st.integers(0, 100_000), st.floats(0.1, 100), st.integers(1, 1000))
def test_at_least_one_and_never_more_than_may_be(managed: int, percent: float, most: int) -> None:
    found = most_at_once(managed, percent, most)
    assert 1 <= found <= most
    assert found <= managed * percent / 100 + 1


@given(st.text(max_size=36), st.integers(0, 4_000_000_000), st.floats(60, 1e6))
def test_an_interval_ends_once_in_its_length(uid: str, now_s: int, length_s: float) -> None:
    now_ns = now_s * NS
    later_ns = now_ns + int(length_s * NS)
    assert interval_of(uid, later_ns, length_s) - interval_of(uid, now_ns, length_s) in (0, 1, 2)
    assert interval_of(uid, now_ns + 1, length_s) >= interval_of(uid, now_ns, length_s)
