"""A mass event writes no Node, is told once, survives a restart, and ends by time or resume."""

from __future__ import annotations

import pytest

from konduktor_health.core.resumed import parse_surges
from konduktor_health.errors import ClusterUnavailable, Conflict
from konduktor_health.model import Scope, Surge
from konduktor_health.ports import Request
from konduktor_health.runtime.resume import ATTEMPTS, resume
from konduktor_health.runtime.surges import LOOK_S, RETRY_S, STATE_KEY
from tests.support.world import World

DEGRADED = "NVRM: Xid (PCI:0000:3b:00): 63, pid=1, name=x, Row Remapper: New row marked"


def stricken() -> World:
    world = World(50)
    world.hear(*[world.line(name) for name in world.names])
    return world


def surge_events(world: World) -> list[str]:
    return [event.reason for event in world.cluster.events.values() if not event.node]


def stored(world: World) -> tuple[Surge, ...]:
    return parse_surges((world.cluster.state or {}).get(STATE_KEY))


def samples(world: World) -> str:
    return world.report.metrics.render().decode()


def node_writes(world: World) -> list[str]:
    return [each for each in world.cluster.writes if each.startswith(("edit", "condition"))]


def test_storm_of_node_writes_in_an_outage_does_not_happen() -> None:
    world = stricken()
    for _ in range(20):
        world.turn(60)
    assert node_writes(world) == []
    assert surge_events(world) == ["Surge"]  # one, about no Node
    assert 'konduktor_health_surge{fault_id="xid/79",scope="fleet"} 1.0' in samples(world)


def test_degraded_fault_on_many_nodes_is_a_surge_too() -> None:
    world = World(50)
    world.hear(*[world.line(name, DEGRADED) for name in world.names])
    assert [each.scope for each in world.surges.now] == [Scope.FLEET]
    assert world.surges.now[0].nodes == 50


def test_surge_is_stored_at_once_and_holds_after_a_restart() -> None:
    world = stricken()
    world.turn(1)
    (surge,) = stored(world)
    assert (surge.fault_id, surge.scope, surge.nodes) == ("xid/79", Scope.FLEET, 50)
    world.restarted().turn(700)  # past the window: it is the stored surge that holds
    world.hear(world.line("gpu-1"))
    assert world.tainted() == []
    assert surge_events(world) == ["Surge"]


def test_surge_ends_after_its_quiet_time_and_the_present_is_decided() -> None:
    world = stricken()
    world.turn(1790)
    assert world.tainted() == []
    world.turn(20)
    world.settle()
    assert len(world.tainted()) == 5  # the budget of 50 nodes: no backlog is carried out
    assert surge_events(world) == ["Surge", "SurgeOver"]
    assert stored(world) == ()
    assert 'konduktor_health_surge{fault_id="xid/79",scope="fleet"} 0.0' in samples(world)


def test_state_is_not_written_at_every_further_node() -> None:
    world = World(100)
    world.hear(*[world.line(f"gpu-{n}") for n in range(6)])
    world.turn(1)
    before = world.cluster.writes.count("state")
    for n in range(6, 60):
        world.hear(world.line(f"gpu-{n}"), cursor_ns=0)
    assert world.cluster.writes.count("state") == before
    world.turn(301)
    assert stored(world)[0].nodes == 60


# ---------------------------------------------------------------- resume


def every(_surge: Surge) -> bool:
    return True


def test_resume_lets_the_surge_act_within_seconds() -> None:
    world = stricken()
    world.turn(1)
    asked = resume(world.cluster, every, dry_run=False)
    assert [each.fault_id for each in asked.surges] == ["xid/79"]
    world.turn(LOOK_S)
    world.settle()
    assert len(world.tainted()) == 5
    assert surge_events(world) == ["Surge", "SurgeResumed"]
    assert stored(world)[0].released_ns


def test_request_survives_the_leaders_own_writes_and_a_change_of_leader() -> None:
    world = stricken()
    world.turn(1)
    resume(world.cluster, every, dry_run=False)
    world.checkpoint.write(None, ["another"])
    world.restarted().turn(1)
    world.hear(world.line("gpu-1"))
    assert world.tainted() == ["gpu-1"]


def test_release_is_remembered_by_the_next_leader() -> None:
    world = stricken()
    world.turn(1)
    resume(world.cluster, every, dry_run=False)
    world.turn(LOOK_S)
    world.turn(1)
    world.cluster.asked = None  # somebody has tidied up
    world.restarted()
    world.hear(*[world.line(name) for name in world.names])
    world.settle()
    assert len(world.tainted()) == 5


