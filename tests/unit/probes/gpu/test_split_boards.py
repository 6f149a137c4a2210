"""NVLinks and fabrics of boards that are split, partitioned or given away: configured so, no fault.

And what was up before and is not any more is found all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from probes.backends.base import Gpu
from probes.backends.fake import FakeBackend
from probes.backends.fake_state import FakeState
from probes.backends.readings import NvLink, NvLinkPeer, PciDevice
from probes.check import Check, Outcome
from probes.checks.fabric_manager import FabricManager
from probes.checks.nvlink_fabric import NvLinkFabric
from probes.checks.nvlink_state import NvLinkState
from tests.support.gpus import Clock, Node

PASS, FAIL, WARN, SKIP = Outcome.PASS, Outcome.FAIL, Outcome.WARN, Outcome.SKIP
STATE = NvLinkState()


class Split(FakeBackend):
    """A part of a board: how many links of each GPU are up, which GPUs another machine has."""

    up: Sequence[int] = ()
    switches = 0
    lent = 0

    def nvlinks(self, gpu: Gpu) -> tuple[NvLink, ...]:
        links = range(self.model.nvlinks)
        return tuple(NvLink(n, n < self.up[gpu.index], NvLinkPeer.GPU) for n in links)

    def nvswitches(self) -> tuple[PciDevice, ...]:
        return tuple(PciDevice(f"0000:{n:02x}:00", "10de:22a3") for n in range(self.switches))

    def pci_gpus(self) -> tuple[PciDevice, ...]:
        away = [PciDevice(f"0001:{n:02x}:00", "10de:2330", "vfio-pci") for n in range(self.lent)]
        return (*super().pci_gpus(), *away)


Make = Callable[..., tuple[Node, Split]]


@pytest.fixture
def split(make_node: Callable[..., Node]) -> Make:
    def make(model: str, *up: int, **how: int) -> tuple[Node, Split]:
        node = make_node(model, len(up))
        backend = Split(model, len(up), state=FakeState(node.state), clock=node.clock)
        backend.up = up
        for name, value in how.items():
            setattr(backend, name, value)
        node.backend = backend
        return node, backend

    return make


def outcomes(node: Node, check: Check = STATE) -> list[Outcome]:
    return [each.outcome for each in node.run(check)]


@pytest.mark.parametrize(
    ("model", "up", "expected"),
    [
        ("V100", (4, 4, 4, 4), [PASS] * 4),  # half of a cube of eight
        ("V100", (2, 3, 3), [WARN, PASS, PASS]),  # a part of a cube: told, siblings prove nothing
        ("A100-SXM-80GB", (4, 4), [PASS] * 2),  # two of a board of four
        ("A100-SXM-80GB", (12, 12, 12, 8), [PASS, PASS, PASS, FAIL]),  # the whole of it
        ("H100", (0,), [SKIP]),
        ("H100", (0, 0), [SKIP] * 2),
        ("H100", (0,) * 8, [SKIP] * 8),  # NVLink is switched off, and no switch is to be seen
        ("H100", (18,) * 7 + (17,), [PASS] * 7 + [FAIL]),
    ],
)
def test_links_that_never_were_up_accuse_on_a_whole_board_only(
    split: Make, model: str, up: tuple[int, ...], expected: list[Outcome]
) -> None:
    node, _ = split(model, *up)
    for _ in range(2):
        assert outcomes(node) == expected


def test_dead_links_of_a_board_whose_switches_are_seen_accuse(split: Make) -> None:
    node, _ = split("H100", *(0,) * 8, switches=4)
    assert outcomes(node) == [FAIL] * 8


def test_part_of_the_switches_is_part_of_a_board(split: Make) -> None:
    """HGX A100 in full pass-through: four GPUs with three of six switches have half the links."""
    node, _ = split("A100-SXM-80GB", 6, 6, 6, 6, switches=3)
    assert outcomes(node) == [PASS] * 4


def test_a_link_that_was_up_and_is_not_fails_on_a_split_board_too(split: Make) -> None:
    node, backend = split("V100", 4, 4, 4, 4)
    assert outcomes(node) == [PASS] * 4
    backend.up = (4, 3, 4, 4)
    found = node.run(STATE)
    assert [each.outcome for each in found] == [PASS, FAIL, PASS, PASS]
    assert "3 of 4 NVLinks up (seen since boot)" in found[1].message
    assert "3" in found[1].detail["links"].split(", ")
    assert outcomes(node) == [PASS, FAIL, PASS, PASS], "it is not forgotten"
    backend.up = (4, 0, 4, 4)
    assert outcomes(node)[1] is FAIL, "nor when all are down"
    backend.up = (4, 4, 4, 4)
    assert outcomes(node) == [PASS] * 4


def test_another_boot_may_have_another_part_of_the_board(split: Make) -> None:
    node, backend = split("V100", 6, 6)
    outcomes(node)
    node.boot_id, backend.up = "f" * 32, (2, 2)
    assert outcomes(node) == [PASS] * 2


def test_links_that_end_with_a_gpu_that_is_given_away_warn(split: Make) -> None:
    node, backend = split("A100-SXM-80GB", 12, 12, 12)
    outcomes(node)
    backend.up, backend.lent = (8, 8, 8), 1
    assert outcomes(node) == [WARN] * 3


def test_counts_of_an_older_agent_are_read(split: Make) -> None:
    node, backend = split("V100", 4, 3)
    uuids = [gpu.uuid for gpu in backend.gpus()]
    node.kept["nvlink-state"] = {"most": {"boot": node.boot_id, uuids[0]: 4, uuids[1]: 4}}
    assert outcomes(node) == [PASS, FAIL]


@pytest.mark.parametrize(
    "kept", [7, {"boot": 3}, {"boot": "*", "u": True}, {"boot": "*", "u": {"links": 3}},
             {"boot": "*", "u": {"links": ["x", None], "count": 1}}],
)  # fmt: skip
def test_what_was_kept_may_be_anything(split: Make, kept: object) -> None:
    node, backend = split("V100", 4, 4)
    if isinstance(kept, dict):
        kept = {
            backend.gpus()[0].uuid if name == "u" else name:
            node.boot_id if value == "*" else value
            for name, value in kept.items()
        }  # fmt: skip
    node.kept["nvlink-state"] = {"most": kept}
    assert outcomes(node) == [PASS] * 2


# ---------------------------------------------------------------- fabric


class Fabric:
    """The check over time."""

    def __init__(self, node: Node) -> None:
        self.node, self.clock = node, Clock()
        self.check = NvLinkFabric(self.clock)

    def see(self, gpu: int = 0, after_s: float = 0) -> Outcome:
        self.clock.now_s += after_s
        return self.node.of(self.check, gpu).outcome


def test_part_of_a_board_may_have_no_fabric_to_join(make_node: Callable[..., Node]) -> None:
    node = make_node("H100", 2)
    node.inject("*", fabric_state="in_progress")
    fabric = Fabric(node)
    assert fabric.see() is WARN
    assert fabric.see(after_s=3600) is WARN


def test_one_that_had_joined_and_does_not_any_more_fails(make_node: Callable[..., Node]) -> None:
    node = make_node("H100", 2)
    fabric = Fabric(node)
    assert fabric.see() is PASS
    node.inject("*", fabric_state="in_progress")
    node.boot_id = "f" * 32
    assert fabric.see() is WARN
    assert fabric.see(after_s=300) is FAIL


@pytest.mark.parametrize(("model", "count"), [("H100", 8), ("GB200", 4)])
def test_where_there_is_a_fabric_one_that_never_joins_fails(
    model: str, count: int, make_node: Callable[..., Node]
) -> None:
    node = make_node(model, count)
    node.inject(0, fabric_state="in_progress")
    fabric = Fabric(node)
    fabric.see()
    assert fabric.see(after_s=300) is FAIL
    assert fabric.see(1) is PASS


def test_a_partitioned_gpu_need_not_join(node: Node) -> None:
    node.inject(0, fabric_state="not_started", mig=True)
    fabric = Fabric(node)
    assert fabric.see() is SKIP
    assert fabric.see(after_s=3600) is SKIP
    assert fabric.see(1) is PASS


def test_a_gpu_that_was_taken_from_all_partitions_warns(node: Node) -> None:
    node.inject(0, fabric_problems=["no partition"])
    node.inject(1, fabric_problems=["no partition", "degraded bandwidth"])
    assert Fabric(node).see(0) is WARN
    assert Fabric(node).see(1) is FAIL


# ---------------------------------------------------------------- fabric manager


def test_partitioned_gpus_need_no_fabric_manager(node: Node) -> None:
    node.inject("node", fabric_manager_down=True)
    node.inject("*", mig=True)
    assert outcomes(node, FabricManager()) == [SKIP]


def test_switches_and_gpus_that_are_given_away_are_the_other_machines(node: Node) -> None:
    class Away(FakeBackend):
        def nvswitches(self) -> tuple[PciDevice, ...]:
            return tuple(replace(each, driver="vfio-pci") for each in super().nvswitches())

    node.inject("node", fabric_manager_down=True)
    clock = Clock()
    backend = Away("H100", 8, state=FakeState(node.state), clock=node.clock)
    for _ in range(3):
        found = node.run(FabricManager(clock), backend)
        assert [each.outcome for each in found] == [SKIP]
        clock.now_s += 600
