"""What was cleared is remembered: its copies open nothing, and its return raises the step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from konduktor_health.core.decide import decide
from konduktor_health.core.fold import already_counted
from konduktor_health.core.ledger import parse, render
from konduktor_health.core.lifecycle import MAX_HISTORY
from konduktor_health.core.record import Ledger, Past, Record
from konduktor_health.model import NodeView, Policy, Sighting, Trust
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Mode, Rule, Treatment
from tests.support.builders import (
    BOOT,
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)
from tests.support.ledgers import record, sick

MINUTE, HOUR, DAY = 60 * NS, 3600 * NS, 86_400 * NS
GPU = "0000:3b:00"


def past(**fields: Any) -> Past:
    known: dict[str, Any] = {
        "last_ns": NOW - 5 * DAY,
        "cleared_ns": NOW - 4 * DAY,
        "log_ns": NOW - 5 * DAY,
        "uptime_us": 1_000,
        "boot_id": "c" * 32,
        "repaired_ns": NOW - 4 * DAY - HOUR,
        "attempts": 1,
    }
    return Past(GPU, "xid/79", **(known | fields))


def remembering(*pasts: Past, records: tuple[Record, ...] = ()) -> NodeView:
    ledger = Ledger("uid-gpu-1", BOOT, NOW - DAY, history=pasts, records=records)
    return node(ledger=render(ledger))


def step(
    view: NodeView, *seen: Sighting, now_ns: int = NOW, rules: Policy | None = None
) -> NodeView:
    observed = {view.name: now_ns - 30 * DAY}
    shown = snapshot([view], {view.name: seen}, observed_from_ns=observed)
    return after(view, decide(shown, rules or policy(), now_ns))


def pod_line(**fields: Any) -> Sighting:
    return sighting(fault(trust=Trust.POD, source="pods", uptime_us=None, identity="p", **fields))


def test_a_pods_line_between_two_faults_neither_raises_the_step_nor_forgets_it() -> None:
    view = step(remembering(past()), pod_line())
    (shown,) = parse(view.ledger or "").records
    assert (shown.acting, shown.attempts) == (False, 1)
    line = fault(time_ns=NOW + MINUTE, event_ns=NOW + MINUTE)
    view = step(view, sighting(line), now_ns=NOW + 2 * MINUTE)
    (back,) = parse(view.ledger or "").records
    assert (back.acting, back.attempts, back.flaps) == (True, 2, 1)


def test_what_only_faded_does_not_overwrite_what_was_cleared() -> None:
    view = step(remembering(past()), pod_line())
    view = step(view, now_ns=NOW + 8 * DAY)
    (kept,) = parse(view.ledger or "").history
    assert (kept.times, kept.attempts, kept.repaired_ns) == (1, 1, past().repaired_ns)
    line = fault(time_ns=NOW + 9 * DAY, event_ns=NOW + 9 * DAY)
    view = step(view, sighting(line), now_ns=NOW + 9 * DAY)
    assert parse(view.ledger or "").records[0].attempts == 2


def test_a_boot_that_becomes_known_raises_the_step_too() -> None:
    early = sighting(fault(boot_id=OTHER_BOOT))
    view = step(remembering(past()), early)
    assert not parse(view.ledger or "").records[0].acting
    view = step(replace(view, boot_id=OTHER_BOOT), now_ns=NOW + MINUTE)
    (back,) = parse(view.ledger or "").records
    assert (back.acting, back.attempts) == (True, 2)


def test_another_shippers_copy_of_a_cleared_line_opens_nothing() -> None:
    """It has no uptime, and the time at which that shipper read it."""
    ledger = Ledger(history=(past(log_ns=NOW - HOUR, repaired_ns=0),))
    copy = fault(uptime_us=None, time_ns=NOW - HOUR + 5 * NS, source="journal", identity="other")
    assert already_counted(ledger, copy, BOOT)
    assert not already_counted(ledger, replace(copy, time_ns=NOW - HOUR + MINUTE), BOOT)


def test_what_a_pod_said_and_faded_hides_no_kernel_line_that_comes_late() -> None:
    soon = (
        Rule(
            "pods",
            replace(Rule("x").match, trusts=frozenset({Trust.POD})),
            Treatment(Mode.OBSERVE, decay_s=60.0),
        ),
        Rule("rest"),
    )
    rules = policy(rules=soon)
    view = step(node(), pod_line(), rules=rules)
    view = step(view, now_ns=NOW + 10 * MINUTE, rules=rules)
    assert not parse(view.ledger or "").records
    late = fault(time_ns=NOW - NS, event_ns=NOW - NS, uptime_us=None)
    view = step(view, sighting(late), now_ns=NOW + 11 * MINUTE, rules=rules)
    assert OUR_TAINT in view.taints


def test_what_faded_makes_room_for_what_was_cleared() -> None:
    faded = tuple(
        replace(past(times=0, attempts=0), fault_id=f"xid/{n}") for n in range(MAX_HISTORY - 1)
    )
    view = remembering(
        *faded, past(), records=(record("xid/1000", acting=False, last_ns=NOW - 30 * DAY),)
    )
    history = parse(step(view).ledger or "").history
    assert len(history) == MAX_HISTORY
    assert history[0].fault_id == "xid/1000"
    view = remembering(
        *faded,
        past(),
        records=(
            record("xid/1000", acting=False, last_ns=NOW - 30 * DAY),
            record("xid/1001", acting=False, last_ns=NOW - 30 * DAY),
        ),
    )
    history = parse(step(view).ledger or "").history
    assert len(history) == MAX_HISTORY
    assert past().key in {each.key for each in history}


def test_a_fault_of_a_boot_that_the_node_does_not_report_yet_is_not_lost_in_an_open_record() -> (
    None
):
    """The machine rebooted and shows the fault again before the kubelet reports the new boot."""
    view = sick(record(uptime_us=1_000, effect="NoSchedule"))
    again = sighting(fault(boot_id=OTHER_BOOT, uptime_us=20_000_000))
    shown = snapshot([view], {view.name: [again]}, observed_from_ns={view.name: NOW - DAY})
    plan = decide(shown, policy(), NOW)
    assert view.name not in plan.settled  # it is kept until the Node says which boot it is in
    assert plan.wakes[view.name] > NOW
    view = replace(after(view, plan), boot_id=OTHER_BOOT)
    view = step(view, again, now_ns=NOW + MINUTE)
    (back,) = parse(view.ledger or "").records
    assert (back.boot_id, back.last_ns, back.attempts) == (OTHER_BOOT, NOW, 1)
    assert "repair" in {each.what for each in back.missing}


def test_a_boot_that_is_never_reported_is_not_waited_for_without_end() -> None:
    view = sick(record(uptime_us=1_000, effect="NoSchedule"))
    odd = sighting(fault(boot_id="d" * 32))
    shown = snapshot([view], {view.name: [odd]}, observed_from_ns={view.name: NOW - DAY})
    assert view.name in decide(shown, policy(), NOW + 20 * MINUTE).settled


def test_a_line_of_the_present_boot_that_came_before_it_was_noticed_is_no_history() -> None:
    """Cleared by a reboot that was noticed at 10:03; a line of that boot from 10:01 comes late."""
    gone = past(boot_id=BOOT, repaired_ns=NOW, log_ns=NOW - HOUR, last_ns=NOW - HOUR)
    ledger = Ledger(
        "uid-gpu-1", OTHER_BOOT, NOW, history=(gone,), rebooted_ns=NOW - HOUR, noticed_ns=NOW
    )
    view = node(ledger=render(ledger), boot_id=OTHER_BOOT)
    late = sighting(
        fault(boot_id=OTHER_BOOT, time_ns=NOW - 2 * MINUTE, event_ns=NOW - 2 * MINUTE, uptime_us=9)
    )
    assert OUR_TAINT in step(view, late, now_ns=NOW + HOUR).taints
