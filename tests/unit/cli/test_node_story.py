"""What do ``status`` and ``explain NODE`` make of a Node? Without a cluster."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from konduktor_health.cli.node_explained import node_rows, render_story, story_as_json
from konduktor_health.cli.node_json import as_json
from konduktor_health.cli.node_story import tell
from konduktor_health.cli.record_explained import record_rows
from konduktor_health.core.ledger import Ledger, Past, Record, parse, render
from konduktor_health.core.reasons import MEANINGS
from konduktor_health.core.record import Missing, Passes
from konduktor_health.model import Condition, HoldReason, NodeView, Remedy, Severity, Taint, Verdict
from konduktor_health.timestamps import NS
from konduktor_health.treatment import ClearRule, ProbeNeed, Repair, Rule, Treatment
from parsers import catalog
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, OTHER_BOOT, OUR_TAINT, node, policy
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
    assert "nothing: the node carries neither our taint nor an open record" in printed(node())


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
    rows = dict(record_rows(story, story.courses[0], catalog.entry("xid/79"), NOW))
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
    rows = dict(record_rows(story, story.courses[0], None, NOW))
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
    assert as_json(tell(node(), KEYS)).keys() == full.keys() - {"measured"}  # explain's alone
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
    hostile = record(
        device,
        device=device,
        text=text,
        why=why,
        source=why,
        acting=bool(len(why) % 2),
        rule=why,
        effect=text,
        root=device,
        missing=(Missing(text, NOW), Missing(f"probe:{why}", NOW)),
        passes=(Passes(device, 1, NOW),),
    )
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
    rows = dict(record_rows(story, story.courses[0], None, NOW))
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


# ---------------------------------------------------------------- on its way to be cleared

HOUR = 3600 * NS
MISSING = (
    Missing("repair", NOW - HOUR),
    Missing("probe:light", NOW - HOUR),
    Missing("quiet", NOW - 60 * NS),
)
PROVING = record(
    remedy=Remedy.RESET_GPU,
    rule="fatal",
    reached=True,
    effect="NoSchedule",
    last_ns=NOW - HOUR,
    episodes=((NOW - 2 * HOUR, "a", NOW - 2 * HOUR), (NOW - HOUR, "b", NOW - HOUR)),
    repairs=((Repair.GPU_RESET, NOW - 600 * NS),),
    passes=(Passes("light", 2, NOW - 30 * NS),),
    missing=MISSING[1:],
    attempts=1,
    flaps=2,
    root="xid/74|0000:3b:00",
)


def rows_of(each: Record) -> list[tuple[str, str]]:
    story = tell(sick(each), KEYS, NOW)
    return list(record_rows(story, story.courses[0], None, NOW))


def test_an_open_record_says_what_is_missing_since_when_and_what_is_next() -> None:
    opened = record(rule="fatal", reached=True, effect="NoSchedule", missing=MISSING[:1])
    told = dict(rows_of(opened))
    assert told["state"].startswith("open: it asks for an effect; the repair")
    assert (told["rule"], told["effect"]) == ("fatal", "NoSchedule, granted")
    assert told["missing"] == (
        "a repair: a new boot or the event that ends it, "
        "waited for since 2027-01-15T07:00:00Z (1h ago)"
    )
    assert told["step"] == "reboot; if it does not hold: power_cycle"


def test_a_repaired_record_says_what_was_seen_and_how_much_is_needed() -> None:
    rows = rows_of(PROVING)
    told = dict(rows)
    assert [text for name, text in rows if name == "missing"] == [
        "passes of probe light: 2 of 3, waited for since 2027-01-15T07:00:00Z (1h ago)",
        (
            "40m without the fault while the node is observed, "
            "waited for since 2027-01-15T07:59:00Z (1m ago)"
        ),
    ]
    assert told["repair"] == "gpu-reset, seen 2027-01-15T07:50:00Z (10m ago)"
    assert told["probe"].startswith("light: passed 2 of 3 times in a row, newest run ")
    assert told["step"] == "reboot; if it does not hold: power_cycle; 1 repair did not hold"
    assert told["count"] == "3, in 2 episodes"
    assert told["follows"] == "xid/74 on 0000:3b:00"
    assert told["came back"].startswith("2 times")
    assert "goes once this is seen: passes of probe light: 2 of 3; 40m without" in " ".join(
        printed(sick(PROVING)).split()
    )


def test_a_reboot_is_a_repair_that_was_seen() -> None:
    rebooted = replace(PROVING, boot_id=OTHER_BOOT, repairs=())
    view = sick(rebooted)
    ledger = replace(parse(view.ledger or ""), noticed_ns=NOW - 300 * NS)
    (told,) = as_json(tell(replace(view, ledger=render(ledger)), KEYS, NOW))["records"]
    assert told["repairs"] == [{"repair": "boot", "time": "2027-01-15T07:55:00.000000Z"}]
    assert told["awaits"][1]["not_before"] == "2027-01-15T08:35:00.000000Z"


def test_a_rule_that_is_not_read_here_leaves_open_how_much_is_needed() -> None:
    rows = rows_of(replace(PROVING, rule="of the site", missing=MISSING))
    told = dict(rows)
    assert told["rule"] == "of the site, not in the policy read here"
    assert [text.split(",")[0] for name, text in rows if name == "missing"] == [
        "a repair: reboot",
        "passes of probe light: 2",
        "quiet",
    ]
    site = Rule("of the site", treatment=Treatment(clear=ClearRule(probes=(ProbeNeed("light"),))))
    story = tell(sick(replace(PROVING, rule="of the site")), KEYS, NOW, policy(rules=(site,)))
    (proof,) = story.courses[0].proofs
    assert (proof.passed, proof.needed) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"rule": "fatal"}, "no agent on the node could prove it"),
        ({"rule": "fatal", "attempts": 9}, "inspect is due, which only a person can do"),
        ({"rule": "gone"}, "its rule, its ladder, or a node without an agent"),
    ],
)
def test_who_waits_for_a_person_is_told_why(fields: dict[str, Any], why: str) -> None:
    waiting = record(reached=True, missing=(Missing("operator", NOW - HOUR),), **fields)
    told = as_json(tell(sick(waiting), KEYS, NOW))
    assert told["records"][0]["state"] == "waiting for a person"
    assert told["records"][0]["awaits"][0]["text"].endswith(why)
    assert told["clears_itself"] is False
    assert told["stays_because"] == ["xid/79 on 0000:3b:00 waits for an operator's word: " + why]


def test_what_can_go_without_a_person_is_told_so() -> None:
    told = as_json(tell(sick(PROVING), KEYS, NOW))
    assert (told["clears_itself"], told["stays_because"]) == (True, [])
    assert told["missing"] == ["konduktor-health reset gpu-1"]
    assert told["records"][0]["awaits"][1]["not_before"] == "2027-01-15T08:30:00.000000Z"
    for stuck in (
        sick(PROVING, hold="2999-01-02T03:04:05Z"),
        sick(PROVING, managed_label="false"),
        sick(PROVING, owned=()),
        sick(),
        node(ledger="{"),
    ):
        assert as_json(tell(stuck, KEYS, NOW))["clears_itself"] is False
    assert as_json(tell(node(), KEYS, NOW))["clears_itself"] is None


def test_a_record_that_asks_for_nothing_fades() -> None:
    shown = record(
        "xid/13", severity=Severity.APPLICATION, rule="application-is-verified", remedy=Remedy.NONE
    )
    told = dict(rows_of(replace(shown, why="ObservedByPolicy")))
    assert told["acting"].startswith("not yet: ObservedByPolicy: a rule of the policy observes")
    assert told["fades"] == "after 1d without it while the node is observed"
    assert "step" not in told
    view = sick(shown, owned=(), taints=())
    assert "by itself" in printed(view)
    assert "fades away after 1d" in printed(view)


def test_what_was_cleared_is_told_and_is_nothing_to_clear() -> None:
    past = Past("0000:3b:00", "xid/79", NOW - 3 * HOUR, NOW - HOUR, repaired_ns=NOW - 2 * HOUR)
    past = replace(past, times=2, attempts=1, count=5)
    view = node(ledger=render(Ledger(uid="uid-gpu-1", history=(past,))))
    text = " ".join(printed(view).split())
    assert (
        "xid/79 on 0000:3b:00: cleared 2027-01-15T07:00:00Z (1h ago), 2 times in all; "
        "repaired 2027-01-15T06:00:00Z (2h ago); 1 repair did not hold; last seen "
        "2027-01-15T05:00:00Z (3h ago), 5 lines" in text
    )
    told = as_json(tell(view, KEYS, NOW))
    assert (told["missing"], told["clears_itself"]) == ([], None)
    assert told["history"][0]["times"] == 2


def test_every_field_of_what_is_nested_is_documented_too() -> None:
    page = (DOCS / "reference/node-json.md").read_text()
    past = Past("", "xid/79", NOW, NOW)
    ledger = Ledger(uid="uid-gpu-1", records=(PROVING,), history=(past,))
    told = as_json(tell(node(ledger=render(ledger)), KEYS, NOW))
    (each,) = told["records"]
    nested = (*each["awaits"], *each["repairs"], *each["probes"], each["follows"], *told["history"])
    for name in {name for part in nested for name in part}:
        assert f"`{name}`" in page, name
