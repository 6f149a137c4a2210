"""Presets: what each does, and what none may do."""

from __future__ import annotations

from typing import Any

import pytest

from konduktor_health.model import Policy
from konduktor_health.policy import PRESETS, preset_policy
from konduktor_health.policy.document import PresetName
from konduktor_health.policy.known import OWN, Known
from konduktor_health.policy.presets import NAVARCH_FATAL
from konduktor_health.policy.samples import samples
from konduktor_health.treatment import (
    ALLOCATABLE,
    DEFAULT_RULES,
    FOUND_BY,
    UNRESPONSIVE,
    Asked,
    Effect,
    FaultFacts,
    Match,
    Mode,
    ProbeNeed,
    Treatment,
    choose,
    repairs_for,
)
from parsers.fault import Remedy, Severity, Trust

ALL = list(PRESETS)


def facts(
    fault_id: str, severity: Severity, trust: Trust = Trust.KERNEL, remedy: Remedy = Remedy.REBOOT
) -> FaultFacts:
    return FaultFacts(fault_id, severity, remedy, "0000:3b:00", trust, False, {})


def treatment(preset: PresetName, *args: Any) -> Treatment:
    return choose(PRESETS[preset].rules, facts(*args)).treatment


def told(preset: PresetName, *args: object) -> str:
    """ "observe", or the effect of what acts."""
    found = treatment(preset, *args)
    return "observe" if found.mode is Mode.OBSERVE else found.effect.value


def test_the_preset_default_is_what_holds_without_a_file() -> None:
    assert PRESETS[PresetName.DEFAULT].rules == DEFAULT_RULES == Policy().rules
    assert preset_policy(PresetName.DEFAULT, Policy()) == Policy()


@pytest.mark.parametrize("name", ALL)
def test_what_a_person_recorded_is_cleared_by_a_person_whatever_the_preset(
    name: PresetName,
) -> None:
    found = treatment(name, "operator/taint", Severity.FATAL)
    assert (found.mode, found.effect, found.clear.operator) == (Mode.ACT, Effect.NO_SCHEDULE, True)


@pytest.mark.parametrize("name", ALL)
def test_no_preset_evicts_and_none_acts_on_pods_lines(name: PresetName) -> None:
    for rule in PRESETS[name].rules:
        assert rule.treatment.effect is not Effect.NO_EXECUTE, rule.name
    for each in samples(Known()):
        if each.fault_id.startswith("operator/") or each.fault_id == "node/unexpected-reboot":
            continue
        rule = choose(PRESETS[name].rules, facts(each.fault_id, each.severity, Trust.POD))
        assert rule.treatment.mode is Mode.OBSERVE, (rule.name, each.fault_id)


@pytest.mark.parametrize("name", ALL)
def test_the_last_rule_matches_everything_and_names_are_unique(name: PresetName) -> None:
    rules = PRESETS[name].rules
    assert rules[-1].match == Match()
    assert [rule.match for rule in rules].count(Match()) == 1
    assert len({rule.name for rule in rules}) == len(rules)


@pytest.mark.parametrize("name", ALL)
def test_what_acts_is_never_cleared_by_silence(name: PresetName) -> None:
    """A probe, a repair or a person: quiet alone is no proof."""
    for rule in PRESETS[name].rules:
        clear = rule.treatment.clear
        if rule.name == "allocatable-gpus":  # proven by the Node: the event that ends the state
            assert clear.repair is Asked.REMEDY
            assert repairs_for(clear.repair, OWN[ALLOCATABLE][1]) is None
            continue
        if rule.treatment.mode is Mode.ACT:
            assert clear.operator or clear.probes, rule.name
            assert not clear.log_only or clear.repair is not Asked.NOTHING, rule.name


