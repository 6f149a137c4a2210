"""When is the Lease free, and what becomes of writes that meet somebody else's?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from konduktor_health.errors import (
    ClusterForbidden,
    ClusterUnavailable,
    Conflict,
    HealthError,
    LeadershipLost,
)
from konduktor_health.model import Condition
from konduktor_health.ports import Belongings, OwnObject
from konduktor_health.runtime.uninstall import GIVE_UP, Outcome, Survey, Uninstallation, survey
from konduktor_health.runtime.vacancy import MAX_WATCH_S, Vacancy
from tests.support.builders import FOREIGN_TAINT, KEYS, NOW, OUR_TAINT, node
from tests.support.memory_loki import FakeClock
from tests.support.world import MemoryCluster

LEASE = OwnObject("Lease", "ns", "konduktor-health", "u-l", "5", "pod-a", 15.0, "t1")
STATE = OwnObject("ConfigMap", "ns", "konduktor-health-state", "u-s", "7")
FREE = replace(LEASE, holder="", resource_version="6")
NEXT = replace(LEASE, resource_version="9", holder="pod-b", renewed="t2")


@dataclass
class MemoryBelongings:
    """``look`` says what the Lease is now."""

    look: Callable[[], OwnObject | None]
    there: list[OwnObject] = field(default_factory=list)
    shard: str = ""

    def state(self) -> OwnObject | None:
        return next((each for each in self.there if each.kind == "ConfigMap"), None)

    def lease(self) -> OwnObject | None:
        return self.look()

    def signing(self) -> tuple[OwnObject, ...]:
        return tuple(each for each in self.there if each.kind == "Secret")

    def delete(self, found: OwnObject) -> None:
        if found not in self.there:
            raise Conflict(found.name)
        self.there.remove(found)


def judge(at: dict[float, OwnObject | None]) -> tuple[OwnObject | None, float]:
    """The Lease judged vacant and after how many seconds; ``at``: from when it is what."""
    clock = FakeClock(NOW)
    start = clock.mono_s

    def look() -> OwnObject | None:
        return at[max(when for when in at if when <= clock.mono_s - start)]

    told: list[float] = []
    vacancy = Vacancy(15.0, 2.0, clock, lambda _lease, seconds: told.append(seconds))
    belongings: Belongings = MemoryBelongings(look)
    found = vacancy.judge(belongings)
    assert clock.mono_s - start <= sum(told) + 0.001
    return found, clock.mono_s - start


def test_no_lease_is_free_at_once() -> None:
    assert judge({0: None}) == (None, 0)


def test_a_holder_that_renews_is_named() -> None:
    with pytest.raises(LeadershipLost, match="pod-b holds Lease ns/konduktor-health") as caught:
        judge({0: LEASE, 14.9: NEXT})
    for way in ("helm uninstall", "kubectl delete deployment", "--replicas=0", "--force"):
        assert way in caught.value.hint


@pytest.mark.parametrize(
    "changed", [replace(LEASE, resource_version="x"), replace(LEASE, renewed="x")]
)
def test_any_sign_of_a_write_counts_as_life(changed: OwnObject) -> None:
    with pytest.raises(LeadershipLost, match="pod-a"):
        judge({0: LEASE, 2: changed})


def test_a_holder_that_is_silent_for_its_own_duration_is_dead() -> None:
    assert judge({0: replace(LEASE, duration_s=40.0)}) == (replace(LEASE, duration_s=40.0), 40)
    assert judge({0: replace(LEASE, duration_s=None)})[1] == 15


def test_a_released_lease_is_free_unless_the_next_replica_takes_it() -> None:
    found, seconds = judge({0: FREE})
    assert found == FREE
    assert 2 < seconds < 5
    with pytest.raises(LeadershipLost, match="pod-b"):
        judge({0: FREE, 2: NEXT})
    with pytest.raises(LeadershipLost, match="pod-b"):
        judge({0: LEASE, 5: FREE, 7: NEXT})
    assert judge({0: LEASE, 5: FREE})[0] == FREE
    assert judge({0: LEASE, 5: None})[0] is None


def test_a_lease_that_lasts_for_days_is_not_sat_out() -> None:
    with pytest.raises(LeadershipLost):
        judge({0: replace(LEASE, duration_s=MAX_WATCH_S + 1)})


class World:
    """A cluster with traces on ``names``, a state and a Lease that nobody holds."""

    def __init__(self, *names: str) -> None:
        self.cluster = MemoryCluster()
        for name in names:
            self.cluster.put(
                node(
                    name,
                    taints=(FOREIGN_TAINT, OUR_TAINT),
                    ledger="{}",
                    condition=Condition("False", "FatalFault", ""),
                )
            )
        self.belongings = MemoryBelongings(
            lambda: next((e for e in self.belongings.there if e.kind == "Lease"), None),
            [STATE, FREE],
        )

    def run(self, *, force: bool = False, writers: int = 1) -> Outcome:
        found = survey(self.cluster, KEYS, [(self.belongings, self.belongings.lease())])
        return self.carry_out(found, force=force, writers=writers)

    def carry_out(self, found: Survey, *, force: bool = False, writers: int = 1) -> Outcome:
        work = Uninstallation(self.cluster, KEYS, writers=writers, force=force)
        return work.run(found)

    def left(self) -> set[str]:
        found = survey(self.cluster, KEYS, [(self.belongings, self.belongings.lease())])
        return {removal.node for _, removal in found.nodes} | {o.kind for o in found.objects}


def test_a_writer_in_between_is_read_again_and_keeps_what_it_wrote() -> None:
    world = World("a")
    cordoned: list[str] = []

    def meddle(what: str, name: str) -> None:
        if len(cordoned) < 3 and what in ("edit", "condition"):
            cordoned.append(what)
            world.cluster.put(replace(world.cluster.nodes[name], unschedulable=True))

    world.cluster.before = meddle
    outcome = world.run()
    assert (outcome.nodes, outcome.failed) == (1, {})
    assert world.left() == set()
    assert cordoned
    after = world.cluster.nodes["a"]
    assert (after.unschedulable, after.taints) == (True, (FOREIGN_TAINT,))


def test_signing_keys_go_too() -> None:
    world = World("a")
    world.belongings.there.append(OwnObject("Secret", "ns", "konduktor-health-signing", "u-k", "3"))
    outcome = world.run()
    assert {each.kind for each in outcome.deleted} == {"Secret", "ConfigMap", "Lease"}
    assert world.left() == set()


def test_a_node_that_never_stands_still_fails_alone() -> None:
    world = World("a", "b", "c")

    def meddle(what: str, name: str) -> None:
        if name == "b" and what == "edit":
            world.cluster.put(world.cluster.nodes[name])

    world.cluster.before = meddle
    outcome = world.run(writers=2)
    assert (outcome.nodes, set(outcome.failed)) == (2, {"b"})
    assert world.left() == {"b"}


def test_a_node_that_is_gone_is_done() -> None:
    world = World("a", "b")
    found = survey(world.cluster, KEYS, [(world.belongings, FREE)])
    del world.cluster.nodes["a"]
    assert (world.carry_out(found).failed, world.left()) == ({}, set())


@pytest.mark.parametrize(
    ("error", "tried"), [(ClusterUnavailable("down"), GIVE_UP), (ClusterForbidden("no"), 40)]
)
def test_a_server_that_stays_silent_is_not_asked_for_every_node(
    error: HealthError, tried: int
) -> None:
    world = World(*(f"n{number:02}" for number in range(40)))
    asked: set[str] = set()

    def refuse(what: str, name: str) -> None:
        if what == "edit":
            asked.add(name)
            raise error

    world.cluster.before = refuse
    outcome = world.run()
    assert len(outcome.failed) == 40
    assert len(asked) == tried


def test_a_controller_that_starts_before_the_first_write_stops_everything() -> None:
    world = World("a")
    found = survey(world.cluster, KEYS, [(world.belongings, FREE)])
    world.belongings.there[1] = NEXT
    with pytest.raises(LeadershipLost, match="pod-b"):
        world.carry_out(found)
    assert world.cluster.writes == []


def test_a_controller_that_starts_while_nodes_are_cleared_keeps_lease_and_state() -> None:
    world = World("a")

    def start(what: str, _name: str) -> None:
        if what == "condition":
            world.belongings.there[1] = NEXT

    world.cluster.before = start
    outcome = world.run()
    assert set(outcome.failed) == {"ConfigMap", "Lease"}
    assert "pod-b" in outcome.failed["Lease"]
    assert world.belongings.there == [STATE, NEXT]


def test_force_deletes_the_lease_of_whoever_holds_it() -> None:
    world = World("a")
    world.belongings.there[1] = NEXT
    assert world.run(force=True).failed == {}
    assert world.left() == set()
