"""A fault that repeats rewrites neither condition nor Event; a full ledger rests."""

from __future__ import annotations

import json

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import MAX_BYTES, CorruptLedger, parse, render
from konduktor_health.model import (
    EditNode,
    NodeView,
    PublishEvent,
    SetCondition,
    Severity,
    Sighting,
)
from konduktor_health.timestamps import NS
from tests.support.builders import KEYS, NOW, after, edits, fault, node, policy, sighting, snapshot

EFFECTS = (EditNode, SetCondition, PublishEvent)


def repeat(n: int, **fields: object) -> Sighting:
    """The n-th repeat, one a second, from another process each time."""
    values = {
        "time_ns": NOW + n * NS,
        "event_ns": NOW + n * NS,
        "uptime_us": 10**9 + n * 10**6,
        "identity": f"line-{n}",
        "text": f"NVRM: Xid (PCI:0000:3b:00): 79, pid={n}, name=job-{n}",
    }
    return sighting(fault(**(values | fields)))  # type: ignore[arg-type]


def settled(view: NodeView, seen: list[Sighting], now_ns: int = NOW) -> NodeView:
    return after(view, decide(snapshot([view], {"gpu-1": seen}), policy(), now_ns))


def test_other_words_of_a_repeat_change_nothing_before_its_time_and_only_the_ledger_then() -> None:
    view = settled(node(), [repeat(0)])
    early = decide(snapshot([view], {"gpu-1": [repeat(7)]}, tainted=1), policy(), NOW + 8 * NS)
    assert not [action for action in early.actions if isinstance(action, EFFECTS)]
    due = decide(snapshot([view], {"gpu-1": [repeat(7)]}, tainted=1), policy(), NOW + 400 * NS)
    assert [type(a) for a in due.actions if isinstance(a, EFFECTS)] == [EditNode]


def test_fault_written_by_a_program_and_by_the_kernel_in_turns_does_not_flap() -> None:
    view = settled(node(), [repeat(0, injected=True)])
    view = settled(view, [repeat(1)], NOW + 400 * NS)
    for n in range(2, 6):
        now_ns = NOW + n * 400 * NS
        plan = decide(
            snapshot([view], {"gpu-1": [repeat(n, injected=n % 2 == 0)]}, tainted=1),
            policy(),
            now_ns,
        )
        assert not [a for a in plan.actions if isinstance(a, SetCondition | PublishEvent)]
        view = after(view, plan)


def test_full_ledger_comes_to_rest_while_all_its_faults_repeat() -> None:
    def seen(n: int) -> list[Sighting]:
        return [
            repeat(n * 100 + device, device=f"0000:{device:02x}:00", fault_id=f"xid/{code}")
            for device in range(8)
            for code in (45, 48, 63, 64, 74, 79, 94, 95, 119, 120)
        ]

    def writes(view: NodeView, n: int) -> tuple[NodeView, int]:
        snap = snapshot([view], {"gpu-1": seen(n)}, tainted=1)
        plan = decide(snap, policy(), NOW + n * 10 * NS)
        return after(view, plan), len([a for a in plan.actions if isinstance(a, EFFECTS)])

    view = settled(node(), seen(0))
    assert len((view.ledger or "").encode()) <= MAX_BYTES
    for n in range(1, 5):
        view, count = writes(view, n)
        assert count == 0
    assert decide(snapshot([view], tainted=1), policy(), NOW + 60 * NS).actions == ()


def test_full_ledger_keeps_all_of_eight_gpus_by_shortening_texts() -> None:
    seen = [
        repeat(device, device=f"0000:{device:02x}:00", fault_id=f"xid/{code}", text="x" * 400)
        for device in range(8)
        for code in (48, 63, 74, 79, 94)
    ]
    ledger = parse(settled(node(), seen).ledger or "")
    assert len(ledger.records) == 40
    assert ledger.dropped == 0


@pytest.mark.parametrize("text", ["one\ntwo\x1b[31m\u202e", " blanks ", "x" * 5000, "\ud800"])
def test_odd_text_in_the_ledger_does_not_make_the_condition_flap(text: str) -> None:
    view = settled(node(), [repeat(0)])
    data = json.loads(view.ledger or "")
    data["records"][0]["text"] = text
    data["records"][0]["device"] = text
    view = node(taints=view.taints, ledger=json.dumps(data), health_label=view.health_label)
    plan = decide(snapshot([view], tainted=1), policy(), NOW + NS)
    (condition,) = [a.condition for a in plan.actions if isinstance(a, SetCondition)]
    assert condition.message.isprintable()
    assert condition.message == condition.message.strip()
    assert len(condition.message) <= 512


@pytest.mark.parametrize("number", ["Infinity", "1e400", "-1", "9" * 400, "9" * 5000, "NaN"])
@pytest.mark.parametrize("key", ["written", "since", "tainted", "last", "count"])
def test_numbers_that_no_clock_shows_are_damage(key: str, number: str) -> None:
    data = json.loads(settled(node(), [repeat(0)]).ledger or "")
    (data["records"][0] if key in data["records"][0] else data)[key] = "HERE"
    text = json.dumps(data).replace('"HERE"', number)
    with pytest.raises(CorruptLedger):
        parse(text)
    plan = decide(snapshot([node(ledger=text)], {"gpu-1": [repeat(1)]}), policy(), NOW)
    assert len(edits(plan)) == 1


def test_ledger_of_somebody_with_thousands_of_records_is_cut_once() -> None:
    view = settled(node(), [repeat(0, severity=Severity.INFO)])
    data = json.loads(view.ledger or "")
    one = data["records"][0]
    data["records"] = [one | {"device": f"d{n}", "text": ""} for n in range(300)]
    view = node(ledger=json.dumps(data), condition=view.condition)
    view = after(view, decide(snapshot([view]), policy(), NOW + NS))
    assert len((view.ledger or "").encode()) <= MAX_BYTES
    assert decide(snapshot([view]), policy(), NOW + 2 * NS).actions == ()
    assert render(parse(view.ledger or "")) == view.ledger


def test_key_names_are_stable() -> None:
    assert KEYS.ledger == "trainy.konduktor.ai/ledger"
