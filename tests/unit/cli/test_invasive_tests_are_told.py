"""``status`` and ``explain`` say where a node is on its way to an invasive test."""

from __future__ import annotations

import io

from rich.console import Console

from konduktor_health.cli.node_explained import render_story
from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_story import tell
from konduktor_health.cli.status_rows import Choice, fleet_as_json, rows, shown, sums_text, survey
from konduktor_health.core.invasive_note import Note, Purpose, Stage, busy, render_note
from konduktor_health.model import NodeView, Policy
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, node
from tests.support.job_world import proving

WAITING = Note(
    Stage.WAITING,
    NOW - 3600 * NS,
    ("invasive",),
    tries=3,
    until_ns=NOW + 240 * NS,
    why=busy(["train/a"]),
)


def explained(view: NodeView) -> str:
    text = io.StringIO()
    console = Console(file=text, width=200)
    render_story(tell(view, KEYS, NOW, Policy()), lambda _fault: None, NOW, console)
    return text.getvalue()


def test_explain_says_what_is_waited_for_since_when_and_when_it_is_tried_again() -> None:
    text = explained(proving("probe:invasive", testing=render_note(WAITING)))
    assert "waiting: GPUs busy (pods train/a) (since 2027-01-15T07:00:00Z (1h ago))" in text
    assert "not tried again before 2027-01-15T08:04:00Z; 3 in a row without proof" in text
    assert "passes of probe invasive: 0 of 1; waiting: GPUs busy (pods train/a)" in text


def test_other_proof_that_is_missing_has_nothing_to_do_with_it() -> None:
    text = explained(proving("probe:light", testing=render_note(WAITING)))
    assert "passes of probe light: 0 of 3\n" in text.replace(", waited", "\n")


def test_json_has_the_note_and_null_without_one() -> None:
    story = tell(proving("probe:invasive", testing=render_note(WAITING)), KEYS, NOW, Policy())
    assert as_json(story)["test"] == {
        "state": "waiting",
        "since": "2027-01-15T07:00:00.000000Z",
        "for": "proof",
        "probes": ["invasive"],
        "run": None,
        "tries": 3,
        "not_before": "2027-01-15T08:04:00.000000Z",
        "why": "GPUs busy (pods train/a)",
    }
    assert as_json(tell(node(), KEYS, NOW, Policy()))["test"] is None
    assert as_json(tell(node(testing="{"), KEYS, NOW, Policy()))["test"] is None


def test_status_shows_a_healthy_node_that_is_tested_and_counts_it() -> None:
    note = Note(Stage.TESTING, NOW, ("invasive",), Purpose.SCHEDULE, "job-1")
    views = (node("gpu-1", testing=render_note(note)), node("gpu-2"))
    fleet = survey(views, Policy(), NOW)
    (row,) = rows(shown(fleet, Choice()), str)
    assert (row[0], row[-1]) == ("gpu-1", "invasive test: testing")
    assert "; 1 testing" in sums_text(fleet.sums)
    assert fleet_as_json(fleet, ())["summary"]["testing"] == 1
