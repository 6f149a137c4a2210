"""Two replicas on the real API server: one acts, whatever becomes of the other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.e2e.conftest import Replica, Stage
from tests.support.controller import ControllerProcess, eventually, steadily
from tests.support.loglines import LOST, otel

DEGRADED = LOST.replace(": 79", ": 63")
# of one fatal and one degraded node: edit, Event and condition of each
WRITES = 6
UNLIMITED: dict[str, Any] = {
    "budget_percent": 100,
    "budget_max_nodes": 100,
    "rate_per_minute": 0,
    "surge_enabled": False,
}
SOON: dict[str, Any] = {
    "policy": UNLIMITED,
    "cluster": {"timeout_s": 0.8},
    "lease": {"duration_s": 2.0, "renew_deadline_s": 1.2, "retry_s": 0.2},
}
FULL: dict[str, Any] = {
    "policy": UNLIMITED,
    "cluster": {"timeout_s": 5.0},
    "lease": {"duration_s": 15.0, "renew_deadline_s": 10.0, "retry_s": 2.0},
}


def test_takes_over_within_20_s_of_a_crash_and_3_s_of_a_clean_stop(stage: Stage) -> None:
    """With the lease times that are the default."""
    stage.nodes("gpu-a", "gpu-b", "gpu-c")
    first = stage.replica(**FULL)
    first.process.leading()
    second = stage.replica(**FULL).standing_by()
    metrics = second.process.metrics()
    assert "process_resident_memory_bytes" in metrics
    assert "konduktor_health_managed_nodes" not in metrics
    assert "konduktor_health_managed_nodes 3.0" in first.process.metrics()
    first.process.kill()
    stage.push(otel("gpu-a"))
    assert second.until_leading() < 20
    stage.until_tainted("gpu-a", timeout_s=5)
    third = stage.replica(**FULL).standing_by()
    stopped: list[tuple[int, float]] = []
    stopping = threading.Thread(target=lambda: stopped.append(second.process.terminate()))
    stopping.start()
    assert third.until_leading() < 3
    stopping.join()
    assert stopped[0][0] == 0
    stage.push(otel("gpu-b"))
    stage.until_tainted("gpu-a", "gpu-b", timeout_s=5)
    assert stage.records("gpu-a") == [("xid/79", 1)]


def gone(process: ControllerProcess) -> bool:
    return not process.running()


def manages(process: ControllerProcess, count: int) -> bool:
    return process.metric("konduktor_health_managed_nodes") == count


def whole(stage: Stage, fatal: str, degraded: str) -> bool:
    return bool(stage.condition(fatal)) and bool(stage.condition(degraded))


def check(stage: Stage, fatal: str, degraded: str) -> None:
    """As an undisturbed controller leaves them: all of it, and nothing twice."""
    assert [t["effect"] for t in stage.kube.taints(fatal) if "konduktor" in t["key"]] == [
        "NoSchedule"
    ]
    assert [t["effect"] for t in stage.kube.taints(degraded) if "konduktor" in t["key"]] == [
        "PreferNoSchedule"
    ]
    for node, record, reason in (
        (fatal, "xid/79", "FatalFault"),
        (degraded, "xid/63", "DegradedFault"),
    ):
        assert stage.records(node) == [(record, 1)]
        assert stage.condition(node)["reason"] == reason
        assert [event["reason"] for event in stage.kube.events(node)] == [reason]


class Pair:
    """A leader and a standby; after each death the survivor leads and another one stands by."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.leader = stage.replica(**SOON)
        self.leader.process.leading()
        self.standby = stage.replica(**SOON).standing_by()

    def next(self) -> None:
        self.standby.process.leading()
        self.leader, self.standby = self.standby, self.stage.replica(**SOON).standing_by()

    def fault(self, number: int, moment: str) -> tuple[str, str]:
        """Two nodes of their own with a fault each; their names."""
        names = f"gpu-{moment}-{number}-a", f"gpu-{moment}-{number}-b"
        self.stage.nodes(*names)
        count = len(self.stage.kube.nodes())

        def known() -> bool:
            return self.leader.process.metric("konduktor_health_managed_nodes") == count

        eventually(known, "the leader knows the new nodes")
        base = self.leader.proxy.writes
        setattr(self.leader.proxy, moment, self.strike(self.leader, base + number, moment))
        self.stage.push(
            otel(names[0], uptime_s=1000.0 + number), otel(names[1], DEGRADED, uptime_s=2000.0)
        )
        return names

    @staticmethod
    def strike(leader: Replica, at: int, moment: str) -> Callable[[str, str, int], object]:
        def hook(_method: str, _path: str, count: int) -> object:
            if count < at:
                return None
            leader.process.kill()
            return moment != "before"  # one that never arrives

        return hook


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_leader_killed_at_any_write_is_followed_and_ends_the_same(
    stage: Stage, moment: str
) -> None:
    """``before``: the write never arrives; ``after``: it has, and nobody hears of it."""
    pair = Pair(stage)
    for number in range(1, WRITES + 1):
        names = pair.fault(number, moment)
        leader = pair.leader.process
        eventually(partial(gone, leader), f"killed at write {number}")
        pair.next()
        eventually(partial(whole, stage, *names), "all is written", 20)
        check(stage, *names)
    assert stage.lease()["leaseTransitions"] == WRITES


