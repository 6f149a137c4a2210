"""Pods of a tainted node are told, and nothing waits for them."""

from __future__ import annotations

import threading

import pytest

from konduktor_health.core.pod_events import PodNews
from konduktor_health.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    HealthError,
    LeadershipLost,
)
from konduktor_health.ports import PodEvent, PodOnNode
from konduktor_health.runtime.apply import Applier
from konduktor_health.runtime.metrics import Metrics
from konduktor_health.runtime.pod_news import MOST_WAITING, PodTeller
from tests.support.builders import KEYS
from tests.support.world import World

JOB = PodOnNode("team", "job-0", "uid-job-0")
OTHER = PodOnNode("team", "job-1", "uid-job-1")


class MemoryPods:
    """The pods of all nodes; Events by pod and what happened."""

    def __init__(self, *pods: PodOnNode) -> None:
        self.pods = pods
        self.events: dict[tuple[str, str], PodEvent] = {}
        self.lists = 0
        self.broken: dict[str, HealthError] = {}  # pod UID, or "list"
        self.told = threading.Event()

    def using_gpus(self, node: str, now_ns: int) -> tuple[PodOnNode, ...]:
        self.lists += 1
        if "list" in self.broken:
            raise self.broken["list"]
        return self.pods

    def publish(self, event: PodEvent, now_ns: int) -> None:
        if event.pod.uid in self.broken:
            raise self.broken[event.pod.uid]
        self.events.setdefault((event.pod.uid, event.dedupe), event)
        self.told.set()


def teller(world: World, pods: MemoryPods) -> PodTeller:
    made = PodTeller(
        pods, KEYS, clock=world.clock, metrics=Metrics(), assert_leader=world.assert_leader
    )
    assert isinstance(world.loop.applier, Applier)
    world.loop.applier.on_edit = made.take
    return made


def counted(made: PodTeller, outcome: str) -> float:
    name = "konduktor_health_pod_events_total"
    return made._metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


def waiting(made: PodTeller) -> list[PodNews]:
    return [news for news in made._waiting.queue if news is not None]


def tell_all(made: PodTeller) -> None:
    """What the thread does, here."""
    made._waiting.put(None)
    made._run()


def test_each_pod_of_a_tainted_node_gets_an_event() -> None:
    world, pods = World(), MemoryPods(JOB, OTHER)
    made = teller(world, pods)
    world.hear(world.line("gpu-1"))
    tell_all(made)
    assert {each.pod for each in pods.events.values()} == {JOB, OTHER}
    (message,) = {each.message for each in pods.events.values()}
    assert "xid/79 on 0000:3b:00" in message
    assert counted(made, "published") == 2


def test_no_pods_are_asked_for_while_nothing_is_tainted() -> None:
    world, pods = World(), MemoryPods(JOB)
    made = teller(world, pods)
    world.hear(world.line("gpu-1", "NVRM: Xid (PCI:0000:3b:00): 13, pid=1, name=x, y"))
    for _ in range(5):
        world.turn(60)
    tell_all(made)
    assert pods.lists == 0


def test_the_same_news_again_makes_no_second_event() -> None:
    world, pods = World(), MemoryPods(JOB)
    made = teller(world, pods)
    world.hear(world.line("gpu-1"))
    (news,) = waiting(made)
    made._waiting.put(news)
    tell_all(made)
    assert len(pods.events) == 1


def test_pods_that_cannot_be_listed_leave_node_condition_and_event_as_they_should_be() -> None:
    world, pods = World(), MemoryPods(JOB)
    pods.broken["list"] = ClusterForbidden("not allowed to list pods")
    made = teller(world, pods)
    world.hear(world.line("gpu-1"))
    tell_all(made)
    assert world.tainted() == ["gpu-1"]
    assert world.reason("gpu-1") == "FatalFault"
    assert len(world.cluster.events) == 1
    assert counted(made, "failed") == 1


def test_a_pod_that_cannot_be_told_keeps_no_other_from_it() -> None:
    world, pods = World(), MemoryPods(JOB, OTHER)
    pods.broken[JOB.uid] = ClusterUnavailable("no answer")
    made = teller(world, pods)
    world.hear(world.line("gpu-1"))
    tell_all(made)
    assert [each.pod for each in pods.events.values()] == [OTHER]
    assert (counted(made, "failed"), counted(made, "published")) == (1, 1)


def test_who_leads_no_longer_tells_nobody() -> None:
    world, pods = World(), MemoryPods(JOB)
    made = teller(world, pods)
    world.hear(world.line("gpu-1"))
    world.leading = False
    (news,) = waiting(made)
    with pytest.raises(LeadershipLost):
        made.tell(news)
    tell_all(made)
    assert pods.lists == 0
    assert counted(made, "dropped") == 1


def test_what_finds_no_room_is_dropped_and_nothing_waits() -> None:
    world, pods = World(MOST_WAITING + 40), MemoryPods(JOB)
    made = teller(world, pods)
    world.hear(*[world.line(name) for name in world.names[:1]])
    (news,) = waiting(made)
    for _ in range(MOST_WAITING - 1):
        made._waiting.put_nowait(news)
    world.hear(world.line("gpu-1"))
    assert "gpu-1" in world.tainted()
    assert counted(made, "dropped") == 1


def test_the_thread_tells_and_ends() -> None:
    world, pods = World(), MemoryPods(JOB)
    made = teller(world, pods)
    made.start()
    world.hear(world.line("gpu-1"))
    assert pods.told.wait(10)
    made.close()
    assert made._thread is not None
    made._thread.join(10)
    assert not made._thread.is_alive()


def test_a_teller_that_never_started_can_be_put_down() -> None:
    made = teller(World(), MemoryPods())
    made.close()
    assert waiting(made) == []
