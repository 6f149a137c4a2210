"""A boot change is a fault only where nobody was at the node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.core.reboots import FAULT_ID, BootChange, attended, unexpected_reboot
from konduktor_health.core.reset import ResetAt, render_reset_at
from konduktor_health.model import Fault, NodeView, Pauses, Severity, Taint, Window
from konduktor_health.selector import parse_selector
from konduktor_health.timestamps import NS
from konduktor_health.treatment import FaultFacts, Mode, choose
from tests.support.builders import FOREIGN_TAINT, NOW, OTHER_BOOT, OUR_TAINT, node, policy
from tests.support.ledgers import record, sick

UPGRADING = (("nvidia.com/gpu-driver-upgrade-state", "drain-required"),)
UPGRADED = (("nvidia.com/gpu-driver-upgrade-state", "upgrade-done"),)
CHANGE = BootChange("gpu-1", "uid-gpu-1", OTHER_BOOT, NOW - 60 * NS, NOW - 10 * NS)


def after_boot(**fields: Any) -> NodeView:
    booted: dict[str, Any] = {"boot_id": OTHER_BOOT, "created_ns": NOW - 86_400 * NS}
    return node(**(booted | fields))


def judged(view: NodeView, change: BootChange = CHANGE, **rules: Any) -> Fault | None:
    ledger, _ = read_ledger(view)
    return unexpected_reboot(view, ledger, change, policy(**rules), NOW)


def test_a_reboot_out_of_the_blue_is_a_degraded_fault_of_the_node() -> None:
    fault = judged(after_boot(taints=(FOREIGN_TAINT,), labels=UPGRADED))
    assert fault is not None
    assert (fault.fault_id, fault.device, fault.severity) == (FAULT_ID, "", Severity.DEGRADED)
    assert fault.identity == f"boot:{OTHER_BOOT}"
    assert fault.boot_id == OTHER_BOOT
    assert CHANGE.changed_ns <= fault.event_ns <= NOW


@pytest.mark.parametrize(
    "fields",
    [
        {"unschedulable": True},
        {"hold": render_declared(Declared(NOW - 1))},
        {"maintenance": render_declared(Declared(NOW - NS, NOW + NS))},
        {"maintenance": "what is this"},
        {"labels": UPGRADING},
        {"taints": (Taint("ToBeDeletedByClusterAutoscaler", "1", "NoSchedule"),)},
        {"taints": (Taint("node.kubernetes.io/out-of-service", "", "NoExecute"),)},
        {"taints": (OUR_TAINT,)},
        {"created_ns": NOW - 600 * NS},
        {"reset_at": render_reset_at(ResetAt(NOW - 300 * NS))},
        {"uid": "another"},  # it was another Node's
    ],
)
def test_somebody_at_the_node_excuses_it(fields: dict[str, Any]) -> None:
    assert judged(after_boot(**fields)) is None


def test_a_node_that_boots_over_and_over_is_told_each_time() -> None:
    fault = judged(after_boot(boot_id="c" * 32))
    assert fault is not None
    assert (fault.boot_id, fault.identity) == ("c" * 32, f"boot:{OTHER_BOOT}")


def test_who_was_there_when_it_booted_excuses_it_later_too() -> None:
    assert judged(after_boot(), replace(CHANGE, attended="cordoned")) is None


def test_a_declaration_that_is_over_excuses_nothing() -> None:
    over = render_declared(Declared(NOW - 7200 * NS, NOW - 3600 * NS))
    assert judged(after_boot(maintenance=over)) is not None


def test_a_window_excuses_the_nodes_that_it_names() -> None:
    window = Window("w", NOW - NS, NOW + NS, parse_selector("rack=a"))
    pauses = Pauses(windows=(window,))
    assert judged(after_boot(labels=(("rack", "a"),)), pauses=pauses) is None
    assert judged(after_boot(labels=(("rack", "b"),)), pauses=pauses) is not None


def test_an_open_fatal_fault_makes_a_reboot_its_repair() -> None:
    view = after_boot(ledger=sick(record(), owned=()).ledger)
    assert judged(view) is None
    suspect = record(severity=Severity.DEGRADED, acting=False)
    assert judged(after_boot(ledger=sick(suspect, owned=()).ledger)) is not None


def test_nobody_is_at_a_plain_node() -> None:
    assert attended(node(), policy(), NOW) == ""
    assert attended(node(unschedulable=True), policy(), NOW) == "cordoned"


def test_the_default_policy_acts_on_the_third_within_a_day() -> None:
    fault = judged(after_boot())
    assert fault is not None
    facts = FaultFacts(
        fault.fault_id, fault.severity, fault.remedy, fault.device, fault.trust, False, {}
    )
    treatment = choose(policy().rules, facts).treatment
    assert treatment.mode is Mode.ACT
    assert treatment.repeat is not None
    assert (treatment.repeat.count, treatment.repeat.within_s) == (3, 86_400.0)
