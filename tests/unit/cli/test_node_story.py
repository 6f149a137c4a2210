"""What do ``status`` and ``explain NODE`` make of a Node? Without a cluster."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from konduktor_health.cli.node_explained import node_rows, record_rows, render_story, story_as_json
from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_story import tell
from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.reasons import MEANINGS
from konduktor_health.model import Condition, HoldReason, NodeView, Remedy, Severity, Taint, Verdict
from konduktor_health.timestamps import NS
from parsers import catalog
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, OTHER_BOOT, OUR_TAINT, node
from tests.support.ledgers import record, sick

DOCS = Path(__file__).parents[3] / "docs"


def texts(view: NodeView) -> dict[str, str]:
    return dict(node_rows(tell(view, KEYS), NOW))


def printed(view: NodeView) -> str:
    stream = io.StringIO()
    render_story(tell(view, KEYS), catalog.entry, NOW, Console(file=stream, width=100))
    return stream.getvalue()


def test_a_node_without_anything_of_ours_is_healthy_and_lacks_nothing() -> None:
    story = tell(node(), KEYS)
    assert (story.healthy, story.verdict, story.unmanaged) == (True, Verdict.HEALTHY, "")
    assert as_json(story)["missing"] == []
    assert "nothing: the node carries neither our taint nor a ledger" in printed(node())


def test_the_controllers_label_is_the_verdict() -> None:
    assert tell(sick(record(), health_label="recovering"), KEYS).verdict is Verdict.RECOVERING


@pytest.mark.parametrize("label", [None, "healthy", "banana", "\x1b"])
def test_without_a_label_of_ours_the_verdict_follows_from_the_ledger(label: str | None) -> None:
    assert tell(sick(record(), health_label=label), KEYS).verdict is Verdict.FAULTY


def test_a_taint_that_no_ledger_owns_is_adopted() -> None:
    other = Taint(KEYS.taint, "", "PreferNoSchedule")
    story = tell(sick(record(), taints=(OUR_TAINT, other, FOREIGN_TAINT)), KEYS)
    assert [(each.taint.effect, each.adopted) for each in story.ours] == [
        ("NoSchedule", False),
        ("PreferNoSchedule", True),
    ]
    assert story.foreign == (FOREIGN_TAINT,)
    bare = tell(node(taints=(OUR_TAINT,)), KEYS)
    assert (bare.ours[0].adopted, bare.verdict) == (True, Verdict.SUSPECT)
    assert as_json(bare)["missing"] == ["konduktor-health reset gpu-1"]


def test_a_ledger_that_cannot_be_read_is_never_healthy_and_says_why() -> None:
    view = node(ledger="{nonsense")
    story = tell(view, KEYS)
    assert (story.corrupt, story.healthy, story.verdict) == (True, False, Verdict.SUSPECT)
    assert story.held is HoldReason.LEDGER_CORRUPT
    assert texts(view)["ledger"].startswith("cannot be read: ledger: Expecting property name")
    tainted = replace(view, taints=(OUR_TAINT,))
    assert texts(tainted)["taint"].endswith("adopted: whether we set it cannot be read")


def test_the_ledger_of_another_node_object_counts_as_none() -> None:
    view = sick(record(), uid="uid-new", taints=())
    story = tell(view, KEYS)
    assert (story.ledger_state, story.ledger.records, story.healthy) == ("stale", (), True)
    assert "counts as none" in texts(view)["ledger"]


def test_what_is_held_is_told_with_its_meaning_and_its_end() -> None:
    condition = Condition("False", "BudgetExhausted", "xid/79; not tainted")
    view = sick(record(), taints=(), owned=(), condition=condition)
    assert tell(view, KEYS).held is HoldReason.BUDGET
    assert texts(view)["held"] == (
        "BudgetExhausted: as many nodes are tainted as may be; "
        "ends: when the fleet changes and there is room"
    )


def test_a_condition_that_outlives_the_damage_holds_nothing() -> None:
    condition = Condition("Unknown", "LedgerCorrupt", "")
    assert tell(sick(record(), condition=condition), KEYS).held is None


def test_who_is_not_managed_is_told_why() -> None:
    opted = tell(node(managed_label="false"), KEYS)
    assert opted.unmanaged == "label trainy.konduktor.ai/managed=false opts it out"
    plain = tell(node(gpu_capacity=0, selected=False), KEYS)
    assert plain.unmanaged.startswith("no GPU capacity, ")
    assert as_json(plain)["managed"] is False


def test_a_record_has_its_meaning_its_evidence_and_what_to_do() -> None:
    story = tell(sick(record()), KEYS)
    rows = dict(record_rows(story, story.ledger.records[0], catalog.entry("xid/79"), NOW))
    assert rows["meaning"].startswith("GPU no longer answers on PCIe")
    assert rows["acting"] == "yes"
    assert rows["first seen"].endswith("(1h ago)")
    assert rows["evidence"].endswith("GPU has fallen off the bus.")
    assert rows["do"]
    assert rows["look at"]
    assert rows["boot"] == "the present one"


def test_a_record_that_never_acts_says_why_and_one_of_an_earlier_boot_which() -> None:
    shown = record(acting=False, why="InObservation", boot_id=OTHER_BOOT, injected=True)
    story = tell(sick(shown, owned=(), taints=()), KEYS)
    rows = dict(record_rows(story, story.ledger.records[0], None, NOW))
    assert rows["acting"].startswith("no: InObservation: the fault is in observation")
    assert rows["boot"] == f"{OTHER_BOOT}, not the present one"
    assert rows["meaning"] == "the catalog does not know it"
    assert "injected" in rows


def test_reset_reboot_and_removal_are_told() -> None:
    ledger = Ledger(
        uid="uid-gpu-1", removed_ns=NOW - NS, rebooted_ns=NOW - 90 * NS, noticed_ns=NOW - 60 * NS
    )
    view = node(ledger=render(ledger), reset_at="2026-01-02T03:04:05Z", unschedulable=True)
    told = texts(view)
    assert told["reset at"].startswith("2026-01-02T03:04:05Z")
    assert told["last reboot"].endswith("(1m ago)")
    assert told["taint removed"].endswith("by somebody else")
    assert told["cordoned"] == "yes, not by us"
    assert "cannot be read" in texts(node(reset_at="yesterday"))["reset at"]


def test_the_whole_story_is_printed_worst_first_and_ends_with_what_is_missing() -> None:
    lesser = record("xid/13", severity=Severity.APPLICATION, remedy=Remedy.NONE, device="")
    text = printed(sick(lesser, record()))  # somebody has edited the annotation
    assert text.startswith("gpu-1  faulty\n")
    assert text.index("\nxid/79  on 0000:3b:00\n") < text.index("\nxid/13  on the node\n")
    assert text.index("before the taint can go") > text.index("xid/13")
    assert "then says so: konduktor-health reset gpu-1" in text


def test_json_has_every_field_always_and_what_the_catalog_knows() -> None:
    full = story_as_json(tell(sick(record(), record("odd/thing")), KEYS), catalog.entry)
    assert as_json(tell(node(), KEYS)).keys() == full.keys()
    known = {each["fault_id"]: each["known"] for each in full["records"]}
    assert known["xid/79"]["meaning"].startswith("GPU no longer answers")
    assert known["odd/thing"] is None
    assert full["records"][0]["first_seen"] == "2027-01-15T07:00:00.000000Z"


def test_every_field_of_the_json_form_is_documented() -> None:
    page = (DOCS / "reference/node-json.md").read_text()
    whole = story_as_json(tell(sick(record()), KEYS), catalog.entry)
    names = [*whole, *whole["ledger"], *whole["records"][0], *whole["records"][0]["known"]]
    for name in names:
        assert f"`{name}`" in page, name


def test_every_hold_reason_is_worded_as_its_page_words_it() -> None:
    page = re.sub(r"`", "", (DOCS / "reference/hold-reasons.md").read_text())
    for reason in HoldReason:
        row = next(line for line in page.splitlines() if line.startswith(f"| {reason.value} |"))
        begins = MEANINGS[reason].text.rstrip(")")  # the page says more within the brackets
        assert f"| {begins}" in row, reason
        assert f"| {MEANINGS[reason].ends} |" in row, reason


TEXT = st.text(st.characters(), max_size=60)


@given(TEXT, TEXT, TEXT, st.one_of(st.none(), TEXT), st.one_of(st.none(), TEXT))
def test_no_text_of_a_node_reaches_the_terminal_as_it_is(
    device: str, text: str, why: str, raw: str | None, reset_at: str | None
) -> None:
    hostile = record(device, device=device, text=text, why=why, source=why, acting=False)
    view = sick(
        hostile,
        taints=(OUR_TAINT, Taint(device or "x", text, why)),
        condition=Condition(device, why, text),
        reset_at=reset_at,
        health_label=raw,
    )
    for each in (view, replace(view, ledger=raw)):
        shown = printed(each)
        assert all(c.isprintable() or c == "\n" for c in shown)
        story_as_json(tell(each, KEYS), catalog.entry)


def test_markup_of_a_line_stays_text() -> None:
    assert "[bold]x[/bold] [red" in printed(sick(record(text="[bold]x[/bold] [red")))


@given(st.integers(0, 2**63 - 1))
def test_times_that_no_calendar_has_are_unknown_not_an_error(time_ns: int) -> None:
    odd = record(first_ns=time_ns, last_ns=time_ns)
    view = sick(odd)
    assert printed(view)
    assert printed(replace(view, reset_at='{"time": "9999-12-31T23:59:59Z"}'))


# ---------------------------------------------------------------- what an operator said


OWN = record("operator/taint", device="", source="operator", text="fan rattles")


def test_an_operators_taint_is_told_as_such_and_release_takes_it_back() -> None:
    story = tell(sick(OWN), KEYS)
    rows = dict(record_rows(story, story.ledger.records[0], None, NOW))
    assert rows["meaning"].startswith("an operator's own word (konduktor-health taint)")
    assert rows["evidence"] == "fan rattles"
    told = as_json(story)
    assert [each["operator"] for each in told["records"]] == [True]
    assert told["missing"] == ["konduktor-health release gpu-1"]
    assert "takes the taint back: konduktor-health release gpu-1" in printed(sick(OWN))
    assert "reset" not in printed(sick(OWN))


def test_beside_a_fault_both_are_missing() -> None:
    view = sick(OWN, record())
    both = ["konduktor-health release gpu-1", "konduktor-health reset gpu-1"]
    assert as_json(tell(view, KEYS))["missing"] == both
    for command in both:
        assert command in printed(view)
    adopted = replace(sick(OWN), taints=(OUR_TAINT, Taint(KEYS.taint, "", "NoExecute")))
    assert as_json(tell(adopted, KEYS))["missing"] == both


def test_a_declaration_is_told_with_whether_it_is_in_force() -> None:
    hold = '{"since":"2027-01-15T07:00:00Z","until":"2027-01-15T09:00:00Z","reason":"cable"}'
    view = node(hold=hold, maintenance="2020-01-02T03:04:05Z")
    story = tell(view, KEYS, NOW)
    assert (story.healthy, story.notable, story.on_hold, story.in_maintenance) == (
        True,
        True,
        True,
        False,
    )
    assert as_json(story)["hold"] == {
        "in_force": True,
        "since": "2027-01-15T07:00:00.000000Z",
        "until": "2027-01-15T09:00:00.000000Z",
        "reason": "cable",
    }
    rows = dict(node_rows(story, NOW))
    assert rows["hold"] == (
        "until 2027-01-15T09:00:00Z: cable; declared 2027-01-15T07:00:00Z (1h ago)"
    )
    assert rows["maintenance"] == "not in force: until 2020-01-02T03:04:05Z"
    assert not tell(view, KEYS, NOW + 7200 * NS).notable
    assert as_json(tell(node(hold="soon"), KEYS, NOW))["hold"]["until"] is None


def test_an_opted_out_node_is_told_in_json() -> None:
    assert as_json(tell(node(managed_label="false"), KEYS))["opted_out"] is True
    assert as_json(tell(node(), KEYS))["opted_out"] is False