def test_a_fault_takes_so_many_writes(stage: Stage) -> None:
    """So that the walk above leaves none out."""
    leader = stage.replica(**SOON)
    leader.process.leading()
    stage.nodes("gpu-a", "gpu-b")
    eventually(
        lambda: leader.process.metric("konduktor_health_managed_nodes") == 2, "knows the nodes"
    )
    before = leader.proxy.writes
    stage.push(otel("gpu-a", uptime_s=1000.5), otel("gpu-b", DEGRADED, uptime_s=2000.5))
    eventually(lambda: whole(stage, "gpu-a", "gpu-b"), "all is written")
    check(stage, "gpu-a", "gpu-b")
    assert leader.proxy.writes - before == WRITES


def test_a_leader_paused_past_its_lease_starts_nothing_on_waking(stage: Stage) -> None:
    pair = Pair(stage)
    stage.nodes("gpu-a", "gpu-b")
    paused, standby = pair.leader, pair.standby
    pid = paused.process.process.pid if paused.process.process else 0
    os.kill(pid, signal.SIGSTOP)
    stage.push(otel("gpu-a"))  # both would act on it
    standby.process.leading()
    stage.until_tainted("gpu-a")
    eventually(lambda: bool(stage.condition("gpu-a")), "all is written")
    begun = len(paused.proxy.seen)
    os.kill(pid, signal.SIGCONT)
    assert paused.process.wait() == 5, paused.process.tail()  # leadership lost
    assert paused.proxy.seen[begun:] == []
    assert stage.records("gpu-a") == [("xid/79", 1)]
    stage.push(otel("gpu-b"))
    stage.until_tainted("gpu-a", "gpu-b")


def test_a_write_begun_before_the_pause_is_harmless_after_it(stage: Stage) -> None:
    """It was on its way while another led: compare-and-swap, or a name that is taken."""
    pair = Pair(stage)
    for number in range(1, 4):  # edit, Event, condition
        name = f"gpu-{number}"
        stage.nodes(name)
        count = len(stage.kube.nodes())
        old, new = pair.leader, pair.standby

        def known(leader: Replica = old, nodes: int = count) -> bool:
            return leader.process.metric("konduktor_health_managed_nodes") == nodes

        eventually(known, "the leader knows the new node")
        pid = old.process.process.pid if old.process.process else 0
        stopped, go_on = threading.Event(), threading.Event()
        at = old.proxy.writes + number

        def hold(
            _method: str,
            _path: str,
            write: int,
            at: int = at,
            pid: int = pid,
            stopped: threading.Event = stopped,
            go_on: threading.Event = go_on,
        ) -> object:
            if write == at:
                os.kill(pid, signal.SIGSTOP)
                stopped.set()
                go_on.wait(60)
            return None

        old.proxy.before = hold
        stage.push(otel(name, uptime_s=1000.0 + number))
        assert stopped.wait(20)
        new.process.leading()
        eventually(partial(stage.condition, name), "the next leader does it all")
        version = stage.kube.node(name)["metadata"]["resourceVersion"]
        begun = len(old.proxy.seen)
        go_on.set()
        os.kill(pid, signal.SIGCONT)
        assert old.process.wait() == 5, old.process.tail()
        assert old.proxy.seen[begun:] == []
        assert stage.kube.node(name)["metadata"]["resourceVersion"] == version
        assert stage.records(name) == [("xid/79", 1)]
        assert [event["reason"] for event in stage.kube.events(name)] == ["FatalFault"]
        pair.leader, pair.standby = new, stage.replica(**SOON).standing_by()


def test_two_shards_side_by_side_never_touch_each_others_nodes(stage: Stage) -> None:
    label = "example.com/shard"
    for value in ("a", "b"):
        stage.nodes(*(f"gpu-{value}{n}" for n in range(12)), labels={label: value})
    stage.nodes("gpu-none")
    shards = {
        value: stage.replica(shard={"label": label, "value": value}, **SOON)
        for value in ("a", "b", "")
    }
    for value, count in (("a", 12), ("b", 12), ("", 1)):
        process = shards[value].process.leading()
        eventually(
            partial(manages, process, count),
            f"shard {value!r} counts its own nodes",
        )
    tainted = ("gpu-a0", "gpu-a1", "gpu-b0", "gpu-none")
    stage.push(*(otel(name) for name in tainted), otel("gpu-b1", DEGRADED))
    stage.until_tainted(*tainted, "gpu-b1")
    eventually(lambda: whole(stage, "gpu-none", "gpu-b1"), "all is written")
    for value, shard in shards.items():
        own = "gpu-none" if value == "" else f"gpu-{value}"
        named = [path for _, path in shard.proxy.seen if "/nodes/" in path]
        assert named
        assert [path for path in named if f"/nodes/{own}" not in path] == []
        assert shard.process.metric("konduktor_health_unknown_node_lines") == 0
        name = f"konduktor-health-{value}" if value else "konduktor-health"
        assert stage.lease(name)["holderIdentity"]
    steadily(lambda: all(s.leads() for s in shards.values()), "each has a Lease of its own", 1.0)