def test_request_for_one_surge_is_good_for_no_later_one() -> None:
    world = stricken()
    world.turn(1)
    resume(world.cluster, every, dry_run=False)
    world.turn(2000)
    world.settle()
    assert stored(world) == ()
    world.hear(*[world.line(name, ago_s=0) for name in world.names if name not in world.tainted()])
    world.turn(LOOK_S + 1)
    assert surge_events(world)[-1] != "SurgeResumed"


def test_dry_run_and_a_fault_that_is_not_held_ask_for_nothing() -> None:
    world = stricken()
    world.turn(1)
    assert resume(world.cluster, every, dry_run=True).surges
    other = resume(world.cluster, lambda each: each.fault_id == "xid/48", dry_run=False)
    assert (other.surges, [each.fault_id for each in other.others]) == ((), ["xid/79"])
    assert world.cluster.asked is None


def test_two_operators_at_once_both_get_what_they_asked_for() -> None:
    world = World(50)
    world.hear(*[world.line(name) for name in world.names])
    world.hear(*[world.line(name, DEGRADED) for name in world.names])
    world.turn(1)
    first, second = sorted({each.fault_id for each in stored(world)})
    resume(world.cluster, lambda each: each.fault_id == first, dry_run=False)
    resume(world.cluster, lambda each: each.fault_id == second, dry_run=False)
    world.turn(LOOK_S)
    assert all(each.released_ns for each in world.surges.now)
    assert len(world.surges.now) == 2


def test_conflict_with_the_leader_is_tried_again_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = stricken()
    world.turn(1)
    real = world.cluster.write_request
    failures = iter([True, True, False])

    def sometimes(request: Request) -> None:
        if next(failures):
            raise Conflict("state")
        real(request)

    monkeypatch.setattr(world.cluster, "write_request", sometimes)
    resume(world.cluster, every, dry_run=False)
    assert world.cluster.asked
    failures = iter([True] * ATTEMPTS)
    world.cluster.asked = None
    with pytest.raises(Conflict):
        resume(world.cluster, every, dry_run=False)


def test_without_a_controller_there_is_nothing_to_resume() -> None:
    world = World(3)
    world.cluster.state = None
    assert resume(world.cluster, every, dry_run=False).surges == ()


# ---------------------------------------------------------------- trouble


def test_event_that_cannot_be_published_is_tried_again_and_holds_all_the_same() -> None:
    world = World(50)

    def refuse(what: str, name: str) -> None:
        if what in ("event", "request") and not name:
            raise ClusterUnavailable("down")

    world.cluster.before = refuse
    world.hear(*[world.line(name) for name in world.names])
    world.turn(LOOK_S + 1)
    assert (world.tainted(), surge_events(world)) == ([], [])
    world.cluster.before = lambda _what, _name: None
    world.turn(RETRY_S + 1)
    assert surge_events(world) == ["Surge"]


def test_request_is_looked_for_only_while_a_surge_holds() -> None:
    world = World(50)
    asked: list[str] = []
    world.cluster.before = lambda what, _name: asked.append(what) if what == "request" else None
    for _ in range(10):
        world.turn(60)
    assert asked == []
    world.hear(*[world.line(name) for name in world.names])
    for _ in range(30):
        world.turn(1)
    assert 5 <= len(asked) <= 11  # every 3 s, not at every cycle


def test_failed_write_of_the_state_is_tried_again_soon() -> None:
    world = World(50)
    world.turn(1)

    def refuse(what: str, _name: str) -> None:
        if what == "state":
            raise ClusterUnavailable("down")

    world.cluster.before = refuse
    world.hear(*[world.line(name) for name in world.names])
    world.turn(1)
    assert stored(world) == ()
    world.cluster.before = lambda _what, _name: None
    world.turn(6)
    assert len(stored(world)) == 1


def test_damaged_state_begins_without_a_surge() -> None:
    world = World(5)
    world.cluster.state = {STATE_KEY: [{"fault": 7}, None, "x"], "v": 1}
    world.restarted().turn(1)
    assert world.surges.now == ()


def test_dry_run_tells_and_stores_nothing() -> None:
    world = World(50, dry_run=True)
    world.hear(*[world.line(name) for name in world.names])
    world.turn(1)
    assert len(world.surges.now) == 1
    assert world.cluster.writes == []
