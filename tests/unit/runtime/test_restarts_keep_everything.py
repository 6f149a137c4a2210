"""A controller that takes over finds what its predecessor knew, and writes nothing for that."""

from __future__ import annotations

import pytest

from konduktor_health.core.declared import Declared, render_declared
from konduktor_health.timestamps import NS
from tests.support.builders import node
from tests.support.story import Story, xid

MACHINE = "4c4c4544-0051-3510-8052-b4c04f4d3132"
FATALS = (48, 62, 79, 95, 119)


def quiet_cluster(nodes: int = 200) -> Story:
    """Twenty nodes are tainted, one was cleared; all is written down, and an hour has passed."""
    world = Story(nodes)
    world.live(600, world.line("gpu-100", xid(48)), every_s=120)
    world.reboot("gpu-100")
    world.prove("gpu-100")
    for n in range(20):
        world.live(240, world.line(f"gpu-{n}", xid(FATALS[n % 5])), every_s=120)
    world.live(3600, every_s=120)
    assert len(world.tainted()) == 20
    return world


def test_restart_of_a_quiet_cluster_writes_nothing_to_nodes() -> None:
    """However often, and whoever takes over."""
    world = quiet_cluster()
    before = dict(world.cluster.nodes)
    world.cluster.writes.clear()
    for _ in range(3):
        world.taken_over()
        world.live(1200, every_s=60)
    assert world.cluster.nodes == before
    assert set(world.cluster.writes) <= {"state"}


def test_restart_keeps_taints_and_history() -> None:
    world = quiet_cluster(60 * 4)
    world.taken_over().live(600)
    assert len(world.tainted()) == 20
    (past,) = world.ledger("gpu-100").history
    assert (past.fault_id, past.times) == ("xid/48", 1)
    world.live(60, world.line("gpu-100", xid(48)))
    (record,) = world.ledger("gpu-100").records
    assert (record.flaps, record.attempts) == (1, 1)  # it came back after its repair


@pytest.mark.parametrize("restarts", [1, 2])
def test_restart_keeps_surges_and_what_they_hold(restarts: int) -> None:
    world = Story(100)
    lines = [world.line(name) for name in world.names]
    world.live(60, *lines)
    for _ in range(restarts):
        world.live(60)
        world.taken_over().live(60, *lines)
    assert [each.fault_id for each in world.surges.now] == ["xid/79"]
    assert (world.tainted(), world.node_writes()) == ([], [])


def test_restart_does_not_begin_a_surge_anew() -> None:
    """Half an hour after its newest node it is over, whoever leads by then."""
    world = Story(100)
    lines = [world.line(name) for name in world.names]
    world.live(60, *lines)
    world.live(900)
    world.taken_over().live(60, *lines)
    world.live(3600)
    assert world.surges.now == ()
    assert len(world.tainted()) == 10


def test_restart_keeps_tombstones() -> None:
    world = Story()
    world.change("gpu-1", system_uuid=MACHINE)
    world.live(60, world.line("gpu-1"))
    del world.cluster.nodes["gpu-1"]
    world.feed.sync()
    world.live(60)
    world.taken_over().live(60)
    world.taken_over()
    world.cluster.put(node("gpu-1", uid="another", system_uuid=MACHINE))
    world.feed.sync()
    world.live(60)
    assert world.cluster.nodes["gpu-1"].health_label == "suspect"


@pytest.mark.parametrize("key", ["hold", "maintenance"])
def test_restart_keeps_a_persons_holds(key: str) -> None:
    world = Story()
    until = world.clock.now_ns() + 7200 * NS
    declared = render_declared(Declared(world.clock.now_ns() - NS, until, "looking"))
    world.change("gpu-1", **{key: declared})
    world.live(60, world.line("gpu-1"))
    for _ in range(2):
        world.taken_over().live(600)
        assert world.tainted() == []
    world.live(7200)
    assert world.tainted() == ["gpu-1"]


@pytest.mark.parametrize("code", [62, 79])
def test_restart_keeps_who_waits_for_room(code: int) -> None:
    world = Story(10)
    world.live(60, world.line("gpu-1", xid(48)))
    world.live(60, world.line("gpu-2", xid(code)))
    world.taken_over().live(600)
    assert world.tainted() == ["gpu-1"]
    assert world.reason("gpu-2") == "BudgetExhausted"
    world.change("gpu-1", managed_label="false")
    world.taken_over().live(60)
    assert "gpu-2" in world.tainted()


def test_restart_keeps_the_wait_for_quiet() -> None:
    """A change of leader begins no wait for quiet anew."""
    world = Story()
    world.live(600, world.line("gpu-1", xid(63)))
    world.reboot("gpu-1")
    for _ in range(7):
        world.live(600)
        world.taken_over()
    world.live(120)
    assert world.tainted() == []
