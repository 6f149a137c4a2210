"""A node deleted with open records is remembered, soon and bounded, until it has come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from konduktor_health.core.ledger import Ledger, render
from konduktor_health.core.shard import Shard
from konduktor_health.core.tombstones import MOST
from konduktor_health.model import Severity
from konduktor_health.runtime.tombstones import Tombstones
from tests.support.builders import NOW, node
from tests.support.ledgers import record, sick
from tests.support.memory_loki import FakeClock
from tests.support.world import World

MACHINE = "4c4c4544-0051-3510-8052-b4c04f4d3132"


def stored(world: World) -> Mapping[str, Any]:
    assert world.cluster.state is not None
    found: Mapping[str, Any] = world.cluster.state.get("tombstones", {})
    return found


def deleted(world: World, name: str = "gpu-1") -> None:
    del world.cluster.nodes[name]
    world.feed.sync()


def with_open_record() -> World:
    world = World(5)
    world.change("gpu-1", system_uuid=MACHINE)
    world.hear(world.line("gpu-1"))
    world.settle()
    assert world.cluster.nodes["gpu-1"].ledger
    return world


def test_a_deletion_is_stored_soon_and_not_only_at_the_next_checkpoint() -> None:
    world = with_open_record()
    deleted(world)
    world.turn(11)
    (entry,) = stored(world).values()
    assert entry[0] == "gpu-1"
    assert entry[4] == ["xid/79|0000:3b:00"]
    writes = world.cluster.writes.count("state")
    for _ in range(5):
        world.turn(20)
    assert world.cluster.writes.count("state") == writes


def test_the_machine_is_shown_to_the_core_when_it_comes_back_under_any_name() -> None:
    world = with_open_record()
    deleted(world)
    world.turn()
    back = replace(node("renamed", uid="new"), system_uuid=MACHINE)
    world.cluster.put(back)
    world.feed.sync()
    assert world.tombstones.due() == {"renamed"}
    (stone,) = world.tombstones.of([back]).values()
    assert (stone.node, stone.faults) == ("gpu-1", ("xid/79|0000:3b:00",))


def test_another_controller_takes_it_up() -> None:
    world = with_open_record()
    deleted(world)
    world.turn(11)
    world.cluster.put(replace(node("gpu-1", uid="new"), system_uuid=MACHINE))
    world.restarted()
    world.checkpoint.load(0)
    assert world.tombstones.due() == {"gpu-1"}


def test_it_goes_when_the_new_nodes_ledger_shows_it() -> None:
    world = with_open_record()
    deleted(world)
    world.turn(11)
    back = world.cluster.put(replace(node("gpu-1", uid="new"), system_uuid=MACHINE))
    world.feed.sync()
    ledger = render(Ledger(uid="new", records=(record(),)))
    world.change("gpu-1", ledger=ledger)
    assert world.tombstones.of([back]) == {}
    world.turn(11)
    assert stored(world) == {}


def test_a_node_that_is_opted_out_or_well_leaves_none() -> None:
    world = with_open_record()
    world.change("gpu-1", managed_label="false")
    world.change("gpu-2", system_uuid=MACHINE.replace("4", "5"))
    deleted(world, "gpu-2")
    world.turn(11)
    assert not world.tombstones.state()


class Watch:
    """Tombstones over a watch of some nodes."""

    def __init__(self) -> None:
        self.views: dict[str, Any] = {}
        self.clock = FakeClock(NOW)
        feed: Any = self
        self.stones = Tombstones(feed, clock=self.clock)

    def nodes(self) -> dict[str, Any]:
        return self.views

    def put(self, view: Any) -> None:
        old = self.views.get(view.name)
        self.views[view.name] = view
        self.stones.changed(old, view)

    def drop(self, name: str) -> None:
        self.stones.changed(self.views.pop(name), None)


def ill(name: str, machine: str, **fields: Any) -> Any:
    ledger = Ledger(uid=f"uid-{name}", records=(record(**fields),))
    return node(name, system_uuid=machine, ledger=render(ledger))


def test_a_uuid_that_live_nodes_share_names_no_machine() -> None:
    watch = Watch()
    watch.put(ill("a", MACHINE))
    watch.put(ill("b", MACHINE))
    watch.drop("a")
    assert not watch.stones.state()
    watch.drop("b")
    assert len(watch.stones.state()) == 1
    watch.put(node("c", system_uuid=MACHINE))
    watch.put(node("d", system_uuid=MACHINE))
    assert watch.stones.of(watch.views.values()) == {}


def test_all_nodes_gone_at_once_is_bounded_and_the_worst_stay() -> None:
    watch = Watch()
    for n in range(2 * MOST + 50):
        severity = Severity.FATAL if n % 4 == 0 else Severity.DEGRADED
        watch.put(ill(f"n{n}", f"{n + 0xABCDEF << 64:032x}", severity=severity))
    for name in list(watch.views):
        watch.drop(name)
    state = watch.stones.state()
    assert len(state) == MOST
    assert sum(entry[3] == 0 for entry in state.values()) == (2 * MOST + 50 + 3) // 4
    assert len(json.dumps(state)) < 200_000


def test_nodes_that_a_watch_finds_again_were_never_deleted() -> None:
    watch = Watch()
    views = [ill(f"n{n}", f"{n + 0xABCDEF << 64:032x}") for n in range(20)]
    for view in views:
        watch.put(view)
    for view in views:
        watch.drop(view.name)
    assert watch.stones.urgent()
    for view in views:
        watch.put(view)
    assert watch.stones.state() == {}
    assert watch.stones.due() == set()


def test_a_node_made_anew_between_two_looks_is_met_at_once() -> None:
    watch = Watch()
    watch.put(ill("a", MACHINE))
    watch.put(node("a", uid="new", system_uuid=MACHINE))
    assert watch.stones.due() == {"a"}
    assert MACHINE in watch.stones.of(watch.views.values())


def test_thirty_days_are_enough() -> None:
    watch = Watch()
    watch.put(sick(record(), system_uuid=MACHINE))
    watch.drop("gpu-1")
    assert watch.stones.state()
    watch.clock.advance(30 * 86_400)
    assert not watch.stones.state()


def test_a_write_that_fails_leaves_it_urgent() -> None:
    watch = Watch()
    watch.put(ill("a", MACHINE))
    watch.drop("a")
    watch.stones.state()
    assert watch.stones.urgent()
    watch.put(ill("b", MACHINE[::-1].replace("-", "")))
    watch.drop("b")  # after what was written
    watch.stones.saved()
    assert watch.stones.urgent()
    watch.stones.state()
    watch.stones.saved()
    assert not watch.stones.urgent()


def test_a_node_that_goes_to_another_shard_is_not_deleted() -> None:
    world = World(5, shard=Shard("zone", ""), labels={"gpu-1": ""})
    world.change("gpu-1", system_uuid=MACHINE)
    world.hear(world.line("gpu-1"))
    world.settle()
    assert world.cluster.nodes["gpu-1"].ledger
    world.change("gpu-1", labels=(("zone", "b"),))
    world.turn(11)
    assert "gpu-1" not in world.feed.nodes()
    assert stored(world) == {}