def test_a_failing_check_acts_by_its_severity_and_is_cleared_by_the_same_check() -> None:
    for severity, effect in (
        (Severity.FATAL, "NoSchedule"),
        (Severity.DEGRADED, "PreferNoSchedule"),
    ):
        fault_id = "probe/pcie-bandwidth"
        assert told(PresetName.DEFAULT, fault_id, severity, Trust.PROBE) == effect
        clear = treatment(PresetName.DEFAULT, fault_id, severity, Trust.PROBE).clear
        assert clear.repair is Asked.NOTHING
        assert ProbeNeed(FOUND_BY, 3) in clear.probes


@pytest.mark.parametrize("name", ALL)
def test_a_check_that_does_not_answer_accuses_nobody(name: PresetName) -> None:
    assert told(name, UNRESPONSIVE, Severity.UNKNOWN, Trust.PROBE) == "observe"


def test_conservative_acts_on_fatal_hardware_alone_and_few_nodes() -> None:
    name = PresetName.CONSERVATIVE
    assert told(name, "xid/79", Severity.FATAL) == "NoSchedule"
    assert told(name, "kernel/gpu-lost", Severity.FATAL) == "NoSchedule"
    assert told(name, "sxid/12028", Severity.FATAL) == "observe", "a switch is no node"
    assert told(name, "probe/pcie-bandwidth", Severity.FATAL, Trust.PROBE) == "observe"
    assert told(name, "xid/63", Severity.DEGRADED) == "observe"
    assert treatment(name, "xid/79", Severity.FATAL).clear.operator
    policy = preset_policy(name, Policy())
    assert (policy.budget_percent, policy.budget_max_nodes) == (5.0, 5)


def test_settings_that_were_given_outrank_a_preset() -> None:
    given = Policy(budget_percent=7.0)
    policy = preset_policy(PresetName.CONSERVATIVE, given, {"budget_percent"})
    assert (policy.budget_percent, policy.budget_max_nodes) == (7.0, 5)


def test_strict_keeps_pods_from_degraded_nodes_and_waits_longer() -> None:
    name = PresetName.STRICT
    assert told(name, "xid/63", Severity.DEGRADED) == "NoSchedule"
    assert told(name, "xid/999", Severity.UNKNOWN) == "observe"
    assert told(name, "xid/13", Severity.APPLICATION) == "observe"
    for severity in (Severity.FATAL, Severity.DEGRADED):
        default = treatment(PresetName.DEFAULT, "xid/79", severity).clear.quiet_s
        assert treatment(name, "xid/79", severity).clear.quiet_s > default


def test_konduktor_compatible_taints_for_degraded_xids_and_not_for_its_harmless_sxids() -> None:
    name = PresetName.KONDUKTOR
    for code, severity in ((79, Severity.FATAL), (63, Severity.DEGRADED)):
        assert told(name, f"xid/{code}", severity) == "NoSchedule"
        assert treatment(name, f"xid/{code}", severity).clear.operator
    assert told(name, "sxid/12028", Severity.FATAL) == "NoSchedule"
    assert told(name, "sxid/24003", Severity.DEGRADED) == "observe"
    assert told(name, "xid/13", Severity.APPLICATION) == "observe", "programs never cost a node"
    assert told(name, "workload/invalid-device-ordinal", Severity.APPLICATION) == "observe"
    assert told(name, "xid/999", Severity.UNKNOWN) == "observe", "an unknown code never acts alone"


def test_navarch_compatible_has_its_fatal_list_and_avoids_the_rest() -> None:
    name = PresetName.NAVARCH
    for code in NAVARCH_FATAL:
        assert told(name, f"xid/{code}", Severity.DEGRADED) == "NoSchedule"
        assert told(name, f"xid/{code}", Severity.APPLICATION) == "observe"
    assert told(name, "xid/8", Severity.DEGRADED) == "PreferNoSchedule"
    assert told(name, "xid/171", Severity.FATAL) == "NoSchedule"
    assert told(name, "sxid/12028", Severity.DEGRADED) == "PreferNoSchedule"
    for rule in PRESETS[name].rules:
        if rule.treatment.mode is Mode.ACT:
            assert rule.treatment.clear.operator, "sticky"
