"""A fault in observation is recorded and shown, and is never the reason for a taint."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.core.decide import decide
from konduktor_health.core.ledger import Record, parse
from konduktor_health.errors import ConfigError
from konduktor_health.model import Hold, HoldReason, NodeView, Policy, Remedy
from konduktor_health.observation import CHOSEN, observed
from konduktor_health.settings import load
from konduktor_health.timestamps import NS
from parsers import tables
from parsers.fault import Severity
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

XFS = "kernel/xfs-shutdown"
WATCHED = policy(observe={XFS: "may be a pod's volume"})


def seen(fault_id: str = XFS, seconds: int = 0, **fields: Any) -> Any:
    time_ns = NOW + seconds * NS
    more = {"device": "sda1", "time_ns": time_ns, "event_ns": time_ns, "identity": f"at {seconds}"}
    more["uptime_us"] = 1_000_000_000 + seconds * 1_000_000
    return sighting(fault(fault_id, **(more | fields)))


def step(view: NodeView, *sightings: Any, rules: Policy = WATCHED) -> tuple[NodeView, list[Hold]]:
    plan = decide(snapshot([view], {view.name: sightings}), rules, NOW + 3600 * NS)
    return after(view, plan), [each for each in plan.actions if isinstance(each, Hold)]


def records(view: NodeView) -> list[Record]:
    return list(parse(view.ledger or "").records)


def test_it_is_recorded_shown_and_held_with_its_reason() -> None:
    view, holds = step(node(), seen())

    assert (view.taints, view.health_label) == ((), "suspect")
    assert [(r.fault_id, r.severity, r.acting, r.why) for r in records(view)] == [
        (XFS, Severity.FATAL, False, "InObservation")
    ]
    assert view.condition is not None
    assert "; not acting: the fault is in observation" in view.condition.message
    assert [(each.reason, each.message) for each in holds] == [
        (HoldReason.OBSERVED, "in observation: may be a pod's volume")
    ]


def test_another_fault_of_the_same_node_acts() -> None:
    view, _ = step(node(), seen(), seen("xid/79", device="0000:3b:00"))

    assert OUR_TAINT in view.taints
    assert [r.fault_id for r in records(view) if r.acting] == ["xid/79"]


def test_it_acts_with_newer_evidence_once_it_is_no_longer_observed() -> None:
    view, _ = step(node(), seen())
    view, _ = step(view, rules=policy())
    assert view.taints == ()

    view, _ = step(view, seen(seconds=60), rules=policy())

    assert OUR_TAINT in view.taints


def test_a_record_that_waits_for_its_boot_does_not_begin_to_act() -> None:
    waiting, _ = step(node(boot_id=OTHER_BOOT), seen(boot_id=BOOT))
    assert [r.why for r in records(waiting)] == ["BootUnknown"]

    view, _ = step(node(ledger=waiting.ledger))

    assert view.taints == ()
    assert [(r.acting, r.why) for r in records(view)] == [(False, "InObservation")]


def test_a_record_that_was_held_back_does_not_taint_once_it_is_observed() -> None:
    held, _ = step(node(), seen(), rules=policy(budget_max_nodes=0))
    assert [r.acting for r in records(held)] == [True]

    view, _ = step(held)

    assert (view.taints, view.health_label) == ((), "suspect")


def test_the_reason_of_a_taint_that_is_there_stays_to_be_seen() -> None:
    tainted, _ = step(node(), seen(), rules=policy())
    assert OUR_TAINT in tainted.taints

    view, _ = step(tainted)

    assert OUR_TAINT in view.taints
    assert [(r.acting, r.why) for r in records(view)] == [(True, "")]


def test_history_stays_history() -> None:
    rebooted = node(boot_id=OTHER_BOOT)
    gone = snapshot(
        [rebooted],
        {"gpu-1": [seen(boot_id=BOOT, remedy=Remedy.REBOOT)]},
        boot_changed_ns={"gpu-1": NOW + NS},
        boot_noticed_ns={"gpu-1": NOW + NS},
    )

    plan = decide(gone, WATCHED, NOW + 60 * NS)

    assert after(rebooted, plan).ledger is None


# ---------------------------------------------------------------- the setting


def test_by_default_what_the_rules_doubt_is_observed() -> None:
    observe = load(environ={}).core_policy().observe

    assert observe == tables.shipped().observed
    assert set(observe) == {
        "kernel/filesystem-read-only",
        "kernel/filesystem-superblock",
        "kernel/memory-poisoned",
        "kernel/mlx5-command-timeout",
        "kernel/mlx5-health-lost",
        "kernel/nvme-disabled",
        "kernel/pcie-aer-fatal",
        "kernel/xfs-shutdown",
    }
    assert all(observe.values())


def test_the_setting_replaces_the_list_and_keeps_the_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KONDUKTOR_HEALTH_POLICY__OBSERVE", '["xid/79", "kernel/xfs-shutdown"]')

    observe = load().core_policy().observe

    assert observe == {"xid/79": CHOSEN, XFS: tables.shipped().observed[XFS]}


def test_an_empty_list_observes_nothing() -> None:
    assert load(flags={"policy": {"observe": []}}, environ={}).core_policy().observe == {}


@pytest.mark.parametrize("wrong", ["kernel/xfs-shutdwn", "xid/9999", "x" * 4000, "", "xid/\n"])
def test_an_unknown_id_is_one_clear_error(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.observe: no such fault") as raised:
        observed([wrong])

    assert len(str(raised.value)) < 400
    assert str(raised.value).isprintable()
    assert "docs/reference/faults.md" in (raised.value.hint or "")
    if wrong == "kernel/xfs-shutdwn":
        assert raised.value.hint.startswith("did you mean kernel/xfs-shutdown?")


def test_a_code_with_leading_zeros_is_the_fault_that_lines_give() -> None:
    assert [*observed(["xid/079", "sxid/012028"])] == ["xid/79", "sxid/12028"]
