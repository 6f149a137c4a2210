"""A run of probes proves something once all of it was after the fault; and is counted once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from konduktor_health.core.clearing import Watch, seen_repairs, with_probes, with_repairs
from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.core.record import Record, merge
from konduktor_health.model import NodeView, ProbeResult, ProbeStatus, Remedy, RepairSeen
from konduktor_health.timestamps import NS
from konduktor_health.treatment import ClearRule, ProbeNeed, Repair, Treatment
from tests.support.builders import BOOT, NOW, OTHER_BOOT, after, edits, policy, snapshot
from tests.support.ledgers import record, sick

MINUTE, HOUR = 60 * NS, 3600 * NS
GPU = "0000:3b:00"
NEEDS = Treatment(clear=ClearRule(probes=(ProbeNeed("boot"), ProbeNeed("light", 3))))
WATCH = Watch(BOOT, agent=True)


def result(
    check: str, at_ns: int, status: ProbeStatus = ProbeStatus.PASS, **more: Any
) -> ProbeResult:
    fields: dict[str, Any] = {"run_id": f"run-{at_ns}", "boot_id": BOOT, "device": GPU}
    return ProbeResult(check, "boot", status, at_ns, **(fields | more))


def counts(found: Record) -> dict[str, int]:
    return {each.name: each.count for each in found.passes}


def test_a_run_that_began_before_the_last_occurrence_proves_nothing() -> None:
    seen = record(last_ns=NOW)
    run = [result("a", NOW - NS, run_id="r"), result("b", NOW + NS, run_id="r")]
    assert counts(with_probes(seen, NEEDS, run, WATCH)) == {}
    whole = [result("a", NOW + NS, run_id="r"), result("b", NOW + 2 * NS, run_id="r")]
    assert counts(with_probes(seen, NEEDS, whole, WATCH)) == {"boot": 1}


def test_a_run_that_a_repair_cut_in_two_proves_nothing() -> None:
    seen = with_repairs(record(last_ns=NOW), [RepairSeen(Repair.GPU_RESET, GPU, NOW + 2 * NS)])
    run = [result("a", NOW + NS, run_id="r"), result("b", NOW + 3 * NS, run_id="r")]
    assert counts(with_probes(seen, NEEDS, run, WATCH)) == {}


def test_a_run_whose_checks_are_told_one_by_one_counts_once() -> None:
    seen = record(last_ns=NOW)
    checks = [
        replace(result(name, NOW + n * NS, run_id="r"), tier="light")
        for n, name in enumerate(("a", "b", "c"), start=1)
    ]
    for told in range(1, 4):
        seen = with_probes(seen, NEEDS, checks[:told], WATCH)
    assert counts(seen) == {"light": 1}


def test_more_passes_than_are_asked_for_write_no_node() -> None:
    """An agent that goes on probing while the repair is still missing."""
    view = sick(record(effect="NoSchedule"))
    known: list[ProbeResult] = []
    written: list[int] = []
    for minute in range(1, 40):
        at_ns = NOW + minute * MINUTE
        known.append(replace(result("x", at_ns), tier="light"))
        shown = snapshot(
            [view],
            probes={view.name: tuple(known)},
            agents=frozenset({view.name}),
            observed_from_ns={view.name: NOW},
            tainted=1,
        )
        plan = decide(shown, policy(), at_ns)
        written += [minute] * len(edits(plan))
        view = after(view, plan)
    assert max(written) < 15
    (seen,) = parse(view.ledger or "").records
    assert counts(seen) == {"light": 3}


def test_a_failure_after_enough_passes_counts_again() -> None:
    seen = record(last_ns=NOW)
    runs = [replace(result("x", NOW + n * NS), tier="light") for n in range(1, 9)]
    seen = with_probes(seen, NEEDS, runs, WATCH)
    failed = replace(runs[0], status=ProbeStatus.FAIL, time_ns=NOW + 9 * NS, run_id="f")
    seen = with_probes(seen, NEEDS, [*runs, failed], WATCH)
    assert counts(seen) == {"light": 0}
    assert counts(with_probes(seen, NEEDS, [*runs, failed], WATCH)) == {"light": 0}


def test_a_line_without_a_boot_id_from_just_before_the_boot_was_noticed_may_be_of_that_boot() -> (
    None
):
    """The kubelet was slow: the fault of the new boot came first, and that boot is no repair."""
    young = record(last_ns=NOW, log_ns=NOW, uptime_us=40_000_000, guessed=True)
    noticed = Watch(OTHER_BOOT, noticed_ns=NOW + MINUTE)
    assert Repair.BOOT not in seen_repairs(young, noticed)
    old = replace(young, uptime_us=86_400_000_000)
    assert Repair.BOOT in seen_repairs(old, noticed)
    told = replace(young, guessed=False)  # the line itself named the boot that is over
    assert Repair.BOOT in seen_repairs(told, noticed)
    again = Watch(OTHER_BOOT, noticed_ns=NOW + HOUR)
    assert Repair.BOOT in seen_repairs(young, again)


def test_the_end_of_one_place_does_not_end_what_is_open_on_the_whole_device() -> None:
    link: Any = (("link", "3"),)
    end = RepairSeen(Repair.END, GPU, NOW + NS, ends=("xid/74",), place=link)
    whole = record("xid/74", last_ns=NOW, places=())
    assert not with_repairs(whole, [end]).repairs
    all_of_it = replace(end, place=())
    assert with_repairs(whole, [all_of_it]).repairs
    both = merge(whole, replace(whole, places=(link,), last_ns=NOW + NS))
    assert not with_repairs(both, [replace(end, event_ns=NOW + HOUR)]).repairs


def test_a_reboot_that_nobody_saw_is_noticed_once() -> None:
    """The boot id is all there is: each decision would otherwise begin the wait anew."""
    its = record("xid/95", remedy=Remedy.RESET_GPU, last_ns=NOW - HOUR, effect="NoSchedule")
    view: NodeView = sick(its)
    reset = {view.name: (RepairSeen(Repair.GPU_RESET, GPU, NOW - MINUTE),)}

    def step(now_ns: int) -> NodeView:
        observed = {view.name: NOW - HOUR}
        shown = snapshot([view], observed_from_ns=observed, repairs=reset, tainted=1)
        return after(view, decide(shown, policy(), now_ns))

    view = step(NOW)
    view = replace(view, boot_id=OTHER_BOOT)
    for minute in (1, 2, 3):
        view = step(NOW + minute * MINUTE)
        assert parse(view.ledger or "").noticed_ns == NOW + MINUTE
