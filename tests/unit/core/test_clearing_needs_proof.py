"""A record is cleared when everything that its rule asks for was seen, and not before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.clearing import step_of
from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import parse
from konduktor_health.core.record import Ledger
from konduktor_health.model import (
    EditKind,
    Hold,
    HoldReason,
    NodeView,
    Plan,
    Policy,
    ProbeResult,
    ProbeStatus,
    Remedy,
    RepairSeen,
    Severity,
    Taint,
)
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Asked, ClearRule, ProbeNeed, Repair, Rule, Treatment
from tests.support.builders import (
    FOREIGN_TAINT,
    KEYS,
    NOW,
    OTHER_BOOT,
    OUR_TAINT,
    after,
    edits,
    fault,
    node,
    policy,
    sighting,
    snapshot,
)
from tests.support.ledgers import record

MINUTE, HOUR, DAY = 60 * NS, 3600 * NS, 86_400 * NS
SOFT = Taint(KEYS.taint, "true", "PreferNoSchedule")
GPU = "0000:3b:00"


def decided(view: NodeView, now_ns: int, rules: Policy | None = None, **more: Any) -> Plan:
    fields: dict[str, Any] = {"observed_from_ns": {view.name: NOW - DAY}, "tainted": 1}
    return decide(snapshot([view], **(fields | more)), rules or policy(), now_ns)


def step(view: NodeView, now_ns: int, rules: Policy | None = None, **more: Any) -> NodeView:
    """The node after one decision."""
    return after(view, decided(view, now_ns, rules, **more))


def tainted(**fields: Any) -> NodeView:
    """A node that was tainted at NOW for one fault."""
    view = node(taints=(FOREIGN_TAINT,))
    seen = {"gpu-1": [sighting(fault(**fields))]}
    return after(view, decide(snapshot([view], seen), policy(), NOW))


def reset_seen(at_ns: int, device: str = GPU) -> dict[str, tuple[RepairSeen, ...]]:
    return {"gpu-1": (RepairSeen(Repair.GPU_RESET, device, at_ns),)}


def passes(tier: str, *times_ns: int, **fields: Any) -> tuple[ProbeResult, ...]:
    of_the_gpu: dict[str, Any] = {"device": GPU} | fields
    return tuple(
        ProbeResult(
            f"{tier}-check", tier, ProbeStatus.PASS, at_ns, run_id=f"{tier}{at_ns}", **of_the_gpu
        )
        for at_ns in times_ns
    )


def ledger(view: NodeView) -> Ledger:
    return parse(view.ledger or "")


def missing(view: NodeView) -> list[str]:
    return [each.what for each in ledger(view).records[0].missing]


RESET: dict[str, Any] = {"remedy": Remedy.RESET_GPU}
DEGRADED: dict[str, Any] = {"severity": Severity.DEGRADED, "remedy": Remedy.RESET_GPU}
PROVEN = (
    *passes("boot", NOW + 2 * MINUTE),
    *passes("light", NOW + 3 * MINUTE, NOW + 4 * MINUTE, NOW + 5 * MINUTE),
    *passes("invasive", NOW + 6 * MINUTE),
)


def test_fatal_is_cleared_by_repair_probes_and_quiet() -> None:
    view = tainted(**RESET)
    agents = frozenset({"gpu-1"})
    view = step(view, NOW + 2 * MINUTE, repairs=reset_seen(NOW + MINUTE), agents=agents)
    assert view.health_label == "recovering"
    view = step(view, NOW + 6 * MINUTE, probes={"gpu-1": PROVEN}, agents=agents)
    assert missing(view) == ["quiet"]
    assert OUR_TAINT in view.taints
    plan = decided(view, NOW + 11 * MINUTE, agents=agents)
    assert [edit.kind for edit in edits(plan)] == [EditKind.CLEAR]
    view = after(view, plan)
    assert view.taints == (FOREIGN_TAINT,)
    assert view.health_label is None
    assert view.condition is not None
    assert view.condition.status == "True"
    assert [past.fault_id for past in ledger(view).history] == ["xid/79"]
    assert decided(view, NOW + 12 * MINUTE).actions == ()


@pytest.mark.parametrize("agents", [frozenset(), frozenset({"gpu-1"})])
def test_a_restart_that_does_not_know_the_agents_yet_writes_nothing(agents: frozenset[str]) -> None:
    view = step(tainted(**RESET), NOW + MINUTE, agents=agents)
    known = missing(view)
    for minute in (2, 3):
        assert decided(view, NOW + minute * MINUTE, agents=None).actions == ()
    assert decided(view, NOW + 4 * MINUTE, agents=agents).actions == ()
    assert missing(view) == known


@pytest.mark.parametrize("log_only", [False, True])
def test_nothing_is_cleared_without_its_probes_before_the_agents_are_known(log_only: bool) -> None:
    light = (ProbeNeed("light", 3),)
    clear = ClearRule(Asked.NOTHING, light, 60.0, log_only=log_only)
    rules = policy(rules=(Rule("any", treatment=Treatment(clear=clear)),))
    view = step(tainted(**RESET), NOW + MINUTE // 2, rules, agents=frozenset())
    view = step(view, NOW + DAY, rules, agents=None)
    assert OUR_TAINT in view.taints
    view = step(view, NOW + DAY + MINUTE, rules, agents=frozenset())
    assert (OUR_TAINT in view.taints) is not log_only


def test_a_fault_that_is_found_before_the_agents_are_known_says_what_it_would_need() -> None:
    view = step(node(), NOW, sightings={"gpu-1": [sighting(fault(**RESET))]}, agents=None)
    assert {"probe:boot", "probe:light", "probe:invasive"} <= set(missing(view))


def test_a_proof_that_was_complete_stays_so_while_the_agents_are_not_known() -> None:
    agents = frozenset({"gpu-1"})
    view = step(tainted(**RESET), NOW + 2 * MINUTE, repairs=reset_seen(NOW + MINUTE), agents=agents)
    view = step(view, NOW + 6 * MINUTE, probes={"gpu-1": PROVEN}, agents=agents)
    assert OUR_TAINT not in step(view, NOW + 11 * MINUTE, agents=None).taints


@pytest.mark.parametrize(
    ("left_out", "what"),
    [("boot", "probe:boot"), ("light", "probe:light"), ("invasive", "probe:invasive")],
)
def test_a_probe_that_is_missing_keeps_the_taint(left_out: str, what: str) -> None:
    proofs = tuple(each for each in PROVEN if each.tier != left_out)
    view = step(
        tainted(**RESET),
        NOW + DAY,
        repairs=reset_seen(NOW + MINUTE),
        probes={"gpu-1": proofs},
        agents=frozenset({"gpu-1"}),
    )
    assert missing(view) == [what]
    assert OUR_TAINT in view.taints


@pytest.mark.parametrize(
    "worthless",
    [
        passes("invasive", NOW + 6 * MINUTE, fake=True),
        passes("invasive", NOW - MINUTE),
        passes("invasive", NOW + MINUTE - NS),  # before the repair
        passes("invasive", NOW + 6 * MINUTE, boot_id=OTHER_BOOT),
        passes("invasive", NOW + 6 * MINUTE, device="0000:86:00"),
        tuple(
            replace(each, status=status)
            for each in passes("invasive", NOW + 6 * MINUTE)
            for status in (ProbeStatus.PASS, ProbeStatus.FAIL)
        ),
        *(
            tuple(replace(each, status=status) for each in passes("invasive", NOW + 6 * MINUTE))
            for status in ProbeStatus
            if status is not ProbeStatus.PASS
        ),
    ],
)
def test_what_is_no_pass_proves_nothing(worthless: tuple[ProbeResult, ...]) -> None:
    rest = tuple(each for each in PROVEN if each.tier != "invasive")
    view = step(
        tainted(**RESET),
        NOW + DAY,
        repairs=reset_seen(NOW + MINUTE),
        probes={"gpu-1": (*rest, *worthless)},
        agents=frozenset({"gpu-1"}),
    )
    assert missing(view) == ["probe:invasive"]


def test_a_failure_starts_the_count_of_passes_again() -> None:
    light = passes("light", NOW + 2 * MINUTE, NOW + 3 * MINUTE, NOW + 5 * MINUTE)
    failed = replace(light[0], status=ProbeStatus.FAIL, time_ns=NOW + 4 * MINUTE, run_id="f")
    proofs = (*(each for each in PROVEN if each.tier != "light"), *light, failed)
    view = step(
        tainted(**RESET),
        NOW + DAY,
        repairs=reset_seen(NOW + MINUTE),
        probes={"gpu-1": proofs},
        agents=frozenset({"gpu-1"}),
    )
    assert missing(view) == ["probe:light"]


def test_passes_that_were_counted_before_a_reboot_prove_nothing_after_it() -> None:
    agents = frozenset({"gpu-1"})
    view = step(tainted(**RESET), NOW + 7 * MINUTE, probes={"gpu-1": PROVEN}, agents=agents)
    assert missing(view) == ["repair", "quiet"]
    booted: dict[str, Any] = {
        "boot_changed_ns": {"gpu-1": NOW + HOUR},
        "boot_noticed_ns": {"gpu-1": NOW + HOUR},
    }
    view = replace(view, boot_id=OTHER_BOOT)
    view = step(view, NOW + DAY, agents=agents, **booted)
    assert missing(view) == ["probe:boot", "probe:light", "probe:invasive"]
    one = passes("light", NOW + DAY + MINUTE)  # the two of before do not make it three
    view = step(view, NOW + DAY + HOUR, probes={"gpu-1": one}, agents=agents, **booted)
    assert "probe:light" in missing(view)


def test_results_are_counted_once_however_often_they_are_read() -> None:
    view = step(tainted(**RESET), NOW + 2 * MINUTE, repairs=reset_seen(NOW + MINUTE))
    two = passes("light", NOW + 3 * MINUTE, NOW + 4 * MINUTE)
    for minute in range(5, 9):
        view = step(view, NOW + minute * MINUTE, probes={"gpu-1": two}, agents=frozenset({"gpu-1"}))
    counts = {each.name: each.count for each in ledger(view).records[0].passes}
    assert counts["light"] == 2


AGENTS = frozenset({"gpu-1"})


def repaired() -> NodeView:
    return step(tainted(**RESET), NOW + 2 * MINUTE, repairs=reset_seen(NOW + MINUTE))


def measured(view: NodeView, at_ns: int, *results: ProbeResult, **more: Any) -> NodeView:
    """The node after a decision that saw these results alone."""
    return step(view, at_ns, probes={"gpu-1": results}, agents=AGENTS, **more)


def rows(view: NodeView) -> dict[str, int]:
    return {each.name: each.count for each in ledger(view).records[0].passes}


def test_two_runs_that_end_at_the_same_time_never_count_more_than_once_each() -> None:
    one, other = passes("light", NOW + 3 * MINUTE, NOW + 3 * MINUTE)
    other = replace(other, run_id="other")
    view = measured(repaired(), NOW + 4 * MINUTE, one)
    for minute, seen in enumerate([(one, other), (other,), (other, one)], 5):
        view = measured(view, NOW + minute * MINUTE, *seen)
        assert rows(view)["light"] <= 2
    failed = replace(other, status=ProbeStatus.FAIL)
    assert rows(measured(view, NOW + 9 * MINUTE, one, failed))["light"] == 0


def test_a_run_that_is_read_before_it_has_ended_counts_once() -> None:
    began = replace(passes("light", NOW + 3 * MINUTE)[0], run_id="long")
    went_on = replace(began, time_ns=NOW + 4 * MINUTE, check="light-other")
    view = measured(repaired(), NOW + 5 * MINUTE, began)
    view = measured(view, NOW + 6 * MINUTE, began, went_on)
    assert rows(view)["light"] == 1
    failed = replace(went_on, status=ProbeStatus.FAIL, check="light-third")
    assert rows(measured(view, NOW + 7 * MINUTE, began, went_on, failed))["light"] == 0


def test_a_failure_that_is_told_late_breaks_the_row_that_it_is_in() -> None:
    light = passes("light", NOW + 3 * MINUTE, NOW + 4 * MINUTE, NOW + 6 * MINUTE)
    view = measured(repaired(), NOW + 7 * MINUTE, *light)
    assert rows(view)["light"] == 3
    late = replace(light[0], status=ProbeStatus.FAIL, time_ns=NOW + 5 * MINUTE, run_id="late")
    view = measured(view, NOW + 8 * MINUTE, *light, late)
    assert rows(view)["light"] == 1
    assert rows(measured(view, NOW + 9 * MINUTE, *light, late))["light"] == 1


def test_a_failure_between_two_decisions_is_not_forgotten_with_the_results() -> None:
    first, after_it = passes("light", NOW + 3 * MINUTE, NOW + 5 * MINUTE)
    failed = replace(first, status=ProbeStatus.FAIL, time_ns=NOW + 4 * MINUTE, run_id="f")
    view = measured(repaired(), NOW + 4 * MINUTE, first)
    view = measured(view, NOW + 6 * MINUTE, failed, after_it)
    two = passes("light", NOW + 7 * MINUTE, NOW + 8 * MINUTE)
    assert rows(measured(view, NOW + 9 * MINUTE, two[0]))["light"] == 2
    assert rows(measured(view, NOW + 9 * MINUTE, *two))["light"] == 3


def test_an_agent_that_goes_on_measuring_writes_nothing() -> None:
    light = passes("light", *(NOW + minute * MINUTE for minute in range(3, 9)))
    view = measured(repaired(), NOW + 9 * MINUTE, *light[:3])
    plan = decided(view, NOW + 9 * MINUTE, probes={"gpu-1": light}, agents=AGENTS)
    assert edits(plan) == []


def test_what_passed_before_a_late_told_repair_proves_nothing() -> None:
    light = passes("light", NOW + 3 * MINUTE, NOW + 4 * MINUTE, NOW + 6 * MINUTE)
    view = measured(repaired(), NOW + 6 * MINUTE, *light)
    again = measured(view, NOW + 7 * MINUTE, *light, repairs=reset_seen(NOW + 5 * MINUTE))
    assert rows(again)["light"] == 1


def test_what_passed_in_another_boot_proves_nothing() -> None:
    view = measured(tainted(), NOW + 6 * MINUTE, *PROVEN)
    assert rows(view) == {"boot": 1, "invasive": 1, "light": 3}
    view = measured(replace(view, boot_id=OTHER_BOOT), NOW + HOUR)
    assert rows(view) == {}
    view = measured(view, NOW + DAY, *PROVEN)
    assert OUR_TAINT in view.taints
    assert missing(view) == ["probe:boot", "probe:light", "probe:invasive"]


def test_the_round_of_a_boot_counts_also_where_we_noticed_the_boot_after_it() -> None:
    view = replace(tainted(), boot_id=OTHER_BOOT)
    boots = {"boot_changed_ns": {"gpu-1": NOW}, "boot_noticed_ns": {"gpu-1": NOW + HOUR}}
    named = passes("boot", NOW + MINUTE, boot_id=OTHER_BOOT)
    assert rows(measured(view, NOW + 2 * HOUR, *named, **boots)) == {"boot": 1}
    unnamed = passes("boot", NOW + MINUTE)
    assert rows(measured(view, NOW + 2 * HOUR, *unnamed, **boots)) == {}
    before_the_fault = passes("boot", NOW - MINUTE, boot_id=OTHER_BOOT)
    assert rows(measured(view, NOW + 2 * HOUR, *before_the_fault, **boots)) == {}


def test_a_row_of_an_older_version_is_kept() -> None:
    view = measured(repaired(), NOW + 6 * MINUTE, *PROVEN)
    text = view.ledger or ""
    for each in ledger(view).records[0].passes:
        text = text.replace(
            f"[{each.count},{each.newest_ns},{each.since_ns}]", f"[{each.count},{each.newest_ns}]"
        )
    assert text != view.ledger
    assert (
        OUR_TAINT not in step(replace(view, ledger=text), NOW + 11 * MINUTE, agents=AGENTS).taints
    )


def test_healthy_without_load_is_no_proof_where_load_is_asked_for() -> None:
    loaded = ClearRule(probes=(ProbeNeed("invasive", under_load=True),))
    rules = policy(rules=(Rule("under-load", treatment=Treatment(clear=loaded)),))
    proofs = {"repairs": reset_seen(NOW + MINUTE), "agents": frozenset({"gpu-1"})}
    idle = passes("invasive", NOW + 2 * MINUTE)
    view = step(tainted(**RESET), NOW + HOUR, rules, probes={"gpu-1": idle}, **proofs)
    assert missing(view) == ["probe:invasive+load"]
    busy = passes("invasive", NOW + 3 * MINUTE, under_load=True)
    view = step(view, NOW + 2 * HOUR, rules, probes={"gpu-1": busy}, **proofs)
    assert OUR_TAINT not in view.taints


def test_without_an_agent_a_fatal_fault_waits_for_a_person() -> None:
    view = replace(tainted(), boot_id=OTHER_BOOT)
    view = step(step(view, NOW + 9 * DAY), NOW + 10 * DAY)
    assert OUR_TAINT in view.taints
    assert missing(view) == ["operator"]
    assert view.condition is not None
    assert "to clear: an operator's word" in view.condition.message


def test_without_an_agent_a_degraded_fault_is_cleared_by_repair_and_quiet() -> None:
    view = tainted(**DEGRADED)
    assert SOFT in view.taints
    view = step(view, NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    assert missing(view) == ["quiet"]
    assert step(view, NOW + HOUR).taints == view.taints
    assert step(view, NOW + HOUR + MINUTE).taints == (FOREIGN_TAINT,)


def test_time_alone_clears_when_its_time_has_come() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    plan = decided(view, NOW + 2 * MINUTE)
    assert plan.wakes == {"gpu-1": NOW + HOUR + MINUTE}


def test_silence_of_a_node_that_is_not_observed_is_no_proof() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    plan = decided(view, NOW + DAY, observed_from_ns={})
    assert edits(plan) == []  # and an outage of the log writes no Node
    assert SOFT in view.taints
    fresh = step(tainted(**DEGRADED), NOW + DAY, observed_from_ns={})
    assert "quiet" not in missing(fresh)


def test_a_gap_restarts_the_window_and_a_whole_window_after_it_is_enough() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    gap_ended = {"gpu-1": NOW + 30 * MINUTE}
    view = step(view, NOW + HOUR + 2 * MINUTE, observed_from_ns=gap_ended)
    assert SOFT in view.taints
    view = step(view, NOW + HOUR + 31 * MINUTE, observed_from_ns=gap_ended)
    assert SOFT not in view.taints


@pytest.mark.parametrize(
    "useless",
    [reset_seen(NOW - MINUTE), reset_seen(NOW + MINUTE, "0000:86:00"), {}],
    ids=["before the fault", "another GPU", "none"],
)
def test_a_repair_of_something_else_is_none(useless: dict[str, Any]) -> None:
    view = step(tainted(**DEGRADED), NOW + 9 * HOUR, repairs=useless)
    assert missing(view) == ["repair"]


def test_a_boot_that_the_node_reports_is_a_repair() -> None:
    view = replace(tainted(**DEGRADED), boot_id=OTHER_BOOT)
    view = step(view, NOW + MINUTE)
    assert missing(view) == ["quiet"]
    assert SOFT not in step(view, NOW + 2 * HOUR).taints


def test_the_end_of_a_state_is_its_repair_once_all_of_its_places_have_ended() -> None:
    links = [
        sighting(
            fault(
                "kernel/link-down",
                severity=Severity.DEGRADED,
                remedy=Remedy.INSPECT,
                uptime_us=1_000_000_000 + n,
                identity=str(n),
                detail={"link": str(n)},
            )
        )
        for n in (3, 5)
    ]
    links = [
        replace(each, places=((("link", str(n)),),)) for each, n in zip(links, (3, 5), strict=True)
    ]
    view = after(node(), decide(snapshot([node()], {"gpu-1": links}), policy(), NOW))

    def ended(link: str) -> dict[str, tuple[RepairSeen, ...]]:
        seen = RepairSeen(
            Repair.END,
            GPU,
            NOW + MINUTE,
            ends=("kernel/link-down",),
            place=(("link", link),),
        )
        return {"gpu-1": (seen,)}

    view = step(view, NOW + MINUTE, repairs=ended("3"))
    assert "operator" in missing(view)
    view = step(view, NOW + 2 * MINUTE, repairs=ended("5"))
    assert missing(view) == ["quiet"]
    assert step(view, NOW + 2 * HOUR).taints == ()


def test_taint_goes_only_when_all_records_are_cleared_and_is_weakened_in_one_patch() -> None:
    seen = [
        sighting(fault("xid/95", remedy=Remedy.RESET_GPU)),
        sighting(fault("xid/63", device="0000:86:00", **DEGRADED)),
    ]
    view = after(node(), decide(snapshot([node()], {"gpu-1": seen}), policy(), NOW))
    assert view.taints == (OUR_TAINT,)
    agents = frozenset({"gpu-1"})
    view = step(view, NOW + 2 * MINUTE, repairs=reset_seen(NOW + MINUTE), agents=agents)
    plan = decided(view, NOW + DAY, probes={"gpu-1": PROVEN}, agents=agents)
    (edit,) = edits(plan)
    assert edit.kind is EditKind.CLEAR
    assert (edit.edit.add_taints, edit.edit.remove_taints) == ((SOFT,), (OUR_TAINT,))
    assert ledger(after(view, plan)).owned == ("PreferNoSchedule",)


def test_a_worse_fault_replaces_the_effect_in_one_patch() -> None:
    view = tainted(**DEGRADED)
    worse = sighting(fault("xid/79", device="0000:86:00", identity="w"))
    (edit,) = edits(decide(snapshot([view], {"gpu-1": [worse]}, tainted=1), policy(), NOW + NS))
    assert edit.kind is EditKind.TAINT
    assert (edit.edit.add_taints, edit.edit.remove_taints) == ((OUR_TAINT,), (SOFT,))


def test_worsening_a_tainted_node_takes_no_more_of_the_budget() -> None:
    view = tainted(**DEGRADED)
    worse = {"gpu-1": [sighting(fault("xid/79", device="0000:86:00", identity="w"))]}
    full = snapshot([view], worse, managed=10, tainted=1)
    assert edits(decide(full, policy(), NOW + NS))[0].edit.add_taints == (OUR_TAINT,)


def returned(view: NodeView, at_ns: int, uptime_us: int) -> Any:
    again = fault(
        time_ns=at_ns,
        event_ns=at_ns,
        uptime_us=uptime_us,
        identity=f"again-{at_ns}",
        boot_id=view.boot_id,
        **DEGRADED,
    )
    return {"gpu-1": (sighting(again),)}


def test_a_fault_that_returns_raises_the_step_and_has_to_be_quiet_for_longer() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    view = step(view, NOW + 2 * HOUR)
    assert SOFT not in view.taints
    snap = snapshot([view], returned(view, NOW + 3 * HOUR, 9_000_000_000))
    view = after(view, decide(snap, policy(), NOW + 3 * HOUR))
    (open_again,) = ledger(view).records
    assert (open_again.flaps, open_again.attempts) == (1, 1)
    assert step_of(open_again, Treatment()) is Remedy.REBOOT  # a reset did not hold
    view = step(view, NOW + 4 * HOUR, repairs=reset_seen(NOW + 4 * HOUR))
    assert missing(view) == ["repair", "quiet"]  # a reset is not enough any more
    view = step(replace(view, boot_id=OTHER_BOOT), NOW + 5 * HOUR)
    view = step(view, NOW + 6 * HOUR + MINUTE)
    assert missing(view) == ["quiet"]  # twice as long
    assert SOFT not in step(view, NOW + 7 * HOUR + MINUTE).taints


def test_after_the_last_step_a_person_decides() -> None:
    for attempts, due in enumerate(
        (Remedy.RESET_GPU, Remedy.REBOOT, Remedy.POWER_CYCLE, Remedy.INSPECT, Remedy.INSPECT)
    ):
        one = record(remedy=Remedy.RESET_GPU, attempts=attempts)
        assert step_of(one, Treatment()) is due
    ladder = Treatment(ladder=(Remedy.REBOOT, Remedy.INSPECT))
    assert step_of(record(attempts=1), ladder) is Remedy.INSPECT


def test_a_repair_that_does_not_hold_is_undone_by_the_next_line() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    snap = snapshot([view], returned(view, NOW + 2 * MINUTE, 2_000_000_000), tainted=1)
    view = after(view, decide(snap, policy(), NOW + 2 * MINUTE))
    (one,) = ledger(view).records
    assert (one.repairs, one.attempts) == ((), 1)


def test_lines_of_a_cleared_record_that_are_read_again_change_nothing() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    view = step(view, NOW + 2 * HOUR)
    plan = decided(view, NOW + 3 * HOUR, sightings={"gpu-1": [sighting(fault(**DEGRADED))]})
    assert edits(plan) == []


def test_a_late_line_from_before_the_repair_opens_nothing() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    view = step(view, NOW + 2 * HOUR)
    late = fault(
        time_ns=NOW + 2 * HOUR,
        event_ns=NOW + 30 * NS,
        uptime_us=1_030_000_000,
        identity="late",
        **DEGRADED,
    )
    plan = decided(view, NOW + 3 * HOUR, sightings={"gpu-1": [sighting(late)]})
    assert edits(plan) == []


def test_a_reset_that_came_after_the_fault_leaves_nothing_to_do() -> None:
    seen = [sighting(fault(**RESET))]
    snap = snapshot([node()], {"gpu-1": seen}, repairs=reset_seen(NOW + NS))
    plan = decide(snap, policy(), NOW + 2 * NS)
    assert edits(plan) == []
    assert [a.reason for a in plan.actions if isinstance(a, Hold)] == [HoldReason.CLEARED]
    later = snapshot([node()], {"gpu-1": seen}, repairs=reset_seen(NOW - NS))
    assert edits(decide(later, policy(), NOW + 2 * NS))[0].kind is EditKind.TAINT


def test_a_held_node_is_not_cleared() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    held = replace(view, hold="{}")
    assert SOFT in step(held, NOW + 2 * HOUR).taints
    assert SOFT not in step(view, NOW + 2 * HOUR).taints


def test_exhausted_budget_surge_and_rate_do_not_block_clearing() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    crowd = {"xid/79": {f"gpu-{n}": NOW + 2 * HOUR for n in range(50)}}
    plan = decided(
        view,
        NOW + 2 * HOUR,
        tainted=100,
        fatal_sightings=crowd,
        taint_times_ns=tuple(NOW + 2 * HOUR - n for n in range(20)),
    )
    assert [edit.kind for edit in edits(plan)] == [EditKind.CLEAR]


def test_history_is_forgotten_after_thirty_days_and_then_nothing_of_ours_is_left() -> None:
    view = step(tainted(**DEGRADED), NOW + MINUTE, repairs=reset_seen(NOW + MINUTE))
    view = step(view, NOW + 2 * HOUR)
    assert view.ledger is not None
    assert step(view, NOW + 29 * DAY).ledger == view.ledger
    assert step(view, NOW + 31 * DAY).ledger is None


def test_what_never_asks_fades_away_while_the_node_is_observed() -> None:
    seen = {"gpu-1": [sighting(severity=Severity.APPLICATION, remedy=Remedy.RESTART_APP)]}
    view = after(node(), decide(snapshot([node()], seen), policy(), NOW))
    assert len(ledger(view).records) == 1
    assert len(ledger(step(view, NOW + 2 * DAY, observed_from_ns={})).records) == 1
    assert ledger(step(view, NOW + DAY)).records == ()


def test_ledger_that_lost_its_records_is_no_proof() -> None:
    view = tainted()
    emptied = replace(
        view,
        ledger='{"v":1,"uid":"uid-gpu-1","boot":"","written":1,"since":1,'
        '"owned":["NoSchedule"],"records":[]}',
    )
    assert OUR_TAINT in step(emptied, NOW + DAY).taints


def test_the_condition_says_what_is_missing_and_since_when() -> None:
    view = tainted(**RESET)
    assert view.condition is not None
    waits = "an operator's word, a repair, an observed node"
    assert set(waits.split(", ")) == set(
        view.condition.message.split("; to clear: ")[1].split(" (since ")[0].split(", ")
    )
    view = step(view, NOW + 2 * MINUTE, agents=frozenset({"gpu-1"}))
    assert view.condition is not None
    told = view.condition.message.split("; to clear: ")[1]
    assert told.startswith("a repair (since 2027-01-15T08:00:00Z); passes of probe boot, ")
    assert "quiet (since 2027-01-15T08:02:00Z): NVRM" in told
    assert decided(view, NOW + 3 * MINUTE, agents=frozenset({"gpu-1"})).actions == ()
