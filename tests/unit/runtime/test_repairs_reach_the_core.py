"""What the kernel says about repairs is handed to the core, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from konduktor_health.model import RepairSeen, Trust
from konduktor_health.runtime.repairs import KEPT_NS, Repairs
from konduktor_health.timestamps import NS
from konduktor_health.treatment import Repair
from parsers.record import unwrap
from tests.support.builders import NOW, node
from tests.support.world import World

LOADED = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024"
ASKS_NOTHING = (
    "NVRM: Xid (PCI:0000:3b:00): 154, GPU recovery action changed from 0x1 (GPU Reset Required) "
    "to 0x0 (None)"
)
LINK_BACK = "NVRM: Xid (PCI:0000:3b:00): 162, pid=1, name=x, x"


def kinds(world: World, name: str = "gpu-1") -> list[tuple[Repair, str]]:
    return [(each.kind, each.device) for each in world.observer.repairs([name]).get(name, ())]


@pytest.mark.parametrize(
    ("text", "kind", "device"),
    [
        (LOADED, Repair.GPU_RESET, ""),
        (ASKS_NOTHING, Repair.DRIVER_NONE, "0000:3b:00"),
        (LINK_BACK, Repair.END, "0000:3b:00"),
    ],
)
def test_a_repair_is_told_with_its_device(text: str, kind: Repair, device: str) -> None:
    world = World()
    world.hear(world.line("gpu-1"), world.line("gpu-1", text))
    assert (kind, device) in kinds(world)


def test_an_end_names_what_it_ends() -> None:
    world = World()
    world.hear(world.line("gpu-1", LINK_BACK))
    (seen,) = world.observer.repairs(["gpu-1"])["gpu-1"]
    assert seen.ends == ("xid/163",)


@pytest.mark.parametrize(
    "fields",
    [
        {"trust": Trust.POD, "pod": True},
        {"record": unwrap(f"<14>[100000.000000] {LOADED}")},
        {"record": unwrap(f"12,1,100000000000,-;{LOADED}")},
    ],
    ids=["a pod", "a program by its priority", "a program by its record"],
)
def test_only_the_kernel_proves_a_repair(fields: dict[str, Any]) -> None:
    world = World()
    before = world.cluster.nodes["gpu-1"]
    world.hear(world.line("gpu-1", LOADED, **fields))
    assert kinds(world) == []
    assert world.cluster.nodes["gpu-1"] == before


def test_a_marker_writes_nothing_on_a_node_without_a_record() -> None:
    world = World()
    before = world.cluster.nodes["gpu-1"]
    world.hear(world.line("gpu-1", LOADED))
    world.settle()
    assert world.cluster.nodes["gpu-1"] == before
    assert world.observer.oldest_pending_ns() is None


def test_a_node_with_a_ledger_is_decided_again_when_it_was_repaired() -> None:
    world = World()
    world.hear(world.line("gpu-1"))
    entry = world.line("gpu-1", LOADED)
    assert world.observer.take([entry]) == {"gpu-1"}
    assert world.observer.oldest_pending_ns() == entry.time_ns
    assert world.observer.take([world.line("gpu-2", LOADED)]) == set()


def test_a_line_that_is_read_after_the_repair_finds_it() -> None:
    world = World()
    world.hear(world.line("gpu-1", LOADED, ago_s=60))
    world.turn(3600)
    world.hear(world.line("gpu-1", ago_s=7200))
    assert kinds(world) == [(Repair.GPU_RESET, "")]


def test_another_node_of_the_same_name_was_not_repaired() -> None:
    world = World()
    world.hear(world.line("gpu-1", LOADED))
    world.cluster.put(node("gpu-1", uid="another"))
    world.feed.sync()
    world.turn(1)
    assert kinds(world) == []


def repair(event_ns: int, device: str = "") -> RepairSeen:
    return RepairSeen(Repair.GPU_RESET, device, event_ns)


@given(st.lists(st.tuples(st.integers(0, 2**62), st.sampled_from(["", "a", "b"])), max_size=40))
def test_the_newest_of_each_device_stays_whatever_the_order(told: list[tuple[int, str]]) -> None:
    repairs = Repairs()
    for event_ns, device in told:
        repairs.note("n", repair(event_ns, device), NOW)
    kept = {each.device: each.event_ns for each in repairs.of(["n"], NOW).get("n", ())}
    devices = {device for _, device in told}
    assert kept == {device: max(e for e, d in told if d == device) for device in devices}


def test_repairs_are_bounded_and_expire() -> None:
    repairs = Repairs(most=4)
    for n in range(100):
        repairs.note("n", repair(n, f"gpu-{n}"), NOW + n)
    assert [each.device for each in repairs.of(["n"], NOW)["n"]] == [
        f"gpu-{n}" for n in range(96, 100)
    ]
    assert repairs.of(["n"], NOW + KEPT_NS + 200 * NS) == {}
