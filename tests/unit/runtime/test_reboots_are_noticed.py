"""A reboot out of the blue becomes a record; many at once write no Node."""

from __future__ import annotations

from collections.abc import Iterable

from konduktor_health.core.assess import read_ledger
from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.reboots import FAULT_ID
from konduktor_health.model import Severity
from konduktor_health.runtime.reboots import SETTLE_S
from konduktor_health.timestamps import NS
from tests.support.builders import NOW
from tests.support.ledgers import record
from tests.support.world import World

LONG_AGO = NOW - 30 * 86_400 * NS


def world_of(count: int) -> World:
    world = World(count)
    for name in world.names:
        world.change(name, created_ns=LONG_AGO)
    world.turn(60)
    return world


def boots(world: World, *names: str, count: int = 0) -> None:
    for name in names:
        world.change(name, boot_id=f"{count + 0xB00:032x}")


def recorded(world: World, names: Iterable[str]) -> dict[str, int]:
    """How often each node has it in its ledger."""
    ledgers = {name: read_ledger(world.cluster.nodes[name])[0] for name in names}
    found = {name: ledger.record(("", FAULT_ID)) for name, ledger in ledgers.items()}
    return {name: seen.count for name, seen in found.items() if seen}


def test_a_reboot_out_of_the_blue_is_recorded_and_taints_nothing() -> None:
    world = world_of(20)
    boots(world, "gpu-1")
    world.turn(SETTLE_S - 1)
    assert recorded(world, world.names) == {}
    world.turn(2)
    world.settle()
    assert recorded(world, world.names) == {"gpu-1": 1}
    ledger, _ = read_ledger(world.cluster.nodes["gpu-1"])
    assert ledger.records[0].severity is Severity.DEGRADED
    assert ledger.records[0].source == "controller"
    assert world.tainted() == []


def test_each_reboot_counts_once() -> None:
    world = world_of(20)
    for count in range(3):
        boots(world, "gpu-1", count=count)
        world.turn(SETTLE_S + 1)
        world.turn(600)
        world.settle()
    assert recorded(world, world.names) == {"gpu-1": 3}


def test_a_cordon_that_was_lifted_just_before_excuses_it() -> None:
    world = world_of(20)
    world.change("gpu-1", unschedulable=True)
    world.change("gpu-1", unschedulable=False)
    boots(world, "gpu-1")
    world.turn(SETTLE_S + 1)
    assert recorded(world, world.names) == {}


def test_a_label_of_the_driver_upgrade_is_seen_although_it_makes_nothing_due() -> None:
    world = world_of(20)
    world.change("gpu-1", labels=(("nvidia.com/gpu-driver-upgrade-state", "pod-restart-required"),))
    world.change("gpu-1", labels=())
    boots(world, "gpu-1")
    world.turn(SETTLE_S + 1)
    assert recorded(world, world.names) == {}


def test_an_hour_later_the_cordon_excuses_nothing() -> None:
    world = world_of(20)
    world.change("gpu-1", unschedulable=True)
    world.change("gpu-1", unschedulable=False)
    world.turn(3700)
    boots(world, "gpu-1")
    world.turn(SETTLE_S + 1)
    world.settle()
    assert recorded(world, world.names) == {"gpu-1": 1}


def test_somebody_who_comes_while_it_settles_excuses_it() -> None:
    world = world_of(20)
    boots(world, "gpu-1")
    world.turn(60)
    world.change("gpu-1", unschedulable=True)
    world.turn(SETTLE_S)
    assert recorded(world, world.names) == {}


def test_many_at_once_write_no_node() -> None:
    world = world_of(40)
    boots(world, *world.names[:12])
    world.cluster.writes.clear()
    world.turn(SETTLE_S + 1)
    world.turn(600)
    assert recorded(world, world.names) == {}
    assert [write for write in world.cluster.writes if write != "state"] == []


def test_a_rolling_reboot_of_cordoned_nodes_hides_no_reboot_of_another() -> None:
    world = world_of(40)
    for name in world.names[:12]:
        world.change(name, unschedulable=True)
    boots(world, *world.names[:12], "gpu-30")
    world.turn(SETTLE_S + 1)
    world.settle()
    assert recorded(world, world.names) == {"gpu-30": 1}


def test_while_no_controller_ran_a_ledger_knows_the_boot() -> None:
    world = world_of(20)
    watched = record("xid/63", severity=Severity.DEGRADED, acting=False)
    ledger = Ledger(
        uid="uid-gpu-1", boot_id="c" * 32, written_ns=world.clock.now_ns(), records=(watched,)
    )
    world.change("gpu-1", ledger=render(ledger))
    world.clock.advance(300)
    world.cluster.put(world.cluster.nodes["gpu-2"])
    world.restarted()
    world.turn(SETTLE_S + 1)
    world.settle()
    assert recorded(world, world.names) == {"gpu-1": 1}


def test_a_replica_that_takes_over_does_not_count_what_was_counted() -> None:
    world = world_of(20)
    boots(world, "gpu-1")
    world.turn(SETTLE_S + 1)
    world.settle()
    seen = world.cluster.nodes["gpu-1"]
    world.restarted()
    world.turn(SETTLE_S + 1)
    world.settle()
    assert recorded(world, ["gpu-1"]) == {"gpu-1": 1}
    assert read_ledger(world.cluster.nodes["gpu-1"])[0].records == read_ledger(seen)[0].records


def test_what_was_seen_long_ago_by_a_standby_is_not_told_when_it_takes_over() -> None:
    world = world_of(20)
    boots(world, "gpu-1")
    world.clock.advance(7200)  # the standby's loop did not turn
    world.turn(1)
    assert recorded(world, world.names) == {}
