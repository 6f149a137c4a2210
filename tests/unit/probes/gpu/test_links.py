"""Checks of PCIe, NVLink, switches and fabric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.readings import ClockReason, NvLink, PcieLink
from probes.check import Outcome
from probes.checks.fabric_manager import FabricManager
from probes.checks.nvlink_errors import NvLinkErrors
from probes.checks.nvlink_fabric import NvLinkFabric
from probes.checks.nvlink_state import NvLinkState
from probes.checks.pcie_errors import PcieErrors
from probes.checks.pcie_link import PcieLinkState
from tests.support.gpus import Clock, Node, outcomes, values

FAIL, WARN, PASS, SKIP, ERROR = (
    Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.SKIP, Outcome.ERROR
)  # fmt: skip
LINK, STATE = PcieLinkState(), NvLinkState()


# ---------------------------------------------------------------- pcie-link


@pytest.mark.parametrize("busy", [False, True])
def test_missing_lanes_fail_busy_or_not(node: Node, busy: bool) -> None:
    node.inject(3, pcie_width=8, busy=busy)

    finding = node.of(LINK, 3)

    assert (finding.outcome, finding.severity, finding.busy) == (FAIL, "degraded", busy)
    assert values(finding)["width"] == 8


def test_an_idle_link_at_gen1_is_told_and_not_judged(node: Node) -> None:
    node.inject(3, pcie_generation=1)

    finding = node.of(LINK, 3)

    assert finding.outcome is PASS
    (generation,) = [each for each in finding.measurements if each.name == "generation"]
    assert (generation.value, generation.threshold) == (1, None)
    assert "not judged" in finding.message


def test_a_busy_link_at_gen1_fails_and_idling_does_not_heal_it(node: Node) -> None:
    node.inject(3, pcie_generation=1, busy=True)
    assert node.of(LINK, 3).outcome is FAIL

    node.inject(3, busy=False)
    assert node.of(LINK, 3).outcome is SKIP
    assert node.of(LINK, 3).outcome is SKIP

    node.clear(3, "pcie_generation")
    assert node.of(LINK, 3).outcome is PASS
    node.inject(3, pcie_generation=1)
    assert node.of(LINK, 3).outcome is PASS, "it was seen at full speed, and idles now"


def test_a_gpu_that_is_held_and_idles_is_not_accused_of_its_idle_link(node: Node) -> None:
    node.inject(3, pcie_generation=1, busy=True, clock_reasons=[ClockReason.IDLE.value])

    finding = node.of(LINK, 3)

    assert (finding.outcome, finding.busy) == (PASS, True)
    assert "not judged" in finding.message
    node.inject(3, clock_reasons=[])
    assert node.of(LINK, 3).outcome is FAIL


def test_a_link_that_wakes_up_while_it_is_looked_at_passes(node: Node) -> None:
    class Waking(FakeBackend):
        looks = 0

        def pcie_link(self, gpu: Gpu) -> PcieLink:
            self.looks += 1
            generation = 1 if self.looks == 1 else 5
            return replace(super().pcie_link(gpu), generation=generation)

    node.inject("*", busy=True)
    backend = Waking("H100", 1, state=FakeState(node.state), clock=node.clock)

    assert [each.outcome for each in node.run(LINK, backend)] == [PASS]


@pytest.mark.parametrize(
    "faults", [{"pcie_width": 0}, {"pcie_width": 255}, {"pcie_generation": 77}]
)
def test_what_no_link_can_be_is_an_error(node: Node, faults: dict[str, object]) -> None:
    node.inject(3, **faults)

    assert node.of(LINK, 3).outcome is ERROR


# ---------------------------------------------------------------- pcie-errors


def test_replays_above_8_a_minute_warn_and_fail_in_the_third_run(node: Node) -> None:
    clock = Clock()
    check = PcieErrors(clock)
    found = []
    node.inject(3, pcie_replays_per_s=1)
    for _ in range(4):
        found.append(node.of(check, 3).outcome)
        clock.now_s += 60
        node.clock.now_s += 60

    assert found == [SKIP, WARN, WARN, FAIL]


def test_few_replays_pass_with_their_rate(node: Node) -> None:
    clock = Clock()
    check = PcieErrors(clock)
    node.inject(3, pcie_replays_per_s=0.1)
    node.run(check)
    clock.now_s += 60
    node.clock.now_s += 60

    finding = node.of(check, 3)

    assert finding.outcome is PASS
    assert values(finding)["replays"] == pytest.approx(6)


@pytest.mark.parametrize(("fault", "outcome"), [("aer_fatal", FAIL), ("aer_nonfatal", WARN)])
def test_uncorrected_errors_since_the_last_run(node: Node, fault: str, outcome: Outcome) -> None:
    clock = Clock()
    check = PcieErrors(clock)
    node.run(check)
    clock.now_s += 60
    node.inject(3, **{fault: 2})

    finding = node.of(check, 3)

    assert finding.outcome is outcome
    if outcome is FAIL:
        assert (finding.severity, finding.remedy) == ("fatal", "reboot")
    clock.now_s += 60
    assert node.of(check, 3).outcome is PASS, "they are of the run before"


def test_counters_of_another_boot_are_not_compared(node: Node) -> None:
    clock = Clock()
    check = PcieErrors(clock)
    node.run(check)
    clock.now_s += 60
    node.inject(3, aer_fatal=2)
    node.boot_id = "f" * 32

    assert node.of(check, 3).outcome is SKIP


# ---------------------------------------------------------------- nvlink-state


def test_a_link_that_is_down_is_named(node: Node) -> None:
    node.inject(3, nvlinks_down=[5, 11])

    finding = node.of(STATE, 3)

    assert (finding.outcome, finding.severity, finding.remedy) == (FAIL, "degraded", "reset_gpu")
    assert finding.detail["links"] == "5, 11"
    assert values(finding) == {"links": 16}


def test_all_links_down_on_a_board_fail(node: Node) -> None:
    node.inject(3, nvlinks_down=list(range(18)))

    assert node.of(STATE, 3).outcome is FAIL


def test_a_bridge_uses_12_of_18_links_and_that_is_enough(make_node: Callable[..., Node]) -> None:
    node = make_node("H100-NVL", 2)
    assert set(outcomes(node.run(STATE)).values()) == {PASS}

    node.inject(1, nvlinks_down=[2])

    assert outcomes(node.run(STATE)) == {
        node.backend.gpus()[0].device: PASS, node.backend.gpus()[1].device: FAIL
    }  # fmt: skip


def test_siblings_show_a_link_that_was_never_up(make_node: Callable[..., Node]) -> None:
    node = make_node("GB200", 4)
    node.inject(1, nvlinks_down=[2])

    assert sorted(each.value for each in outcomes(node.run(STATE)).values()) == [
        "fail", "pass", "pass", "pass"
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["H100", "H100-PCIE", "A100-PCIE-80GB"])
def test_no_link_in_use_where_that_can_be_meant_is_a_skip(
    model: str, make_node: Callable[..., Node]
) -> None:
    node = make_node(model, 1)

    assert [finding.outcome for finding in node.run(STATE)] == [SKIP]


def test_a_partitioned_gpu_uses_no_nvlink(node: Node) -> None:
    node.inject(3, mig=True, nvlinks_down=list(range(18)))

    finding = node.of(STATE, 3)

    assert finding.outcome is SKIP
    assert "MIG" in finding.message


# ---------------------------------------------------------------- nvlink-errors


def errors_of(node: Node, runs: int, seconds: float = 60) -> list[Outcome]:
    clock = Clock()
    check = NvLinkErrors(clock)
    found = []
    for _ in range(runs):
        found.append(node.of(check, 3).outcome)
        clock.now_s += seconds
        node.clock.now_s += seconds
    return found


def test_100_crc_errors_a_second_fail_and_fewer_warn(node: Node) -> None:
    node.inject(3, nvlink_crc_per_s=100)
    assert errors_of(node, 3) == [SKIP, FAIL, FAIL]

    node.clear(3)
    node.kept.clear()
    node.inject(3, nvlink_crc_per_s=99)
    assert errors_of(node, 3) == [SKIP, WARN, WARN]


def test_recoveries_in_15_of_30_runs_fail(node: Node) -> None:
    node.inject(3, nvlink_recoveries_per_s=1)

    assert errors_of(node, 17) == [SKIP] + [WARN] * 14 + [FAIL] * 2


def test_after_a_reset_of_counters_growth_is_what_they_show(node: Node) -> None:
    clock = Clock()
    check = NvLinkErrors(clock)
    node.inject(3, nvlink_crc_per_s=1000)
    node.clock.now_s += 1000
    node.of(check, 3)
    clock.now_s += 60
    node.clear(3)

    assert node.of(check, 3).outcome is PASS


def test_errors_of_long_ago_do_not_come_back_with_their_link(node: Node) -> None:
    """Link 0 counted a million errors before; it is down for one run, and up again."""

    class Counting(FakeBackend):
        up = True

        def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
            first = NvLink(0, self.up, errors={"crc_flit": 1_000_000} if self.up else {})
            return (first, NvLink(1, active=True, errors={"crc_flit": 7}))

    clock = Clock()
    check = NvLinkErrors(clock)
    backend = Counting("H100", 8, state=FakeState(node.state), clock=node.clock)
    found = []
    for backend.up in (True, True, False, True, True):
        found.append(node.run(check, backend)[0].outcome)
        clock.now_s += 60
    assert found == [SKIP, PASS, PASS, PASS, PASS]


# ---------------------------------------------------------------- fabric


@pytest.mark.parametrize("state", ["not_started", "in_progress"])
def test_a_gpu_may_take_five_minutes_to_join_its_fabric(node: Node, state: str) -> None:
    clock = Clock()
    check = NvLinkFabric(clock)
    node.inject(3, fabric_state=state)

    assert node.of(check, 3).outcome is WARN
    clock.now_s += 299
    assert node.of(check, 3).outcome is WARN
    clock.now_s += 1
    finding = node.of(check, 3)
    assert (finding.outcome, finding.severity, finding.remedy) == (FAIL, "fatal", "reboot")

    node.clear(3)
    assert node.of(check, 3).outcome is PASS
    node.inject(3, fabric_state=state)
    assert node.of(check, 3).outcome is WARN, "the wait begins anew"


@pytest.mark.parametrize(
    ("faults", "outcome", "severity"),
    [
        ({"fabric_status": "Timeout"}, FAIL, "fatal"),
        ({"fabric_problems": ["degraded bandwidth"]}, FAIL, "degraded"),
        ({"fabric_problems": ["route recovery in progress"]}, WARN, "degraded"),
        ({"fabric_problems": ["route recovery in progress", "route unhealthy"]}, FAIL, "degraded"),
    ],
)
def test_a_joined_fabric_has_to_be_whole(
    node: Node, faults: dict[str, object], outcome: Outcome, severity: str
) -> None:
    node.inject(3, **faults)

    finding = node.of(NvLinkFabric(), 3)

    assert (finding.outcome, finding.severity) == (outcome, severity)


def test_a_missing_nvswitch_is_fatal(node: Node) -> None:
    node.inject("node", nvswitches=3)

    (finding,) = node.run(FabricManager())

    assert (finding.outcome, finding.severity, finding.remedy) == (FAIL, "fatal", "reboot")
    assert "3 of 4" in finding.message


def test_switches_that_vanish_all_are_not_a_node_without_switches(node: Node) -> None:
    node.run(FabricManager())
    node.inject("node", nvswitches=0)

    assert [finding.outcome for finding in node.run(FabricManager())] == [FAIL]


def test_switches_without_a_fabric_manager_fail(node: Node) -> None:
    node.inject("node", fabric_manager_down=True)
    clock = Clock()
    check = FabricManager(clock)

    assert [each.outcome for each in node.run(check)] == [WARN], "it may be starting"
    clock.now_s += 299
    assert [each.outcome for each in node.run(check)] == [WARN]
    clock.now_s += 1
    (finding,) = node.run(check)

    assert (finding.outcome, finding.severity, finding.remedy) == (FAIL, "degraded", "reboot")


@pytest.mark.parametrize(("model", "count"), [("H100", 1), ("L4", 4), ("B200", 8)])
def test_where_no_switch_is_on_the_bus_it_is_skipped(
    model: str, count: int, make_node: Callable[..., Node]
) -> None:
    assert outcomes(make_node(model, count).run(FabricManager())) == {"": SKIP}
