"""Checks ``gpu-count`` and ``driver``: is everything there?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.readings import PciDevice
from probes.check import NodeFacts, Outcome
from probes.checks.driver import DriverWorks
from probes.checks.gpu_count import GpuCount
from tests.support.gpus import Node, outcomes, values

COUNT, DRIVER = GpuCount(), DriverWorks()


def failed(node: Node) -> dict[str, tuple[str, str]]:
    return {
        finding.device: (finding.severity, finding.remedy)
        for finding in node.run(COUNT)
        if finding.outcome is Outcome.FAIL
    }


# ---------------------------------------------------------------- gpu-count


def test_all_gpus_there_pass_each_and_the_node(node: Node) -> None:
    found = outcomes(node.run(COUNT))

    assert set(found) == {*node.devices, ""}
    assert set(found.values()) == {Outcome.PASS}


def test_a_gpu_on_the_bus_that_the_driver_does_not_open_is_named(node: Node) -> None:
    node.inject(3, lost=True)

    findings = node.run(COUNT)

    (bad,) = [finding for finding in findings if finding.outcome is Outcome.FAIL]
    assert (bad.device, bad.severity, bad.remedy) == (node.devices[3], "fatal", "reboot")
    assert "on the PCI bus" in bad.message
    assert "GPU is lost" in bad.message
    assert "" not in {each.device for each in findings if each.outcome is Outcome.PASS}


def test_a_gpu_that_left_the_bus_since_boot_is_named(node: Node) -> None:
    node.run(COUNT)
    node.inject(3, off_bus=True)

    assert failed(node) == {node.devices[3]: ("fatal", "reboot")}
    assert failed(node) == {node.devices[3]: ("fatal", "reboot")}, "it is not forgotten"


@pytest.mark.parametrize("driver", ["vfio-pci", "nvgrace-gpu-vfio-pci"])
def test_a_gpu_that_is_given_to_a_virtual_machine_after_it_was_seen_is_not_lost(
    node: Node, driver: str
) -> None:
    class Lending(FakeBackend):
        def gpus(self) -> tuple[Gpu, ...]:
            return super().gpus()[:7]

        def pci_gpus(self) -> tuple[PciDevice, ...]:
            *others, last = super().pci_gpus()
            return (*others, replace(last, driver=driver))

    node.facts = NodeFacts(expected_gpus=8)
    node.run(COUNT)
    backend = Lending("H100", 8, state=FakeState(node.state), clock=node.clock)

    found = outcomes(node.run(COUNT, backend))

    assert found == {**dict.fromkeys(node.devices[:7], Outcome.PASS), "": Outcome.SKIP}


def test_after_a_boot_the_gpus_of_before_are_not_expected(node: Node) -> None:
    node.run(COUNT)
    node.inject(3, off_bus=True)
    node.boot_id = "f" * 32

    assert failed(node) == {}


def test_fewer_than_the_controller_expects_fails_the_node(node: Node) -> None:
    node.facts = NodeFacts(expected_gpus=8)
    node.inject(3, off_bus=True)

    assert failed(node) == {"": ("fatal", "reboot")}
    (whole,) = [finding for finding in node.run(COUNT) if not finding.device]
    assert "7 of 8" in whole.message
    assert values(whole) == {"gpus": 7}


def test_a_named_missing_gpu_is_not_told_twice(node: Node) -> None:
    node.facts = NodeFacts(expected_gpus=8)
    node.inject(3, lost=True)

    assert set(failed(node)) == {node.devices[3]}


def test_an_option_outranks_the_controller(node: Node) -> None:
    node.facts = NodeFacts(expected_gpus=4)
    node.options["expected"] = "9"

    assert failed(node) == {"": ("fatal", "reboot")}


@pytest.mark.parametrize("text", ["many", "-1", "nan", ""])
def test_an_expected_number_that_is_none_is_an_error(node: Node, text: str) -> None:
    node.options["expected"] = text

    found = [finding for finding in node.run(COUNT) if not finding.device]

    assert [finding.outcome for finding in found] == [Outcome.ERROR]
    assert "expected" in found[0].message


def test_more_than_expected_warns(node: Node) -> None:
    node.facts = NodeFacts(expected_gpus=4)

    assert outcomes(node.run(COUNT))[""] is Outcome.WARN


def test_a_gpu_that_only_answers_lost_fails(node: Node) -> None:
    node.inject(3, answers_lost=True)

    assert failed(node) == {node.devices[3]: ("fatal", "reboot")}


def test_a_node_without_gpus_is_skipped_and_one_that_should_have_some_fails(
    make_node: Callable[..., Node],
) -> None:
    node = make_node("H100", 0)
    assert [finding.outcome for finding in node.run(COUNT)] == [Outcome.SKIP]

    node.inject("node", driver_missing=True)
    assert [finding.outcome for finding in node.run(COUNT)] == [Outcome.SKIP]

    node.facts = NodeFacts(expected_gpus=8)
    assert failed(node) == {"": ("fatal", "reboot")}


# ---------------------------------------------------------------- driver


def test_a_driver_that_works_tells_its_versions(node: Node) -> None:
    (finding,) = node.run(DRIVER)

    assert finding.outcome is Outcome.PASS
    assert finding.detail["driver"] == "580.95.05"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("driver_missing", "8 NVIDIA GPUs on the PCI bus"),
        ("library_mismatch", "version mismatch"),
        ("driver_wedged", "wedged"),
    ],
)
def test_a_driver_that_does_not_work_on_a_gpu_node_is_fatal(
    node: Node, fault: str, words: str
) -> None:
    node.inject("node", **{fault: True})

    (finding,) = node.run(DRIVER)

    assert (finding.outcome, finding.severity, finding.remedy) == (Outcome.FAIL, "fatal", "reboot")
    assert words in finding.message


def test_no_driver_on_a_node_without_gpus_is_a_skip(make_node: Callable[..., Node]) -> None:
    node = make_node("H100", 0)
    node.inject("node", driver_missing=True)

    assert [finding.outcome for finding in node.run(DRIVER)] == [Outcome.SKIP]


@pytest.mark.parametrize("faults", [{"no_permission": True}, {"backend_error": "Unknown Error"}])
def test_a_driver_that_cannot_be_asked_is_an_error_and_accuses_nobody(
    node: Node, faults: dict[str, object]
) -> None:
    node.inject("node", **faults)

    assert [finding.outcome for finding in node.run(DRIVER)] == [Outcome.ERROR]
