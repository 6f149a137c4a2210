"""Checks ``gpu-count`` and ``driver``: is everything there?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.readings import Driver, PciDevice
from probes.backends.sysfs import Sysfs
from probes.check import Context, NodeFacts, Outcome
from probes.checks.driver import DriverWorks
from probes.checks.gpu_count import GpuCount
from probes.errors import BackendMissing, DriverMismatch
from tests.support.gpus import BOOT, Clock, Node, no_tool, outcomes, values
from tests.support.gpus import run as run_check
from tests.support.sysfs_tree import SysfsTree

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
    ("fault", "words", "patience_s"),
    [
        ("driver_missing", "8 NVIDIA GPUs on the PCI bus", 1200),
        ("library_mismatch", "version mismatch", 1200),
        ("driver_wedged", "wedged", 0),
    ],
)
def test_a_driver_that_does_not_work_on_a_gpu_node_is_fatal(
    node: Node, fault: str, words: str, patience_s: float
) -> None:
    """Missing it may be for as long as an operator builds its modules."""
    clock = Clock()
    check = DriverWorks(clock)
    node.inject("node", **{fault: True})
    if patience_s:
        assert [each.outcome for each in node.run(check)] == [Outcome.WARN]
        clock.now_s += patience_s - 1
        assert [each.outcome for each in node.run(check)] == [Outcome.WARN]
        clock.now_s += 1

    (finding,) = node.run(check)

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


def test_an_upgrade_that_follows_another_begins_anew(node: Node) -> None:
    clock = Clock()
    check = DriverWorks(clock)
    for _ in range(3):
        node.inject("node", driver_missing=True)
        assert [each.outcome for each in node.run(check)] == [Outcome.WARN]
        clock.now_s += 1000
        assert [each.outcome for each in node.run(check)] == [Outcome.WARN]
        node.clear()
        assert [each.outcome for each in node.run(check)] == [Outcome.PASS]
        clock.now_s += 1000


class Broken(Sysfs):
    """The node's files, and a library that does not start in this process."""

    error: BackendMissing = BackendMissing("the library is not here")

    def driver(self) -> Driver:
        raise self.error

    def gpus(self) -> tuple[Gpu, ...]:
        raise self.error


@pytest.mark.parametrize("error", [BackendMissing("no library"), DriverMismatch("mismatch")])
@pytest.mark.parametrize(
    ("libraries", "outcome"),
    [
        (["usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"], Outcome.ERROR),
        (["run/nvidia/driver/usr/lib64/libnvidia-ml.so.580.95.05"], Outcome.ERROR),
        (["usr/lib64/libnvidia-ml.so.570.86.15"], Outcome.FAIL),  # an upgrade without a reload
        (["usr/lib64/libnvidia-ml.so.1"], Outcome.FAIL),
        ([], Outcome.FAIL),
    ],
)
def test_an_agent_with_an_old_library_or_none_does_not_accuse_its_node(
    tmp_path: Path, error: BackendMissing, libraries: list[str], outcome: Outcome
) -> None:
    tree = SysfsTree(tmp_path)
    tree.gpu("0000:3b:00.0")
    tree.module("580.95.05")
    for path in libraries:
        tree.write(path, "")
    backend = Broken(str(tmp_path))
    backend.error = error
    options = {"start_s": "0"}
    its = Context(backend, no_tool(), root=str(tmp_path), options=options, boot_id=BOOT)

    (finding,) = run_check(DRIVER, its)

    assert finding.outcome is outcome
    assert ("start its pod anew" in finding.message) == (outcome is Outcome.ERROR)


# ---------------------------------------------------------------- GPUs that are not the driver's


def holding(node: Node, drivers: Mapping[int, str]) -> FakeBackend:
    """Some GPUs are held by another driver, or none; NVIDIA's does not have them."""

    class Held(FakeBackend):
        def gpus(self) -> tuple[Gpu, ...]:
            return tuple(each for each in super().gpus() if each.index not in drivers)

        def pci_gpus(self) -> tuple[PciDevice, ...]:
            return tuple(
                replace(each, driver=drivers.get(number, "nvidia"))
                for number, each in enumerate(super().pci_gpus())
            )

    return Held("H100", 8, state=FakeState(node.state), clock=node.clock)


@pytest.mark.parametrize("driver", ["vfio-pci", "nouveau"])
def test_a_gpu_that_another_driver_holds_is_not_lost(node: Node, driver: str) -> None:
    backend = holding(node, {7: driver})

    for _ in range(2):
        found = outcomes(node.run(COUNT, backend))
        assert Outcome.FAIL not in found.values()
        assert node.devices[7] not in found


def test_gpus_of_another_driver_alone_make_no_node_of_nvidias(node: Node) -> None:
    backend = holding(node, dict.fromkeys(range(8), "nouveau"))
    node.inject("node", driver_missing=True)

    assert [each.outcome for each in node.run(DRIVER, backend)] == [Outcome.SKIP]
    assert [each.outcome for each in node.run(COUNT, backend)] == [Outcome.SKIP]
    node.facts = NodeFacts(expected_gpus=8)
    assert failed_with(node, backend) == {"": ("fatal", "reboot")}


def failed_with(node: Node, backend: FakeBackend) -> dict[str, tuple[str, str]]:
    return {
        finding.device: (finding.severity, finding.remedy)
        for finding in node.run(COUNT, backend)
        if finding.outcome is Outcome.FAIL
    }


def test_a_gpu_that_is_handed_over_has_no_driver_for_a_while(node: Node) -> None:
    clock = Clock()
    check = GpuCount(clock)
    node.run(check)
    backend = holding(node, {7: ""})

    assert outcomes(node.run(check, backend))[node.devices[7]] is Outcome.WARN
    clock.now_s += 299
    assert outcomes(node.run(check, backend))[node.devices[7]] is Outcome.WARN
    clock.now_s += 1
    assert outcomes(node.run(check, backend))[node.devices[7]] is Outcome.FAIL
    found = outcomes(node.run(check, holding(node, {7: "vfio-pci"})))
    assert Outcome.FAIL not in found.values()


def test_a_gpu_that_is_away_for_a_moment_is_not_accused(node: Node) -> None:
    """As during its reset: the second look finds it."""

    class Resetting(FakeBackend):
        looks = 0

        def gpus(self) -> tuple[Gpu, ...]:
            self.looks += 1
            return super().gpus()[:7] if self.looks == 1 else super().gpus()

    backend = Resetting("H100", 8, state=FakeState(node.state), clock=node.clock)

    assert set(outcomes(node.run(COUNT, backend)).values()) == {Outcome.PASS}


def test_virtual_functions_of_a_vgpu_host_are_no_gpus_of_the_bus(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path)
    tree.gpu("0000:3b:00.0")
    (tree.gpu("0000:3b:01.0") / "physfn").symlink_to("../0000:3b:00.0")

    assert [each.device for each in Sysfs(str(tmp_path)).pci_gpus()] == ["0000:3b:00"]
