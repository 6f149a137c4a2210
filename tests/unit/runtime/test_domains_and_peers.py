"""What nodes share, and what pods elsewhere say: told once, supporting, never a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from konduktor_health.model import Trust
from konduktor_health.runtime.peers import MOST_ACCUSED, MOST_ACCUSERS, WINDOW_NS, PeerNotes
from tests.support.builders import NOW, node
from tests.support.world import World

CLIQUE = "nvidia.com/gpu.clique"
LINK = "NVRM: Xid (PCI:0000:3b:00): 74, pid=1, name=x, NVLink: fatal error detected on link 1"
PEER = (
    "n:1:2 [0] transport/net_ib.cc:1296 NCCL WARN NET/IB : Got completion from peer {}<33092> "
    "with error 12, opcode 0, len 0, vendor err 129 (Recv)"
)


def clique(count: int = 10) -> World:
    world = World(count)
    for name in world.names:
        world.change(name, labels=((CLIQUE, "c.1"),))
    world.settle()
    return world


def metric(world: World, name: str, **labels: str) -> float:
    found = world.report.metrics.registry.get_sample_value(f"konduktor_health_{name}", labels)
    return found or 0.0


def suspected(world: World) -> list[str]:
    return [
        each.message for each in world.cluster.events.values() if each.reason == "DomainSuspect"
    ]


ACCUSED = "10.2.0.5"  # a node that is named as pods see it


def accusable(count: int = 20) -> World:
    world = World(count)
    world.cluster.put(node(ACCUSED))
    world.feed.sync()
    world.settle()
    return world


def blame(world: World, accuser: str, peer: str) -> Any:
    return world.line(accuser, PEER.format(peer), trust=Trust.POD, pod=True)


def test_a_domain_is_told_once_when_it_begins() -> None:
    world = clique()
    world.hear(world.line("gpu-1", LINK))
    assert suspected(world) == []
    world.hear(world.line("gpu-2", LINK))
    for _ in range(3):
        world.turn(20)
    assert suspected(world) == [
        f"2 of 10 nodes of {CLIQUE}=c.1 show NVLink faults: suspect the fabric (gpu-1, gpu-2)"
    ]
    assert metric(world, "domain_suspects", label=CLIQUE) == 1


def test_a_domain_is_suspected_as_long_as_the_window_lasts() -> None:
    world = clique()
    world.hear(world.line("gpu-1", LINK), world.line("gpu-2", LINK))
    assert metric(world, "domain_suspects", label=CLIQUE) == 1
    world.turn(601)
    assert metric(world, "domain_suspects", label=CLIQUE) == 0


def test_two_gpus_of_one_node_are_no_domain() -> None:
    world = clique()
    world.hear(world.line("gpu-1", LINK), world.line("gpu-1", LINK.replace("3b", "5e")))
    assert suspected(world) == []


def test_a_suspected_domain_taints_nobody() -> None:
    world = clique()
    application = LINK.replace(" 74,", " 13,")
    world.hear(*[world.line(name, application) for name in world.names])
    assert suspected(world) == []
    assert world.tainted() == []


def test_the_snapshot_says_what_is_known_of_the_domain() -> None:
    world = clique()
    world.hear(world.line("gpu-1", LINK), world.line("gpu-2", LINK))
    told = world.loop.situation._remarks("gpu-1")
    assert any("suspect the fabric" in each for each in told)
    assert world.loop.situation._remarks("gpu-3") == ()


def test_an_accused_peer_carries_a_note_and_nothing_on_its_node() -> None:
    world = accusable()
    before = world.cluster.nodes[ACCUSED]
    world.hear(*[blame(world, accuser, ACCUSED) for accuser in ("gpu-1", "gpu-3", "gpu-3")])
    world.settle()
    assert world.cluster.nodes[ACCUSED] == before
    assert world.tainted() == []
    (told,) = world.loop.situation._remarks(ACCUSED)
    assert told.startswith("pods on 2 other nodes name this node")
    assert metric(world, "peer_accusations_total", peer="node") == 3


def test_the_node_that_accuses_carries_nothing_either() -> None:
    world = accusable()
    before = world.cluster.nodes["gpu-1"]
    world.hear(blame(world, "gpu-1", ACCUSED))
    assert world.cluster.nodes["gpu-1"] == before
    assert metric(world, "peer_accusations_total", peer="node") == 1


def test_a_peer_that_is_no_node_is_counted_only() -> None:
    world = World()
    world.hear(blame(world, "gpu-1", "10.9.9.9"))
    assert metric(world, "peer_accusations_total", peer="unknown") == 1


def test_any_number_of_accusations_taints_nobody() -> None:
    world = accusable(60)
    world.hear(*[blame(world, name, ACCUSED) for name in world.names for _ in range(5)])
    world.settle()
    assert metric(world, "peer_accusations_total", peer="node") == 300
    assert world.tainted() == []
    assert world.cluster.nodes[ACCUSED].ledger is None


@pytest.mark.parametrize("change", [{"uid": "another"}, {"reset_at": "2027-01-15T08:00:01Z"}])
def test_notes_go_with_the_node_and_with_a_reset(change: dict[str, Any]) -> None:
    world = accusable()
    world.hear(blame(world, "gpu-1", ACCUSED))
    assert world.loop.situation._remarks(ACCUSED)
    world.cluster.put(replace(node(ACCUSED), **change))
    world.feed.sync()
    world.turn(1)
    assert world.loop.situation._remarks(ACCUSED) == ()


def test_notes_are_bounded_and_expire() -> None:
    notes = PeerNotes()
    for n in range(2 * MOST_ACCUSERS):
        notes.note("a", f"n{n}", NOW + n)
    assert notes.accusers("a", NOW) == MOST_ACCUSERS
    assert notes.accusers("a", NOW + WINDOW_NS + 3 * MOST_ACCUSERS) == 0
    for n in range(MOST_ACCUSED + 10):
        notes.note(f"m{n}", "x", NOW)
    assert notes.remarks("a", NOW) == ()
    assert len(notes._accused) == MOST_ACCUSED


def test_a_node_is_not_accused_by_its_own_pods() -> None:
    notes = PeerNotes()
    notes.note("a", "a", NOW)
    assert notes.remarks("a", NOW) == ()
