"""The kernel's files, as a backend and under NVML."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.backends.readings import PciDevice, PcieLink
from probes.backends.sysfs import ProcessState, Sysfs
from probes.errors import BackendError, BackendMissing
from tests.support.sysfs_tree import SysfsTree

COR = "RxErr 0\nBadTLP 3\nBadDLLP 1\nRollover 0\nTimeout 0\nNonFatalErr 0\nCorrIntErr 0\n"


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    return SysfsTree(tmp_path)


def test_gpus_switches_and_what_is_neither(tree: SysfsTree) -> None:
    tree.gpu("0000:86:00.0", pci_class="0x030000", driver="")
    tree.gpu("0000:3b:00.0")
    tree.gpu("0000:3b:00.1", pci_class="0x040300")  # its audio function
    tree.gpu("0000:c1:00.0", pci_class="0x068000", pci_id="0x22a3")
    tree.gpu("0000:01:00.0", vendor="0x8086", pci_class="0x030000")
    sysfs = Sysfs(str(tree.root))

    assert sysfs.pci_gpus() == (
        PciDevice("0000:3b:00", "10de:2330", "nvidia", 1),
        PciDevice("0000:86:00", "10de:2330", "", 1),
    )
    assert sysfs.nvswitches() == (PciDevice("0000:c1:00", "10de:22a3", "nvidia", 1),)


def test_a_machine_without_pci_has_no_gpus(tmp_path: Path) -> None:
    assert Sysfs(str(tmp_path)).pci_gpus() == ()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        # NVIDIA/open-gpu-kernel-modules as in nix-community/nixGL#186 and #121
        (
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build "
                " (dvs-builder@U16-A24-9-2)  Thu Oct 10 12:15:00 UTC 2024\nGCC version:  gcc\n"
            ),
            "565.57.01",
        ),
        (
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  525.60.11  Release Build "
                " (archlinux-builder@localhost)  \nGCC version:  gcc version 12.2.0 (GCC) \n"
            ),
            "525.60.11",
        ),
        # hyprwm/Hyprland#6715: two parts only
        (
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  555.58  Release Build  "
                "(portage@localhost)\n"
            ),
            "555.58",
        ),
        (
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 "
                "UTC 2023\nGCC version:  gcc version 11.4.0\n"
            ),
            "535.104.05",
        ),
    ],
)
def test_the_version_of_the_loaded_module(tree: SysfsTree, text: str, version: str) -> None:
    tree.write("proc/driver/nvidia/version", text)

    assert Sysfs(str(tree.root)).module_version() == version


@pytest.mark.parametrize("text", ["x", "NVRM version: \n", "GCC version: gcc version 13.3.0\n"])
def test_a_version_file_without_a_version_is_an_error(tree: SysfsTree, text: str) -> None:
    tree.write("proc/driver/nvidia/version", text)

    with pytest.raises(BackendError, match="version"):
        Sysfs(str(tree.root)).module_version()


def test_no_module_is_no_driver(tree: SysfsTree) -> None:
    tree.gpu("0000:3b:00.0")
    sysfs = Sysfs(str(tree.root))

    for ask in (sysfs.driver, sysfs.gpus):
        with pytest.raises(BackendMissing):
            ask()


def test_gpus_that_the_driver_holds_are_described_by_proc(tree: SysfsTree) -> None:
    tree.gpu("0000:3b:00.0")
    tree.gpu("0000:86:00.0", driver="vfio-pci")
    tree.module("565.57.01")
    tree.write(
        "proc/driver/nvidia/gpus/0000:3b:00.0/information",
        "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 18\n"
        "GPU UUID: \t GPU-0aa1d3ab-5dc1-4d4c-a3ba-12f4e5d6c7b8\nBus Location: \t 0000:3b:00.0\n",
    )
    (gpu,) = Sysfs(str(tree.root)).gpus()

    assert gpu.name == "NVIDIA H100 80GB HBM3"
    assert gpu.uuid == "GPU-0aa1d3ab-5dc1-4d4c-a3ba-12f4e5d6c7b8"
    assert (gpu.device, gpu.pci_id, gpu.numa_node) == ("0000:3b:00", "10de:2330", 1)


def link(tree: SysfsTree) -> PcieLink:
    tree.module("565.57.01")
    sysfs = Sysfs(str(tree.root))
    return sysfs.pcie_link(sysfs.gpus()[0])


def test_the_highest_link_is_the_lower_one_of_gpu_and_slot(tree: SysfsTree) -> None:
    tree.gpu(
        "0000:3b:00.0", slot=("16.0 GT/s PCIe", "8"),
        current_link_speed="2.5 GT/s PCIe", current_link_width="8",
    )  # fmt: skip

    assert link(tree) == PcieLink(1, 8, 4, 8, 5)


def test_older_kernels_write_the_speed_without_pcie(tree: SysfsTree) -> None:
    tree.gpu("0000:3b:00.0", current_link_speed="8.0 GT/s")

    assert link(tree).generation == 3


@pytest.mark.parametrize(
    ("file", "text"),
    [("current_link_speed", "fast"), ("current_link_width", "x16"), ("max_link_width", "-1")],
)
def test_a_link_file_that_the_kernel_does_not_write_is_an_error(
    tree: SysfsTree, file: str, text: str
) -> None:
    (tree.gpu("0000:3b:00.0") / file).write_text(text)

    with pytest.raises(BackendError, match=file):
        link(tree)


@pytest.mark.parametrize(("speed", "width"), [("Unknown", "0"), ("Unknown speed", "255")])
def test_a_link_that_is_down_has_no_speed(tree: SysfsTree, speed: str, width: str) -> None:
    tree.gpu("0000:3b:00.0", current_link_speed=speed, current_link_width=width)

    assert link(tree).generation is None
    assert link(tree).width in (None, 0)


def test_error_totals_are_read(tree: SysfsTree) -> None:
    tree.gpu(
        "0000:3b:00.0",
        aer_dev_correctable=COR + "TOTAL_ERR_COR 4",
        aer_dev_nonfatal="Undefined 0\nDLP 0\nTOTAL_ERR_NONFATAL 2",
        aer_dev_fatal="Undefined 0\nTOTAL_ERR_FATAL 0",
    )
    tree.module("565.57.01")
    sysfs = Sysfs(str(tree.root))

    assert sysfs.pcie_counters(sysfs.gpus()[0]) == {
        "aer_correctable": 4, "aer_nonfatal": 2, "aer_fatal": 0,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["TOTAL_ERR_COR", "TOTAL_ERR_COR -1", "XTOTAL_ERR_COR 4", "4"])
def test_an_error_file_without_a_total_is_an_error(tree: SysfsTree, text: str) -> None:
    tree.gpu("0000:3b:00.0", aer_dev_correctable=text)
    tree.module("565.57.01")
    sysfs = Sysfs(str(tree.root))

    with pytest.raises(BackendError, match="TOTAL_ERR_COR"):
        sysfs.pcie_counters(sysfs.gpus()[0])


def test_a_process_is_read_whatever_its_name_is(tree: SysfsTree) -> None:
    tree.process(77, "a) R 1 (b", "D", 4242)
    sysfs = Sysfs(str(tree.root))

    assert sysfs.process(77) == ProcessState("D", 4242)
    assert sysfs.process(78) is None


@given(st.binary(max_size=200))
def test_no_bytes_of_a_stat_file_raise(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    root = tmp_path_factory.mktemp("proc")
    (root / "proc/7").mkdir(parents=True)
    (root / "proc/7/stat").write_bytes(raw)

    found = Sysfs(str(root)).process(7)

    assert found is None or len(found.state) == 1


@pytest.mark.parametrize(
    ("init", "programs", "runs"),
    [
        ("systemd", ["nv-fabricmanager"], True),
        ("systemd", ["nvidia-persiste"], False),
        ("konduktor-probe", ["nv-fabricmanager"], None),  # only a container's own processes
    ],
)
def test_the_fabric_manager_is_looked_for_where_processes_are_seen(
    tree: SysfsTree, init: str, programs: list[str], runs: bool | None
) -> None:
    tree.process(1, init, "S", 0)
    for pid, program in enumerate(programs, 100):
        tree.process(pid, program, "S", 0)

    assert Sysfs(str(tree.root)).fabric_manager() is runs


def test_whether_a_gpu_is_in_use_is_not_made_up(tree: SysfsTree) -> None:
    tree.gpu("0000:3b:00.0")
    tree.module("565.57.01")
    sysfs = Sysfs(str(tree.root))

    with pytest.raises(BackendError, match="in use"):
        sysfs.busy(sysfs.gpus()[0])
